"""The API against its own description, with generated requests: valid, strange and wrong ones. Engine: the fake."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error

from routing_support import fake_desk
from server_fake import FakeEngine
from server_support import HTTP, MODEL, fake_server
from synapse_engine.server.openapi import BODIES


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    desk = fake_desk(tmp_path_factory.mktemp("specialists"))
    # Short answers keep the many requests quick.
    with fake_server(FakeEngine(context_length=200), desk=desk, request_seconds=5) as (url, _):
        yield url


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/tokenize"),
        ("POST", "/detokenize"),
        ("GET", "/v1/models/{name}"),
        ("POST", "/v1/specialists"),
        ("GET", "/v1/specialists/{name}"),
        ("DELETE", "/v1/specialists/{name}"),
        ("POST", "/v1/route"),
        ("POST", "/v1/feedback"),
        ("DELETE", "/v1/feedback"),
        ("POST", "/v1/adapters"),
        ("DELETE", "/v1/adapters/{name}"),
    ],
)
def test_no_request_makes_the_server_fail(url, method, path):
    description = schemathesis.openapi.from_url(f"{url}/openapi.json")

    @given(case=description[path][method].as_strategy(), known_model=st.booleans())
    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def check(case, known_model):
        # A made-up name would end most requests before they are looked at.
        if known_model and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = MODEL
        response = case.call_and_validate(checks=(not_a_server_error,))
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    check()


def test_the_description_is_valid_and_complete(url):
    description = HTTP.get(f"{url}/openapi.json").json()
    schemathesis.openapi.from_dict(description).validate()
    for body in BODIES:
        properties = description["components"]["schemas"][body.__name__]["properties"]
        assert set(properties) == set(body.model_fields)
    assert set(description["paths"]) == {
        "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/models/{name}",
        "/v1/specialists", "/v1/specialists/{name}", "/v1/adapters", "/v1/adapters/{name}",
        "/v1/route", "/v1/feedback", "/tokenize", "/detokenize", "/health", "/metrics",
    }  # fmt: skip
