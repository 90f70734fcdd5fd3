"""Requests for specialists: names, prompts, habits, and what responses tell of it. Engine and router: the fakes."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from server_fake import FakeEngine, FakeQueue, FakeRouter
from server_support import (
    CHAT,
    COMPLETIONS,
    HTTP,
    MODEL,
    SwarmServer,
    client,
    fake_server,
    post,
    running,
    swarm_server,
    text_of,
)
from specialist_support import COOKING, write_adapter, write_specialist
from synapse_engine.routing import RoutingError
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.specialists import Library, built_in

MATH = next(specialist for specialist in built_in() if specialist.name == "math")


@pytest.fixture
def server(tmp_path):
    with swarm_server(tmp_path) as server:
        yield server


# Names


def test_a_request_is_routed(server):
    answer = server.answered("math: SAY:four")
    assert answer["choices"][0]["message"]["content"] == "four"
    assert answer["model"] == "synapse/math"
    told = answer["synapse"]
    assert (told["specialist"], told["mode"], told["reason"]) == ("math", "single", "chosen")
    assert told["probabilities"]["math"] == 0.9
    assert told["cached_tokens"] == answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert {name for name in told["timings"] if told["timings"][name] >= 0} == {
        "route_seconds", "adapter_seconds", "queue_seconds", "first_token_seconds", "total_seconds",
    }  # fmt: skip


def test_a_request_that_belongs_nowhere_goes_to_the_plain_model(server):
    answer = server.answered("SAY:hm")
    assert (answer["model"], answer["synapse"]["specialist"]) == (MODEL, None)
    assert answer["synapse"]["reason"] == "below threshold"
    assert server.seen == "<|user|>SAY:hm<|assistant|>"


def test_a_specialist_by_name(server):
    answer = server.answered("sql: SAY:four", model="synapse/math")
    assert (answer["model"], answer["synapse"]["specialist"]) == ("synapse/math", "math")
    assert (answer["synapse"]["reason"], answer["synapse"]["probabilities"]) == ("asked for", {})
    error = server.refused(model="synapse/maths", status=404)
    assert (error["code"], error["param"]) == ("specialist_not_found", "model")
    assert "did you mean math?" in error["message"]


def test_metrics_count_who_answered(server):
    chosen = server.answered()["synapse"]["specialist"]
    for stream in (False, True):
        server.chat(model="synapse/sql", stream=stream)
    shown = HTTP.get(f"{server.url}/metrics").text
    count = 'synapse_specialist_requests_total{{mode="single",reason="{}",specialist="{}"}} {}.0'
    assert count.format("chosen", chosen, 1) in shown
    assert count.format("asked for", "sql", 2) in shown


def test_a_models_own_name_is_not_routed(server):
    answer = server.answered("math: SAY:four", model=MODEL)
    assert "synapse" not in answer
    assert server.seen == "<|user|>math: SAY:four<|assistant|>"


def test_the_models_are_listed(server):
    server.add()
    listed = [card["id"] for card in HTTP.get(f"{server.url}/v1/models").json()["data"]]
    assert listed[:3] == [MODEL, "synapse", "synapse/general"]
    assert listed[-1] == "synapse/cooking"
    assert HTTP.get(f"{server.url}/v1/models/synapse/cooking").json()["id"] == "synapse/cooking"
    assert HTTP.get(f"{server.url}/v1/models/synapse/nothing").status_code == 404


def test_names_that_stand_for_routing_are_no_models(server):
    for path, body in [("/v1/embeddings", {"input": "a"}), ("/tokenize", {"text": "a"})]:
        for name in ("synapse", "synapse/math"):
            error = post(server.url, path, {"model": name, **body}).json()["error"]
            assert (error["param"], error["code"]) == ("model", "invalid_value")
    with pytest.raises(Exception, match="stands for routing"), running({"synapse": server.engine}, FakeQueue):
        pass


def test_the_base_may_be_chosen_where_several_models_are_served(tmp_path):
    one, two = FakeEngine(), FakeEngine()
    with running({"one": one, "two": two}, FakeQueue) as url:
        for base, model in [(None, "one"), ("one", "one"), ("two", "two")]:
            body = {"model": "synapse", "messages": [{"role": "user", "content": "SAY:hm"}], "synapse": {"base": base}}
            assert post(url, CHAT, body).json()["model"] == model
        body["synapse"] = {"base": "three"}
        assert post(url, CHAT, body).json()["error"]["param"] == "synapse.base"
    one.close()
    two.close()


def test_without_a_coordinator_only_routing_fails():
    def none(_specialists):
        raise RoutingError("there is no coordinator")

    with fake_server(desk=Desk(Library(Path("/nowhere")), none)) as (url, engine):
        server = SwarmServer(url, engine, Library(Path("/nowhere")), Path())
        assert "no coordinator" in server.refused(status=503)["message"]
        assert server.answered(model="synapse/math")["synapse"]["specialist"] == "math"
        assert server.answered(model=MODEL)


# Prompts and habits


def test_prompts_are_put_in_front(server):
    server.answered("math: SAY:four")
    assert server.seen == f"<|system|>{MATH.system_prompt}<|user|>math: SAY:four<|assistant|>"
    system = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "math: SAY:four"}]
    server.answered(messages=system)
    assert server.seen.startswith(f"<|system|>{MATH.system_prompt}\n\nBe brief.<|user|>math")


def test_the_router_sees_the_conversation_up_to_the_users_last_words(tmp_path):
    routers = []

    def new_router(specialists):
        routers.append(FakeRouter(specialists))
        return routers[0]

    turns = [("system", "S"), ("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "fo")]
    with fake_server(desk=Desk(Library(tmp_path), new_router)) as (url, engine):
        server = SwarmServer(url, engine, Library(tmp_path), tmp_path)
        server.answered(messages=[{"role": role, "content": text} for role, text in turns], max_tokens=2)
        assert routers[0].routed == [[("user", "one"), ("assistant", "two"), ("user", "three")]]
        assert server.refused(messages=[{"role": "system", "content": "S"}])["param"] == "messages"


def test_habits_hold_where_the_request_says_nothing(server):
    server.add()
    server.answered(model="synapse/cooking", max_tokens=5)
    assert server.engine.requests[-1]["temperature"] == 0.6
    server.answered(model="synapse/cooking", max_tokens=5, temperature=0)
    assert server.engine.requests[-1]["temperature"] == 0
    short = COOKING.replace("temperature = 0.6", "max_tokens = 3")
    write_specialist(server.library.folder, text=short)
    assert server.answered("hello", model="synapse/cooking")["usage"]["completion_tokens"] == 3
    assert server.answered("hello", model="synapse/cooking", max_completion_tokens=7)["usage"]["completion_tokens"] == 7


def test_everything_else_works_as_with_a_plain_model(server):
    plain = server.answered("math: SAY:four", model=MODEL, n=3, logprobs=True, top_logprobs=2)
    routed = server.answered("math: SAY:four", n=3, logprobs=True, top_logprobs=2)
    assert routed["choices"] == plain["choices"]
    assert server.refused(tools=[{"type": "function", "function": {"name": "f"}}])["param"] == "tools"
    assert server.refused("math: " + "long " * 1000)["code"] == "context_length_exceeded"


# Streams


def test_the_first_and_the_last_chunk_tell_of_it(server):
    chunks = server.chunks("math: SAY:four", n=2)
    assert [text_of(chunks, index) for index in (0, 1)] == ["four", "four"]
    told = [chunk["synapse"] for chunk in chunks if "synapse" in chunk]
    assert len(told) == 2
    assert "synapse" in chunks[0]
    assert "synapse" in chunks[-1]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["choices"] for chunk in chunks)
    assert "cached_tokens" not in told[0]
    assert told[1]["timings"]["total_seconds"] > 0
    assert {chunk["model"] for chunk in chunks} == {"synapse/math"}
    assert {key: told[0][key] for key in ("specialist", "mode", "probabilities", "reason")} == {
        key: told[1][key] for key in ("specialist", "mode", "probabilities", "reason")
    }


def test_a_stream_of_a_plain_model_is_as_it_was(server):
    assert not [chunk for chunk in server.chunks(model=MODEL) if "synapse" in chunk]


def test_openai_clients_see_the_object_as_one_field_more(server):
    with client(server.url) as api:
        fields = {"model": "synapse", "messages": [{"role": "user", "content": "math: SAY:four"}]}
        answer = api.chat.completions.create(**fields)
        assert (answer.choices[0].message.content, answer.synapse["specialist"]) == ("four", "math")
        chunks = list(api.chat.completions.create(stream=True, stream_options={"include_usage": True}, **fields))
        assert chunks[0].synapse["specialist"] == "math"
        assert chunks[-1].usage.completion_tokens == 4
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "four"
        with pytest.raises(openai.NotFoundError) as caught:
            api.chat.completions.create(**{**fields, "model": "synapse/nobody"})
        assert caught.value.code == "specialist_not_found"


# Completions


def test_completions_by_a_specialist(server):
    write_adapter(server.folder / "lora")
    server.add(adapter="lora")
    body = {"model": "synapse/cooking", "prompt": ["SAY:one", "SAY:two"]}
    answer = post(server.url, COMPLETIONS, body).json()
    assert [choice["text"] for choice in answer["choices"]] == ["one", "two"]
    assert answer["synapse"]["specialist"] == "cooking"
    assert server.engine.requests[-1]["temperature"] == 0.6
    assert server.engine.requests[-1]["adapters"] == [("synapse/cooking", 1.0)]
    assert server.seen == "SAY:two"
    stream = post(server.url, COMPLETIONS, {**body, "stream": True}).text
    told = [json.loads(line[6:]) for line in stream.split("\n\n") if '"synapse":' in line]
    assert len(told) == 2
    assert "total_seconds" in told[1]["synapse"]["timings"]


def test_completions_are_routed_by_their_text(server):
    answer = post(server.url, COMPLETIONS, {"model": "synapse", "prompt": "math: SAY:four"}).json()
    assert (answer["choices"][0]["text"], answer["model"]) == ("four", "synapse/math")
    for prompt in (["a", "b"], [65, 66]):
        error = post(server.url, COMPLETIONS, {"model": "synapse", "prompt": prompt}).json()["error"]
        assert error["param"] == "prompt"
    body = {"model": "synapse", "prompt": "a", "synapse": {"mode": "parallel"}}
    assert post(server.url, COMPLETIONS, body).json()["error"]["param"] == "synapse.mode"


# The running server


def test_a_specialist_added_beside_the_server_is_routed_to_while_others_run(server):
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(server.answered, "math: SAY:SLOW " + "x" * 15) for _ in range(4)]
        assert server.answered("cooking: SAY:soup")["synapse"]["specialist"] is None
        server.add()
        assert server.answered("cooking: SAY:soup")["synapse"]["specialist"] == "cooking"
        (server.library.folder / "cooking.toml").write_text("broken")
        assert server.answered("cooking: SAY:soup")["synapse"]["specialist"] is None
        assert {future.result()["choices"][0]["message"]["content"] for future in slow} == {"x" * 15}
