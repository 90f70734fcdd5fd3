"""Runs the server in a thread of the test, on a free port of 127.0.0.1."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai

from server_fake import FakeEngine, FakeQueue, FakeRouter
from synapse_engine.server import ApiServer, ServerOptions
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.server.swarm.router import open_router
from synapse_engine.specialists import Library

MODEL = "test/fake-1"
HTTP = httpx.Client(timeout=30)


@contextlib.contextmanager
def running(engines: Any, new_queue: Any = None, desk: Desk | None = None, **options: Any) -> Iterator[str]:
    """The base URL of a server over ``engines``, by their names. Without a ``desk``, there are the starters only."""
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder) / "specialists")
        desk = desk or Desk(library, open_router if new_queue is None else FakeRouter)
        with _running(engines, new_queue, desk, options) as url:
            yield url


@contextlib.contextmanager
def _running(engines: Any, new_queue: Any, desk: Desk, options: dict[str, Any]) -> Iterator[str]:
    ready = threading.Event()
    queues = {} if new_queue is None else {"new_queue": new_queue}
    options = {"port": 0, "drain_seconds": 0.2, **options}
    server = ApiServer(engines, ServerOptions(**options), on_ready=lambda _: ready.set(), desk=desk, **queues)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ready.wait(10)
        yield server.url
    finally:
        server.stop()
        thread.join(15)
        assert not thread.is_alive()


@contextlib.contextmanager
def fake_server(engine: FakeEngine | None = None, **options: Any) -> Iterator[tuple[str, FakeEngine]]:
    engine = engine or FakeEngine()
    with running({MODEL: engine}, FakeQueue, **options) as url:
        yield url, engine
    engine.close()


def client(url: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", **{"api_key": "none", "max_retries": 0, **options})


def post(url: str, path: str, body: Any, **options: Any) -> httpx.Response:
    return HTTP.post(url + path, json=body, **options)


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "SAY:hello"}], **fields}


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def idle(engine: Any) -> bool:
    stats = engine.stats()
    return stats["running"] == 0 and stats["waiting"] == 0
