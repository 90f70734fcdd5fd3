"""Servers to ask with the official client: one over the fake engine, one over the real model."""

from dataclasses import dataclass
from typing import Any

import openai
import pytest

from server_fake import FakeEngine
from server_support import MODEL, QUESTION, REAL_MODEL, client, fake_server, running


@dataclass
class Server:
    url: str
    model: str
    engine: Any
    api: openai.OpenAI

    def chat(self, **fields: Any) -> Any:
        fields = {"messages": QUESTION, "max_tokens": 16, "temperature": 0, **fields}
        return self.api.chat.completions.create(model=self.model, **fields)

    def complete(self, **fields: Any) -> Any:
        fields = {"prompt": "Once upon a time", "max_tokens": 16, "temperature": 0, **fields}
        return self.api.completions.create(model=self.model, **fields)


@pytest.fixture(scope="module")
def fake():
    with fake_server(FakeEngine()) as (url, engine), client(url) as api:
        yield Server(url, MODEL, engine, api)


@pytest.fixture(scope="module")
def real(engine, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # What this machine's user taught the router must not count.
        patch.setenv("SYNAPSE_HOME", str(tmp_path_factory.mktemp("home")))
        yield from real_server(engine)


def real_server(engine):
    with running({REAL_MODEL: engine.native}, aliases={"gpt-4o-mini": REAL_MODEL}) as url, client(url) as api:
        yield Server(url, REAL_MODEL, engine.native, api)


@pytest.fixture(params=["fake", "real"])
def server(request):
    return request.getfixturevalue(request.param)
