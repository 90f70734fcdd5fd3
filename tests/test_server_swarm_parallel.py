"""Several specialists that answer one request: whose answer is given, and what is told of the others.

Engine and router: the fakes, and at the end the real model.
"""

import pytest

from server_fake import FakeRouter
from server_support import (
    CHAT,
    MODEL,
    fake_server,
    idle,
    parallel,
    post,
    real_swarm_server,
    swarm_server,
    text_of,
    wait_until,
)
from specialist_support import COOKING, write_smollm2_adapter, write_specialist
from synapse_engine.server.swarm import modes
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.specialists import Library


@pytest.fixture
def server(tmp_path):
    with swarm_server(tmp_path) as server:
        yield server


def test_several_answer_and_the_likeliest_answer_wins(server):
    # The cook is found less likely, and answers much more surely.
    server.add()
    server.engine.logprob = lambda prompt: -0.1 if "a cook" in prompt else -3.0
    answer = server.answered("math 0.5: SAY:four", **parallel(specialists=["math", "cooking", "none"]))
    told = answer["synapse"]
    assert (told["specialist"], told["mode"], told["choose"]) == ("cooking", "parallel", "likelihood")
    assert answer["model"] == "synapse/cooking"
    by_name = {candidate["specialist"]: candidate for candidate in told["candidates"]}
    assert set(by_name) == {"math", "cooking", None}
    for name, mean in (("math", -3.0), ("cooking", -0.1)):
        found = by_name[name]
        assert found["mean_logprob"] == pytest.approx(mean)
        assert found["score"] == pytest.approx(modes.score(found["probability"], [mean]), abs=1e-6)
        assert (found["content"], found["completion_tokens"]) == ("four", 4)
    assert len(server.engine.requests) == 3
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["prompt_tokens"] == sum(len(request["tokens"]) for request in server.engine.requests)
    assert told["cached_tokens"] == answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert answer["choices"][0]["logprobs"] is None


def test_the_routers_word_counts_too(server):
    answer = server.answered("math 0.9: SAY:four", **parallel(k=2))
    assert answer["synapse"]["specialist"] == "math"
    assert len(answer["synapse"]["candidates"]) == 2


def test_a_parallel_stream_comes_at_the_end_and_says_the_same(server):
    whole = server.answered("math: SAY:four", n=2, logprobs=True, **parallel())
    chunks = server.chunks("math: SAY:four", n=2, logprobs=True, stream_options={"include_usage": True}, **parallel())
    assert [text_of(chunks, index) for index in (0, 1)] == ["four", "four"]
    assert chunks[0]["synapse"]["candidates"] == chunks[-2]["synapse"]["candidates"]
    assert chunks[-2]["synapse"]["specialist"] == whole["synapse"]["specialist"] == "math"
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 3 * 2 * 4
    entries = [
        entry
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == 0 and choice["logprobs"]
        for entry in choice["logprobs"]["content"]
    ]
    assert entries == whole["choices"][0]["logprobs"]["content"]


def test_a_synthesis_reads_all_answers(server):
    for fields in (parallel(k=2, choose="synthesis"), parallel(choose="synthesis", specialists=["math", "sql"])):
        answer = server.answered("math: SAY:four", max_tokens=60, n=2, **fields)
        assert len(answer["choices"]) == 2
        told = answer["synapse"]
        assert (told["specialist"], told["choose"], answer["model"]) == (None, "synthesis", MODEL)
        assert [candidate["content"] for candidate in told["candidates"]] == ["four", "four"]
        assert "Answer 1:\nfour\n\nAnswer 2:\nfour<|assistant|>" in server.seen
        assert server.seen.startswith("<|system|>Several assistants")
        chunks = server.chunks("math: SAY:four", max_tokens=60, **fields)
        assert text_of(chunks) == answer["choices"][0]["message"]["content"]
        assert len(chunks) > 4
        assert [chunk["synapse"]["choose"] for chunk in (chunks[0], chunks[-1])] == ["synthesis"] * 2
    assert [request["choices"] for request in server.engine.requests[:3]] == [1, 1, 2]


def test_a_synthesis_keeps_the_conversation(server):
    turns = [("system", "S"), ("user", "one"), ("assistant", "two"), ("user", "math: SAY:x")]
    messages = [{"role": role, "content": text} for role, text in turns]
    server.answered(messages=messages, max_tokens=5, **parallel(k=2, choose="synthesis"))
    assert "\n\nS<|user|>one<|assistant|>two<|user|>math: SAY:x\n\nAnswer 1:" in server.seen


def test_auto_asks_several_only_when_unsure(server):
    for text, mode in [("math 0.95: SAY:a", "single"), ("math 0.5: SAY:a", "parallel"), ("SAY:a", "single")]:
        assert server.answered(text, synapse={"mode": "auto"})["synapse"]["mode"] == mode


def test_an_answer_without_words_never_wins(server):
    write_specialist(server.library.folder, text=COOKING.replace("You are a cook.", "SAY:soup"))
    write_specialist(server.library.folder, "math", text=COOKING.replace("You are a cook.", "SAY:t"))
    server.engine.logprob = lambda _: -20.0
    answer = server.answered("math: x", stop=["t"], **parallel(specialists=["math", "cooking"]))
    assert answer["synapse"]["specialist"] == "cooking"
    assert answer["synapse"]["candidates"][0]["score"] is None


def test_one_that_fails_fails_the_request_and_frees_the_rest(server):
    write_specialist(server.library.folder, text=COOKING.replace("You are a cook.", "SAY:FAIL x"))
    write_specialist(server.library.folder, "math", text=COOKING.replace("You are a cook.", "SAY:SLOW " + "x" * 900))
    for stream in (False, True):
        error = server.refused("math: x", status=500, stream=stream, **parallel(specialists=["math", "cooking"]))
        assert error["code"] == "internal_error"
        assert wait_until(lambda: idle(server.engine), 5)


def test_leaving_frees_all(server):
    body = {"model": "synapse", "messages": [{"role": "user", "content": "math: SAY:SLOW " + "x" * 900}], **parallel()}
    for stream in (False, True):
        with pytest.raises(Exception, match="timed out"):
            post(server.url, CHAT, {**body, "stream": stream}, timeout=0.5)
        assert wait_until(lambda: idle(server.engine), 5)


def test_a_stream_of_several_is_kept_alive(tmp_path):
    desk = Desk(Library(tmp_path), FakeRouter)
    with fake_server(desk=desk, keep_alive_seconds=0.05) as (url, _):
        body = {"model": "synapse", "messages": [{"role": "user", "content": "math: SAY:SLOW slowly"}], **parallel()}
        text = post(url, CHAT, {**body, "stream": True}).text
        assert text.startswith(": still working")


@pytest.mark.parametrize(
    ("model", "synapse", "param"),
    [
        (MODEL, {}, "synapse"),
        (MODEL, {"mode": "single"}, "synapse"),
        ("synapse/math", {"mode": "parallel"}, "synapse.mode"),
        ("synapse", {"mode": "both"}, "synapse.mode"),
        ("synapse", {"k": 3}, "synapse.k"),
        ("synapse", {"mode": "parallel", "k": 1}, "synapse.k"),
        ("synapse", {"mode": "parallel", "k": 9}, "synapse.k"),
        ("synapse", {"mode": "single", "choose": "likelihood"}, "synapse.choose"),
        ("synapse", {"mode": "parallel", "choose": "dice"}, "synapse.choose"),
        ("synapse", {"mode": "parallel", "specialists": ["math"]}, "synapse.specialists"),
        ("synapse", {"mode": "parallel", "specialists": ["math", "math"]}, "synapse.specialists"),
        ("synapse", {"mode": "parallel", "specialists": ["math", "maths"]}, "synapse.specialists"),
        ("synapse", {"mode": "parallel", "specialists": ["math", "sql"], "k": 2}, "synapse.specialists"),
        ("synapse", {"mode": "auto", "specialists": ["math", "sql"]}, "synapse.specialists"),
        ("synapse", {"modes": "auto"}, "synapse.modes"),
        ("synapse", "parallel", "synapse"),
    ],
)
def test_options_that_are_refused(server, model, synapse, param):
    response = server.chat(model=model, synapse=synapse)
    assert response.status_code in (400, 404)
    assert response.json()["error"]["param"] == param


# The real model


@pytest.fixture
def real(engine, tmp_path):
    with real_swarm_server(engine, tmp_path) as server:
        yield server


def test_in_parallel_each_says_what_it_says_alone(real):
    real.library.folder.mkdir()
    for name, seed in (("cooking", 1), ("baking", 2)):
        adapter = write_smollm2_adapter(real.folder / name, seed)
        write_specialist(real.library.folder, name, adapter=str(adapter))
    names = ["math", "cooking", "baking", "none"]
    options = {"text": "math 0.4: what is 2 + 2?", "temperature": 0, "max_tokens": 16}
    told = real.answered(**options, **parallel(specialists=names))["synapse"]
    alone = {name: real.answered(**options, model=f"synapse/{name}") for name in names[:3]}
    alone["none"] = real.answered(**options, model="smollm2")
    for name, candidate in zip(names, told["candidates"], strict=True):
        assert candidate["content"] == alone[name]["choices"][0]["message"]["content"]
    assert len({candidate["content"] for candidate in told["candidates"]}) == 4
    scores = [candidate["score"] for candidate in told["candidates"]]
    assert told["candidates"][scores.index(max(scores))]["specialist"] == told["specialist"]
    for candidate in told["candidates"]:
        expected = modes.score(candidate["probability"], [candidate["mean_logprob"]])
        assert candidate["score"] == pytest.approx(expected, abs=1e-4)


def test_a_mean_logprob_is_that_of_the_tokens(real):
    options = {"text": "math 0.4: what is 2 + 2?", "temperature": 0, "max_tokens": 16}
    (math, _) = real.answered(**options, **parallel(specialists=["math", "none"]))["synapse"]["candidates"]
    tokens = real.answered(**options, model="synapse/math", logprobs=True)["choices"][0]["logprobs"]["content"]
    assert math["mean_logprob"] == pytest.approx(sum(token["logprob"] for token in tokens) / len(tokens), abs=1e-4)
