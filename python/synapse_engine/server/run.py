"""Runs the API on a socket until it is told to stop. Knows uvicorn; not what is served."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import uvicorn

from synapse_engine import _engine
from synapse_engine.server.app import create_app
from synapse_engine.server.options import ServerError, ServerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from fastapi import FastAPI

    from synapse_engine.server.native import EventQueue, NativeEngine
    from synapse_engine.server.swarm.desk import Desk

BACKLOG = 2048
# After running requests were told to end: for their last bytes to go out.
FAREWELL_SECONDS = 2
# Longer than clients keep idle connections: the side that closes first must be the one that sends first.
IDLE_SECONDS = 75


def serve(
    engines: Mapping[str, NativeEngine],
    options: ServerOptions | None = None,
    *,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM. Raises ServerError if it cannot start.

    ``engines``: what to serve under which id; they stay the caller's to close. ``on_ready`` gets the base URL once
    connections are accepted.
    """
    ApiServer(engines, options, on_ready=on_ready).run()


class ApiServer:
    """The server as an object, for callers that stop it themselves. Its port is taken at once."""

    def __init__(
        self,
        engines: Mapping[str, NativeEngine],
        options: ServerOptions | None = None,
        *,
        on_ready: Callable[[str], None] | None = None,
        new_queue: Callable[[], EventQueue] = _engine.EventQueue,
        desk: Desk | None = None,
    ) -> None:
        self.options = options or ServerOptions()
        app = create_app(engines, self.options, new_queue=new_queue, desk=desk)
        self._socket = listen(self.options.host, self.options.port)
        self._server = _Server(uvicorn_config(app, self.options), app, on_ready, self.url)

    @property
    def url(self) -> str:
        """Where clients find it, with the port that was taken."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        """Serves until a signal or ``stop``."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Makes ``run`` return soon; may be called from any thread."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: FastAPI, on_ready: Callable[[str], None] | None, url: str) -> None:
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready(self._url)

    # uvicorn would wait for streams to end and then cut them; clients are told instead.
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state = self._app.state.synapse
        for model in state.registry.models.values():
            asyncio.get_running_loop().call_later(state.options.drain_seconds, model.hub.stop)
        await super().shutdown(sockets)


def uvicorn_config(app: FastAPI, options: ServerOptions) -> uvicorn.Config:
    """uvicorn, quiet, without what the API has no use for."""
    settings: dict[str, Any] = {
        "log_level": options.log_level,
        "access_log": False,
        "ws": "none",
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": IDLE_SECONDS,
        "timeout_graceful_shutdown": int(options.drain_seconds) + 1 + FAREWELL_SECONDS,
    }
    return uvicorn.Config(app, **settings)


def listen(host: str, port: int) -> socket.socket:
    """Takes the port; raises ServerError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise ServerError(f"{host} is not an address of this machine: {error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        hint = "another program uses this port; choose one with --port, or run `synapse ps`"
        raise ServerError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint) from error
    return listener
