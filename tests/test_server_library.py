"""`/v1/specialists` and `/v1/adapters`: what is listed, changed, refused. Engine and router: the fakes."""

import asyncio
from pathlib import Path
from unittest.mock import Mock

import pytest

from server_fake import FakeEngine, FakeQueue, FakeRouter
from server_support import HTTP, MODEL, chat_body, fake_server, post, running
from specialist_support import write_adapter
from synapse_engine import RequestError
from synapse_engine.server.hub import Hub
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.specialists import Library, specialist_of
from synapse_engine.specialists.adapters import Shelf
from synapse_engine.specialists.reading import STARTERS

BAKING = {"name": "baking", "description": "Bread.", "examples": ["why is my bread flat"]}


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "specialists")


@pytest.fixture
def server(library):
    with fake_server(desk=Desk(library, FakeRouter), drain_seconds=0.02) as (url, engine):
        yield url, engine


def test_specialists_from_post_to_delete(server, library):
    url, _ = server
    listed = HTTP.get(f"{url}/v1/specialists").json()
    assert [one["name"] for one in listed["data"]] == list(STARTERS)
    assert all(one["built_in"] for one in listed["data"])
    fields = {**BAKING, "system_prompt": "A baker.", "sampling": {"temperature": 1, "top_p": 0.5}}
    added = post(url, "/v1/specialists", fields)
    assert added.status_code == 200
    assert added.json() == {"object": "specialist", **fields, "adapter": None, "built_in": False}
    assert HTTP.get(f"{url}/v1/specialists/baking").json() == added.json()
    assert library.find("baking").sampling == {"temperature": 1, "top_p": 0.5}
    replaced = post(url, "/v1/specialists", {**BAKING, "description": "Cake."}).json()
    assert (replaced["description"], replaced["system_prompt"]) == ("Cake.", "")
    routed = {"model": "synapse", "messages": [{"role": "user", "content": "baking: SAY:bread"}]}
    assert post(url, "/v1/chat/completions", routed).json()["synapse"]["specialist"] == "baking"
    deleted = HTTP.delete(f"{url}/v1/specialists/baking")
    assert deleted.json() == {"object": "specialist.deleted", "name": "baking", "deleted": True}
    assert post(url, "/v1/chat/completions", routed).json()["synapse"]["specialist"] is None
    for response in (HTTP.get(f"{url}/v1/specialists/baking"), HTTP.delete(f"{url}/v1/specialists/baking")):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "specialist_not_found")


def test_an_adapter_comes_along(server, library, tmp_path):
    url, engine = server
    adapter = write_adapter(tmp_path / "lora")
    added = post(url, "/v1/specialists", {**BAKING, "adapter": str(adapter)}).json()
    assert Path(added["adapter"]).parent == library.folder / "adapters"
    assert post(url, "/v1/specialists", {**added, "object": None}).json()["error"]["param"] == "object"
    again = {name: value for name, value in added.items() if name not in ("object", "built_in")}
    assert post(url, "/v1/specialists", again).json() == added
    assert post(url, "/v1/chat/completions", chat_body(model="synapse/baking")).status_code == 200
    assert engine.loaded["synapse/baking"]["path"] == added["adapter"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "Ba king"}, "name"),
        ({"name": "none"}, "name"),
        ({"name": "../../x"}, "name"),
        ({"name": None}, "name"),
        ({"description": " "}, "description"),
        ({"examples": []}, "examples"),
        ({"examples": ["a", "A "]}, "examples"),
        ({"examples": ["a", 1]}, "examples[1]"),
        ({"system_prompt": "x" * 32_001}, "system_prompt"),
        ({"sampling": {"temperature": 3}}, "sampling"),
        ({"sampling": {"temprature": 1}}, "sampling"),
        ({"sampling": {"temperature": True}}, "sampling.temperature"),
        ({"adapter": "relative"}, "adapter"),
        ({"adapter": "/nowhere"}, "adapter"),
        ({"adapter": "a\0b"}, "adapter"),
        ({"memory": "mine"}, "memory"),
    ],
)
def test_specialists_that_are_refused(server, library, change, param):
    url, _ = server
    response = post(url, "/v1/specialists", {**BAKING, **change})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param
    assert [one.name for one in library.all()] == list(STARTERS)


def test_starters_cannot_be_removed(server):
    error = HTTP.delete(f"{server[0]}/v1/specialists/math").json()["error"]
    assert "comes with the package" in error["message"]


def test_broken_files_are_told_of(server, library):
    library.folder.mkdir()
    (library.folder / "baking.toml").write_text("name = ")
    (problem,) = HTTP.get(f"{server[0]}/v1/specialists").json()["problems"]
    assert problem["file"].endswith("baking.toml")
    assert "no TOML" in problem["message"]


def test_a_folder_that_cannot_be_written(server, library):
    library.folder.write_text("a file is in the way")
    error = post(server[0], "/v1/specialists", BAKING).json()["error"]
    assert error["code"] == "storage_error"


def test_adapters_from_post_to_delete(server, tmp_path):
    url, engine = server
    path = str(write_adapter(tmp_path / "lora"))
    loaded = post(url, "/v1/adapters", {"name": "mine", "path": path}).json()
    assert (loaded["object"], loaded["model"], loaded["generation"], loaded["path"]) == ("adapter", MODEL, 1, path)
    assert post(url, "/v1/adapters", {"name": "mine", "path": path}).json()["generation"] == 2
    assert [one["name"] for one in HTTP.get(f"{url}/v1/adapters").json()["data"]] == ["mine"]
    assert HTTP.delete(f"{url}/v1/adapters/mine").json()["deleted"] is True
    assert engine.loaded == {}
    missing = HTTP.delete(f"{url}/v1/adapters/mine")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "adapter_not_found")


def test_a_specialists_adapter_that_was_unloaded_is_loaded_again(server, library, tmp_path):
    url, engine = server
    post(url, "/v1/specialists", {**BAKING, "adapter": str(write_adapter(tmp_path / "lora"))})
    for generation in (1, 2):
        assert post(url, "/v1/chat/completions", chat_body(model="synapse/baking")).status_code == 200
        assert engine.loaded["synapse/baking"]["generation"] == generation
        assert HTTP.delete(f"{url}/v1/adapters/synapse/baking").status_code == 200


def test_an_adapter_that_is_unloaded_in_the_last_moment_is_loaded_again(library, tmp_path):
    async def submit(*names: str) -> None:
        request = {"tokens": [65], "task": "generate", "max_new_tokens": 1, "adapters": [(name, 1.0) for name in names]}
        hub.submit(request, Mock())

    engine = FakeEngine()
    shelf = Shelf(engine)
    hub = Hub(engine, shelf, FakeQueue)
    name = shelf.ready(specialist_of({**BAKING, "adapter": str(write_adapter(tmp_path / "lora"))}, "x"))
    shelf.unload(name)
    asyncio.run(submit(name))
    assert engine.loaded[name]["generation"] == 2
    with pytest.raises(RequestError, match="nobody"):
        asyncio.run(submit(name, "nobody"))
    hub.stop()
    hub.join()
    engine.close()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"path": "/nowhere"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "a\0b"}, "path"),
        ({"path": None}, "path"),
        ({"name": "synapse/math"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"model": "nothing"}, "model"),
        ({"scale": 1}, "scale"),
    ],
)
def test_adapters_that_are_refused(server, tmp_path, change, param):
    body = {"name": "mine", "path": str(write_adapter(tmp_path / "lora")), **change}
    response = post(server[0], "/v1/adapters", body)
    assert response.status_code in (400, 404), response.text
    assert response.json()["error"]["param"] == param


def test_several_models_have_their_own(tmp_path):
    path = str(write_adapter(tmp_path / "lora"))
    one, two = FakeEngine(), FakeEngine()
    with running({"one": one, "two": two}, FakeQueue) as url:
        assert post(url, "/v1/adapters", {"name": "mine", "path": path}).json()["error"]["param"] == "model"
        assert post(url, "/v1/adapters", {"name": "mine", "path": path, "model": "two"}).json()["model"] == "two"
        assert [entry["model"] for entry in HTTP.get(f"{url}/v1/adapters").json()["data"]] == ["two"]
        assert HTTP.delete(f"{url}/v1/adapters/mine?model=one").status_code == 404
        assert HTTP.delete(f"{url}/v1/adapters/mine?model=two").status_code == 200
    one.close()
    two.close()


def test_closed_engines_are_unavailable(server):
    url, engine = server
    engine.close()
    assert post(url, "/v1/adapters", {"name": "mine", "path": "/nowhere"}).status_code == 503
