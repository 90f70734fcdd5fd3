"""Runs the server in a thread of the test, on a free port of 127.0.0.1, and asks it."""

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

from server_fake import FakeEngine, FakeQueue, FakeRouter
from specialist_support import write_specialist
from synapse_engine.server import ApiServer, ServerOptions
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.server.swarm.router import open_router
from synapse_engine.specialists import Library

MODEL = "test/fake-1"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
HTTP = httpx.Client(timeout=30)
REAL_MODEL = "smollm2-135m-instruct"
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]


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


def completion_body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": "SAY:hello", **fields}


def assert_refused(response: httpx.Response, param: str) -> None:
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"].split(".")[0].split("[")[0] == param, error
    assert param in error["message"]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def idle(engine: Any) -> bool:
    stats = engine.stats()
    return stats["running"] == 0 and stats["waiting"] == 0


@dataclass
class SwarmServer:
    """A server with specialists."""

    url: str
    engine: Any
    library: Library
    folder: Path

    def chat(self, text: str = "math: SAY:four", model: str = "synapse", **fields: Any) -> Any:
        messages = fields.pop("messages", [{"role": "user", "content": text}])
        return post(self.url, CHAT, {"model": model, "messages": messages, **fields})

    def answered(self, *arguments: Any, **fields: Any) -> dict[str, Any]:
        response = self.chat(*arguments, **fields)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, *arguments: Any, status: int = 400, **fields: Any) -> dict[str, Any]:
        response = self.chat(*arguments, **fields)
        assert response.status_code == status, response.text
        return response.json()["error"]

    def chunks(self, *arguments: Any, **fields: Any) -> list[dict[str, Any]]:
        lines = self.chat(*arguments, stream=True, **fields).text.split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2] if line.startswith("data: ")]

    @property
    def seen(self) -> str:
        """The last prompt."""
        return self.engine.detokenize(self.engine.requests[-1]["tokens"])

    def add(self, name: str = "cooking", **options: Any) -> None:
        """What `synapse specialist add` does, beside the running server."""
        Library(self.library.folder).add(write_specialist(self.folder, name, **options))


@contextlib.contextmanager
def swarm_server(folder: Path, engine: FakeEngine | None = None) -> Iterator[SwarmServer]:
    """Over fakes; ``folder`` holds the library."""
    library = Library(folder / "specialists")
    with fake_server(engine, desk=Desk(library, FakeRouter), drain_seconds=0.02) as (url, engine):
        yield SwarmServer(url, engine, library, folder)


@contextlib.contextmanager
def real_swarm_server(engine: Any, folder: Path) -> Iterator[SwarmServer]:
    """Over the real model and the fake router."""
    library = Library(folder / "specialists")
    with running({"smollm2": engine.native}, desk=Desk(library, FakeRouter)) as url:
        yield SwarmServer(url, engine, library, folder)
    for adapter in engine.adapters:
        engine.unload_adapter(adapter["name"])


def parallel(**fields: Any) -> dict[str, Any]:
    return {"synapse": {"mode": "parallel", **fields}}


def text_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
