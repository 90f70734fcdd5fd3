"""Several models and their names, embeddings, tokens of a text. Engine: the fake."""

import math

import httpx
import pytest

from server_fake import END, FakeEngine, FakeQueue
from server_support import CHAT, EMBEDDINGS, MODEL, assert_refused, chat_body, fake_server, post, running


@pytest.fixture(scope="module")
def server():
    with fake_server() as (url, engine):
        yield url, engine


def test_several_models_and_aliases():
    one, two = FakeEngine(), FakeEngine()
    with fake_server(one) as (url, _):
        assert post(url, CHAT, chat_body(model="nothing")).json()["error"]["code"] == "model_not_found"
    with running({"one": one, "two": two}, FakeQueue, aliases={"gpt-4o": "two"}) as url:
        assert [card["id"] for card in httpx.get(f"{url}/v1/models").json()["data"]][:3] == ["one", "two", "synapse"]
        one_answer = post(url, CHAT, chat_body(model="one"))
        assert one_answer.status_code == 503, "closed with the first server"
        answer = post(url, CHAT, chat_body(model="gpt-4o")).json()
        assert answer["model"] == "two"
        assert len(two.requests) == 1
        missing = post(url, CHAT, chat_body(model="three"))
        assert missing.status_code == 404
        assert missing.json()["error"]["param"] == "model"
        assert "two" in missing.json()["error"]["message"]
        assert_refused(post(url, "/tokenize", {"text": "a"}), "model")
    two.close()


def test_embeddings(server):
    url, _ = server
    body = {"model": MODEL, "input": ["a", "b"], "user": "ann", "encoding_format": "float"}
    answer = post(url, EMBEDDINGS, body).json()
    assert [entry["index"] for entry in answer["data"]] == [0, 1]
    for entry in answer["data"]:
        assert math.isclose(sum(value * value for value in entry["embedding"]), 1, rel_tol=1e-6)
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert post(url, EMBEDDINGS, body | {"dimensions": 8}).status_code == 200
    assert_refused(post(url, EMBEDDINGS, body | {"dimensions": 4}), "dimensions")
    assert_refused(post(url, EMBEDDINGS, body | {"encoding_format": "int8"}), "encoding_format")
    assert_refused(post(url, EMBEDDINGS, body | {"input": []}), "input")


def test_tokenize_and_back(server):
    url, _ = server
    answer = post(url, "/tokenize", {"model": MODEL, "text": "hé<|end|>"}).json()
    assert answer == {"model": MODEL, "tokens": [257, 104, 195, 169, END], "count": 5}
    assert post(url, "/detokenize", {"tokens": answer["tokens"]}).json()["text"] == "hé<|end|>"
    plain = post(url, "/tokenize", {"text": "a<|end|>", "add_special": False, "parse_special": False}).json()
    assert plain["count"] == len("a<|end|>")
    turns = [{"role": "user", "content": "hi"}]
    assert post(url, "/tokenize", {"messages": turns}).json()["count"] == len("<|user|>hi<|assistant|>")
    assert_refused(post(url, "/tokenize", {"text": "a", "messages": turns}), "text")
    assert_refused(post(url, "/tokenize", {}), "text")
    assert post(url, "/tokenize", {"text": ""}).json()["tokens"] == [257]
    assert post(url, "/detokenize", {"tokens": []}).json()["text"] == ""
