"""Requests for specialists: names, prompts, habits, adapters, several at a time, and what responses tell of it.

Engine and router: the fakes, and at the end the real model.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from safetensors.numpy import load_file, save_file

from server_fake import FakeEngine, FakeQueue, FakeRouter
from server_support import HTTP, MODEL, client, fake_server, idle, post, running, wait_until
from specialist_support import COOKING, write_adapter, write_smollm2_adapter, write_specialist
from synapse_engine.routing import RoutingError
from synapse_engine.server.swarm import modes
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.specialists import Library, built_in

WEIGHTS = "adapter_model.safetensors"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MATH = next(specialist for specialist in built_in() if specialist.name == "math")


@dataclass
class Server:
    url: str
    engine: FakeEngine
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


@pytest.fixture
def server(tmp_path):
    library = Library(tmp_path / "specialists")
    with fake_server(desk=Desk(library, FakeRouter), drain_seconds=0.02) as (url, engine):
        yield Server(url, engine, library, tmp_path)


def text_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


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
        server = Server(url, engine, Library(Path("/nowhere")), Path())
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
        server = Server(url, engine, Library(tmp_path), tmp_path)
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


# Adapters


def test_a_specialists_adapter_is_loaded_at_first_use_and_again_when_it_changed(server):
    write_adapter(server.folder / "lora")
    server.add(adapter="lora")
    assert server.engine.loaded == {}
    for _ in range(3):
        server.answered(model="synapse/cooking")
    assert server.engine.requests[-1]["adapters"] == [("synapse/cooking", 1.0)]
    assert server.engine.loaded["synapse/cooking"]["generation"] == 1
    write_adapter(server.folder / "lora", b"trained longer")
    server.add(adapter="lora")
    server.answered(model="synapse/cooking")
    assert server.engine.loaded["synapse/cooking"]["generation"] == 2
    assert Path(server.engine.loaded["synapse/cooking"]["path"]).parent.parent == server.library.folder


def test_an_adapter_that_does_not_fit_is_an_error_of_this_specialist_alone(server):
    write_adapter(server.folder / "unfit")
    write_specialist(server.library.folder, adapter=f"{server.folder}/unfit")
    error = server.refused(model="synapse/cooking")
    assert "the adapter of the specialist `cooking`" in error["message"]
    assert "train one for this model" in error["message"]
    assert server.answered("math: SAY:four")
    (server.folder / "unfit" / "adapter_config.json").unlink()
    error = server.refused(model="synapse/cooking", status=404)
    assert "adapter_config.json is missing" in error["message"]


def test_blends_of_adapters(server):
    write_adapter(server.folder / "lora")
    server.add(adapter="lora")
    body = {"name": "mine", "path": str(server.folder / "lora")}
    assert post(server.url, "/v1/adapters", body).status_code == 200
    blend = [{"name": "mine", "weight": 0.5}, {"name": "synapse/cooking", "weight": -1}]
    for model in (MODEL, "synapse/math", "synapse/cooking", "synapse"):
        server.answered(model=model, adapters=blend)
        assert server.engine.requests[-1]["adapters"] == [("mine", 0.5), ("synapse/cooking", -1.0)]
    assert post(server.url, COMPLETIONS, {"model": MODEL, "prompt": "a", "adapters": [{"name": "mine"}]}).is_success
    assert server.engine.requests[-1]["adapters"] == [("mine", 1.0)]
    server.answered(model="synapse/cooking", adapters=[])
    assert server.engine.requests[-1]["adapters"] == []


@pytest.mark.parametrize(
    "adapters",
    [
        [{"name": "nobody"}],
        [{"name": "synapse/nobody"}],
        [{"name": "synapse/math"}],
        [{"name": ""}],
        [{"weight": 1}],
        [{"name": "a", "weight": 101}],
        [{"name": "a", "weight": "1"}],
        [{"name": "a", "scale": 1}],
        [{"name": "a"}] * 9,
        "a",
    ],
)
def test_adapters_that_are_refused(server, adapters):
    response = server.chat(model=MODEL, adapters=adapters)
    assert response.status_code in (400, 404)
    assert response.json()["error"]["param"].partition("[")[0] == "adapters"


# Several at a time


def parallel(**fields: Any) -> dict[str, Any]:
    return {"synapse": {"mode": "parallel", **fields}}


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


def test_a_slow_adapter_does_not_hold_up_others(server):
    load = server.engine.load_adapter

    def slowly(name: str, path: str) -> dict[str, Any]:
        time.sleep(1)
        return load(name, path)

    server.engine.load_adapter = slowly
    write_adapter(server.folder / "lora")
    server.add(adapter="lora")
    write_adapter(server.folder / "lora", b"other")
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(server.answered, "x", model="synapse/cooking", max_tokens=2) for _ in range(3)]
        for _ in range(5):
            server.answered("math: SAY:four")
        assert not any(future.done() for future in waiting)
        for future in waiting:
            future.result()
    assert server.engine.loaded["synapse/cooking"]["generation"] == 1


def test_adapters_that_take_each_others_place_fail_no_request(tmp_path):
    library = Library(tmp_path / "specialists")
    with fake_server(FakeEngine(max_adapters=1), desk=Desk(library, FakeRouter)) as (url, engine):
        server = Server(url, engine, library, tmp_path)
        names = ("cooking", "baking")
        for name in names:
            write_adapter(tmp_path / name, name.encode())
            server.add(name, adapter=name)
        told = server.answered("math: SAY:four", **parallel(specialists=names))["synapse"]
        assert [candidate["content"] for candidate in told["candidates"]] == ["four", "four"]
        # More texts than are submitted at a time: the last ones begin long after their adapter was made ready.
        texts = {"prompt": ["SAY:SLOW x"] * 20}
        with ThreadPoolExecutor(4) as pool:
            bodies = [{"model": f"synapse/{name}", **texts} for name in names]
            ends = list(pool.map(lambda body: post(url, COMPLETIONS, body), bodies * 4))
        assert [end.status_code for end in ends] == [200] * 8, [end.text for end in ends]


def test_files_that_are_gone_when_an_adapter_has_to_come_back_are_told_of(server):
    write_specialist(server.library.folder, adapter=str(write_adapter(server.folder / "lora")))
    body = {"model": "synapse/cooking", "prompt": ["SAY:SLOW " + "x" * 20] * 20}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, server.url, COMPLETIONS, body)
        assert wait_until(lambda: len(server.engine.requests) >= 8)
        (server.folder / "lora" / "adapter_config.json").unlink()
        assert HTTP.delete(f"{server.url}/v1/adapters/synapse/cooking").status_code == 200
        error = answer.result().json()["error"]
    assert (error["param"], error["code"]) == ("adapters", "invalid_value")
    assert "adapter_config.json is missing" in error["message"]


# The real model


@pytest.fixture
def real(engine, tmp_path):
    library = Library(tmp_path / "specialists")
    with running({"smollm2": engine.native}, desk=Desk(library, FakeRouter)) as url:
        yield Server(url, engine, library, tmp_path)
    for adapter in engine.adapters:
        engine.unload_adapter(adapter["name"])


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


def test_blends_are_the_engines(real):
    for name, seed in (("one", 1), ("two", 2)):
        body = {"name": name, "path": str(write_smollm2_adapter(real.folder / name, seed))}
        assert post(real.url, "/v1/adapters", body).json()["rank"] == 4
    question = [{"role": "user", "content": "Tell me about leeks."}]
    blend = [{"name": "one", "weight": 0.5}, {"name": "two", "weight": -0.5}]
    answer = real.answered(messages=question, model="smollm2", adapters=blend, temperature=0, max_tokens=16)
    expected = real.engine.chat(question, adapters={"one": 0.5, "two": -0.5}, temperature=0, max_tokens=16)
    assert answer["choices"][0]["message"]["content"] == expected.text
    assert expected.text != real.engine.chat(question, temperature=0, max_tokens=16).text


def test_an_adapter_for_another_model_is_named(real):
    folder = write_smollm2_adapter(real.folder / "lora", 1)
    tensors = {
        name: tensor[:, :500] if "_A" in name else tensor for name, tensor in load_file(folder / WEIGHTS).items()
    }
    save_file(tensors, folder / WEIGHTS)
    error = post(real.url, "/v1/adapters", {"name": "mine", "path": str(folder)}).json()["error"]
    assert (error["param"], "576" in error["message"]) == ("path", True)
    write_specialist(real.library.folder, adapter=str(folder))
    assert "the adapter of the specialist `cooking` cannot be used" in real.refused(model="synapse/cooking")["message"]
