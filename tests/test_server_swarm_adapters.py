"""Adapters in requests: those of specialists, loaded as they are asked, and blends of any.

Engine and router: the fakes, and at the end the real model.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from server_fake import FakeEngine
from server_support import (
    COMPLETIONS,
    HTTP,
    MODEL,
    parallel,
    post,
    real_swarm_server,
    swarm_server,
    wait_until,
)
from specialist_support import write_adapter, write_smollm2_adapter, write_specialist

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def server(tmp_path):
    with swarm_server(tmp_path) as server:
        yield server


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
    with swarm_server(tmp_path, FakeEngine(max_adapters=1)) as server:
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
            ends = list(pool.map(lambda body: post(server.url, COMPLETIONS, body), bodies * 4))
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
    with real_swarm_server(engine, tmp_path) as server:
        yield server


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
