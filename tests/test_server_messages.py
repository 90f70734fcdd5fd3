"""Messages of a conversation: what they become for the model, and which are refused. Engine: the fake."""

import json

import httpx
import pytest

from server_support import CHAT, assert_refused, chat_body, fake_server, post

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.fixture(scope="module")
def server():
    with fake_server() as (url, engine):
        yield url, engine


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, "messages[0].role"),
        ({"role": "function", "content": "x", "name": "f"}, "messages[0].role"),
        ({"role": "robot", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": []}, "messages[0].content"),
        ({"role": "user", "content": 1}, "messages[0].content"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "messages[0].content[0].type",
        ),
        ({"role": "user", "content": [{"type": None, "text": "x"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": "x", "colour": "red"}, "messages[0].colour"),
        ({"role": "assistant", "content": "x", "tool_calls": [TOOL]}, "messages[0].tool_calls"),
        ({"role": "assistant", "content": "x", "refusal": "no"}, "messages[0].refusal"),
        ({"role": "assistant", "content": "x", "audio": {"id": "1"}}, "messages[0].audio"),
    ],
)
def test_messages_that_are_refused(server, message, param):
    response = post(server[0], CHAT, chat_body(messages=[message]))
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param


def test_messages_become_the_turns_of_the_template(server):
    url, engine = server
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "three", "refusal": None, "tool_calls": None, "annotations": []},
        {"role": "user", "content": ""},
    ]
    assert post(url, CHAT, chat_body(messages=messages, max_tokens=1)).status_code == 200
    seen = engine.detokenize(engine.requests[-1]["tokens"])
    assert seen == "<|system|>Be brief.<|user|>one\ntwo<|assistant|>three<|user|><|assistant|>"


def test_a_template_that_refuses_names_the_messages(server):
    response = post(server[0], CHAT, chat_body(messages=[{"role": "user", "content": "BAD"}]))
    assert_refused(response, "messages")
    response = post(server[0], CHAT, chat_body(messages=[{"role": "user", "content": "NO TEMPLATE"}]))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"


def test_a_lone_surrogate_is_refused(server):
    body = json.dumps(chat_body(messages=[{"role": "user", "content": "X"}])).replace("X", "\\ud800")
    response = httpx.post(server[0] + CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
