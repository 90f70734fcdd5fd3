"""Every field that the OpenAI client has types for is honoured or refused by name. Engine: the fake."""

import typing

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from server_support import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MODEL,
    assert_refused,
    chat_body,
    completion_body,
    fake_server,
    post,
)
from synapse_engine.server.schemas.chat import ChatBody
from synapse_engine.server.schemas.completions import CompletionBody
from synapse_engine.server.schemas.others import EmbeddingBody

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}

# (field, value, key of the engine's request, its value there)
HONOURED = [
    ("frequency_penalty", 0.5, "frequency_penalty", 0.5),
    ("frequency_penalty", -2, "frequency_penalty", -2),
    ("ignore_eos", True, "ignore_eos", True),
    ("logit_bias", {"65": -100, "66": 1.5}, "logit_bias", {65: -100, 66: 1.5}),
    ("logit_bias", {}, "logit_bias", None),
    ("max_tokens", 7, "max_new_tokens", 7),
    ("min_p", 0.1, "min_p", 0.1),
    ("n", 3, "choices", 3),
    ("presence_penalty", 2, "presence_penalty", 2),
    ("repetition_penalty", 1.1, "repetition_penalty", 1.1),
    ("seed", 0, "seed", 0),
    ("seed", -(2**63), "seed", -(2**63)),
    ("seed", 2**64 - 1, "seed", 2**64 - 1),
    ("stop", "x", "stop", ["x"]),
    ("stop", ["x"] * 16, "stop", ["x"] * 16),
    ("stop", [], "stop", []),
    ("temperature", 0, "temperature", 0),
    ("temperature", 2, "temperature", 2),
    ("top_k", 0, "top_k", 0),
    ("top_k", 40, "top_k", 40),
    ("top_p", 0.9, "top_p", 0.9),
    ("top_p", 0, "top_p", 1e-6),
    ("typical_p", 0.5, "typical_p", 0.5),
]
OUT_OF_RANGE = [
    ("frequency_penalty", 2.01),
    ("frequency_penalty", "1"),
    ("ignore_eos", 1),
    ("logit_bias", {"65": 101}),
    ("logit_bias", {"A": 1}),
    ("logit_bias", {"-1": 1}),
    ("logit_bias", [65]),
    ("logit_bias", {"999999": 1}),
    ("max_tokens", -1),
    ("max_tokens", 1.5),
    ("max_tokens", True),
    ("min_p", 1),
    ("n", 0),
    ("n", 129),
    ("presence_penalty", -2.01),
    ("repetition_penalty", 0),
    ("repetition_penalty", 1e-30),
    ("seed", 2**64),
    ("seed", 0.5),
    ("stop", ["x"] * 17),
    ("stop", ""),
    ("stop", [""]),
    ("stop", [1]),
    ("stream", "true"),
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("top_k", -1),
    ("top_p", 1.1),
    ("top_p", -0.1),
    ("typical_p", 0),
    ("user", 1),
    ("model", 1),
    ("model", ""),
]
CHAT_HONOURED = [
    ("logprobs", True, "logprobs", 0),
    ("logprobs", False, "logprobs", None),
    ("max_completion_tokens", 9, "max_new_tokens", 9),
]
CHAT_HARMLESS = [
    ("audio", None),
    ("function_call", "none"),
    ("functions", []),
    ("metadata", {"key": "value"}),
    ("modalities", ["text"]),
    ("moderation", None),
    ("parallel_tool_calls", True),
    ("prediction", None),
    ("prompt_cache_key", "abc"),
    ("prompt_cache_options", {"mode": "implicit"}),
    ("prompt_cache_retention", "in_memory"),
    ("reasoning_effort", "none"),
    ("response_format", {"type": "text"}),
    ("safety_identifier", "me"),
    ("service_tier", "auto"),
    ("store", False),
    ("stream", False),
    ("stream_options", None),
    ("tool_choice", "none"),
    ("tools", []),
    ("top_logprobs", None),
    ("user", "me"),
    ("verbosity", "medium"),
    ("web_search_options", None),
]
CHAT_REFUSED = [
    ("audio", {"voice": "x", "format": "wav"}),
    ("function_call", "auto"),
    ("functions", [{"name": "f"}]),
    ("max_completion_tokens", 0),
    ("max_tokens", 0),
    ("messages", []),
    ("messages", "hello"),
    ("metadata", {"key": 1}),
    ("metadata", {str(i): "" for i in range(17)}),
    ("modalities", ["text", "audio"]),
    ("moderation", {"model": "x"}),
    ("parallel_tool_calls", 1),
    ("prediction", {"type": "content", "content": "x"}),
    ("prompt_cache_options", {"mode": "explicit"}),
    ("prompt_cache_retention", "24h"),
    ("reasoning_effort", "high"),
    ("response_format", {"type": "json_object"}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}),
    ("service_tier", "priority"),
    ("store", True),
    ("stream_options", {"include_usage": True}),
    ("tool_choice", "auto"),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}),
    ("tools", [TOOL]),
    ("top_logprobs", 5),
    ("verbosity", "low"),
    ("web_search_options", {}),
]
COMPLETION_REFUSED = [
    ("best_of", 0),
    ("echo", "yes"),
    ("logprobs", 6),
    ("logprobs", True),
    ("max_tokens", 0),
    ("prompt", None),
    ("prompt", []),
    ("prompt", ["a", [65]]),
    ("prompt", [[]]),
    ("prompt", [65, "a"]),
    ("prompt", [-1]),
    ("prompt", [1.0]),
    ("prompt", [2**40]),
    ("prompt", 5),
    ("prompt", ["a"] * 1025),
    ("stream_options", {}),
    ("suffix", "end"),
]


@pytest.fixture(scope="module")
def server():
    with fake_server() as (url, engine):
        yield url, engine


def documented(*bases: type) -> set[str]:
    return {name for base in bases for name in typing.get_type_hints(base)} | {"stream"}


def test_no_documented_field_of_chat_completions_is_unknown():
    known = documented(chat_create_params.CompletionCreateParamsBase)
    assert known <= set(ChatBody.model_fields)
    tried = {case[0] for case in HONOURED + CHAT_HONOURED + CHAT_HARMLESS} | {"messages", "model"}
    assert known <= tried, "a documented field that no test sends"


def test_no_documented_field_of_completions_is_unknown():
    assert documented(completion_create_params.CompletionCreateParamsBase) <= set(CompletionBody.model_fields)


def test_no_documented_field_of_embeddings_is_unknown():
    known = set(typing.get_type_hints(embedding_create_params.EmbeddingCreateParams))
    assert known == set(EmbeddingBody.model_fields)


@pytest.mark.parametrize(("field", "value", "key", "wanted"), HONOURED + CHAT_HONOURED)
def test_chat_passes_on(server, field, value, key, wanted):
    url, engine = server
    limit = {} if field == "max_completion_tokens" else {"max_tokens": 5}
    response = post(url, CHAT, chat_body(**{**limit, field: value}))
    assert response.status_code == 200, response.text
    assert engine.requests[-1][key] == wanted


@pytest.mark.parametrize(("field", "value", "key", "wanted"), HONOURED)
def test_completions_pass_on(server, field, value, key, wanted):
    url, engine = server
    response = post(url, COMPLETIONS, completion_body(**{field: value}))
    assert response.status_code == 200, response.text
    assert engine.requests[-1][key] == wanted


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(("field", "value"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused(server, path, field, value):
    body = chat_body if path == CHAT else completion_body
    assert_refused(post(server[0], path, body(**{field: value})), field)


@pytest.mark.parametrize(("field", "value"), CHAT_HARMLESS)
def test_chat_takes_what_changes_nothing(server, field, value):
    url, engine = server
    plain = post(url, CHAT, chat_body()).json()
    wanted = engine.requests[-1]
    response = post(url, CHAT, chat_body(**{field: value}))
    assert response.status_code == 200, response.text
    assert response.json()["choices"] == plain["choices"]
    # `user` and the like choose the line in the queue, nothing else.
    assert {**engine.requests[-1], "client": ""} == {**wanted, "client": ""}


@pytest.mark.parametrize(("field", "value"), CHAT_REFUSED)
def test_chat_refuses(server, field, value):
    assert_refused(post(server[0], CHAT, chat_body(**{field: value})), field)


@pytest.mark.parametrize(("field", "value"), COMPLETION_REFUSED)
def test_completions_refuse(server, field, value):
    assert_refused(post(server[0], COMPLETIONS, completion_body(**{field: value})), field)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_null_is_like_absent(server, path):
    url, engine = server
    kind, body = (ChatBody, chat_body) if path == CHAT else (CompletionBody, completion_body)
    post(url, path, body())
    wanted = engine.requests[-1]
    required = {"model", "messages", "prompt"}
    response = post(url, path, body(**dict.fromkeys(set(kind.model_fields) - required)))
    assert response.status_code == 200, response.text
    assert engine.requests[-1] == wanted


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat_body()),
        (COMPLETIONS, completion_body()),
        (EMBEDDINGS, {"model": MODEL, "input": "a"}),
        ("/tokenize", {"text": "a"}),
        ("/detokenize", {"tokens": [65]}),
    ],
)
def test_an_unknown_field_is_named(server, path, body):
    assert post(server[0], path, body).status_code == 200
    error = post(server[0], path, {**body, "frobnicate": 1}).json()["error"]
    assert (error["param"], error["code"]) == ("frobnicate", "unknown_parameter")


def test_a_missing_field_is_named(server):
    error = post(server[0], CHAT, {"model": MODEL}).json()["error"]
    assert (error["param"], error["code"]) == ("messages", "missing_required_parameter")


def test_the_shorter_of_two_limits_is_not_guessed(server):
    url, engine = server
    assert_refused(post(url, CHAT, chat_body(max_tokens=3, max_completion_tokens=4)), "max_tokens")
    assert post(url, CHAT, chat_body(max_tokens=3, max_completion_tokens=3)).status_code == 200
    assert engine.requests[-1]["max_new_tokens"] == 3


def test_lines_in_the_queue(server):
    url, engine = server
    lines = []
    for fields in ({}, {"user": "ann"}, {"user": "ann", "safety_identifier": "bob"}):
        post(url, CHAT, chat_body(**fields))
        lines.append(engine.requests[-1]["client"])
    assert lines == ["127.0.0.1/", "127.0.0.1/ann", "127.0.0.1/bob"]


def test_metadata_and_service_tier_come_back(server):
    answer = post(server[0], CHAT, chat_body(metadata={"a": "b"}, service_tier="auto")).json()
    assert answer["metadata"] == {"a": "b"}
    assert answer["service_tier"] == "default"


def test_too_long_a_prompt(server):
    url, _ = server
    for path, body, field in (
        (CHAT, chat_body(messages=[{"role": "user", "content": "x" * 5000}]), "messages"),
        (COMPLETIONS, completion_body(prompt="x" * 5000), "prompt"),
        (COMPLETIONS, completion_body(prompt="x", max_tokens=5000), "prompt"),
        (EMBEDDINGS, {"model": MODEL, "input": "x" * 5000}, "input"),
    ):
        response = post(url, path, body)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"
        assert response.json()["error"]["param"] == field


def test_tokens_that_do_not_exist(server):
    url, _ = server
    assert_refused(post(url, COMPLETIONS, completion_body(prompt=[70_000])), "prompt")
    assert_refused(post(url, EMBEDDINGS, {"model": MODEL, "input": [[70_000]]}), "input")
    assert_refused(post(url, "/detokenize", {"tokens": [70_000]}), "tokens")
