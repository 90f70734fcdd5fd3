"""Puts the API together: endpoints, gates, errors, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders

from synapse_engine import _engine
from synapse_engine.server import errors
from synapse_engine.server.gates import Gates
from synapse_engine.server.metrics import CountResponses, Metrics
from synapse_engine.server.openapi import describe
from synapse_engine.server.options import ServerOptions
from synapse_engine.server.routes import adapters, chat, completions, embeddings, routing, specialists, status, tokens
from synapse_engine.server.served import Registry
from synapse_engine.server.state import State
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.server.swarm.router import open_router
from synapse_engine.server.swarm.tracing import Trace
from synapse_engine.specialists import Library
from synapse_engine.traces import TraceFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from synapse_engine.server.native import EventQueue, NativeEngine


def create_app(
    engines: Mapping[str, NativeEngine],
    options: ServerOptions | None = None,
    *,
    new_queue: Callable[[], EventQueue] = _engine.EventQueue,
    desk: Desk | None = None,
) -> FastAPI:
    """The API over ``engines``, which are served by their names here and stay the caller's to close.

    ``desk``: where requests are routed; by default, between the specialists of the user's home.
    """
    options = options or ServerOptions()
    options.check()
    registry = Registry(engines, options.aliases, new_queue)
    file = None if options.trace is None else TraceFile(options.trace, text=options.trace_text)
    metrics = Metrics(registry)
    state = State(options, registry, metrics, desk or Desk(Library(), open_router), Trace(file, metrics.answers))

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await shut_down(state)

    # The pages that FastAPI offers for reading the description would load scripts from the network.
    app = FastAPI(docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False)
    app.state.synapse = state
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    for module in (chat, completions, embeddings, tokens, routing, specialists, adapters, status):
        app.include_router(module.router)
    errors.install(app)
    app.add_middleware(Gates, options=options)
    app.add_middleware(CountResponses, metrics=state.metrics)
    app.add_middleware(NameRequests)
    return app


async def shut_down(state: State) -> None:
    """Ends what still runs."""
    for model in state.registry.models.values():
        model.hub.stop()
    for model in state.registry.models.values():
        await asyncio.to_thread(model.hub.join)
    state.trace.close()
    for pool in (state.workers, state.loaders):
        pool.shutdown(wait=False, cancel_futures=True)


class NameRequests:
    """ASGI middleware: gives every response an ``x-request-id``, which clients show with their errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on."""

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = f"req_{secrets.token_hex(12)}"
            await send(message)

        await self._app(scope, receive, named if scope["type"] == "http" else send)
