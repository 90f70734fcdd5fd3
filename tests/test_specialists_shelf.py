"""The shelf of loaded adapters: what it loads, gives up when room is short, and brings back at the last moment."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server_fake import request_error
from specialist_support import COOKING, write_adapter
from synapse_engine import RequestError
from synapse_engine.specialists import Specialist, SpecialistError, parse_specialist
from synapse_engine.specialists.adapters import AdapterFiles, Shelf


class Engine:
    def __init__(self) -> None:
        self.loaded: list[tuple[str, str]] = []
        self.fails = False

    def load_adapter(self, name: str, path: str) -> dict[str, str]:
        if self.fails:
            raise ValueError("no")
        self.loaded.append((name, path))
        return {}

    def unload_adapter(self, name: str) -> None:
        pass


def test_the_shelf_loads_once_and_again_when_a_file_changed(tmp_path: Path) -> None:
    engine = Engine()
    shelf = Shelf(engine)
    plain = parse_specialist(COOKING, "x")
    assert shelf.ready(plain) is None
    cook = replace(plain, adapter=write_adapter(tmp_path / "lora"))
    assert [shelf.ready(cook) for _ in range(3)] == ["synapse/cooking"] * 3
    assert engine.loaded == [("synapse/cooking", str(tmp_path / "lora"))]
    (tmp_path / "fresh").write_bytes(b"other...")
    (tmp_path / "fresh").replace(tmp_path / "lora" / "adapter_model.safetensors")
    shelf.ready(cook)
    shelf.ready(cook)
    assert len(engine.loaded) == 2
    shelf.unload("synapse/cooking")
    shelf.ready(cook)
    assert len(engine.loaded) == 3


class SmallEngine(Engine):
    """Has room for a few. ``on_failed_submit`` is what others do while a request that failed is tried again."""

    def __init__(self, room: int = 2) -> None:
        super().__init__()
        self.room = room
        self.here: set[str] = set()
        self.full = "max_adapters"
        self.on_failed_submit: Any = lambda: None

    def load_adapter(self, name: str, path: str) -> dict[str, str]:
        if len(self.here - {name}) >= self.room:
            raise request_error(self.full, "full")
        self.here.add(name)
        return super().load_adapter(name, path)

    def unload_adapter(self, name: str) -> None:
        self.here.remove(name)

    def adapters(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in self.here]

    def submit(self, request: dict[str, Any], queue: Any) -> int:
        for name, _ in request["adapters"]:
            if name not in self.here:
                self.on_failed_submit()
                raise request_error("adapters", f"there is no adapter {name}")
        return 7


def submit(shelf: Shelf, *names: str) -> int:
    return shelf.submit({"tokens": [65], "adapters": [(f"synapse/{name}", 1.0) for name in names]}, None)


@pytest.fixture
def cooks(tmp_path: Path) -> tuple[Specialist, ...]:
    """Called a, b and c."""
    lora = write_adapter(tmp_path / "lora")
    return tuple(replace(parse_specialist(COOKING, "x"), name=name, adapter=lora) for name in ("a", "b", "c"))


def test_without_room_the_longest_unused_makes_it(cooks: tuple[Specialist, ...]) -> None:
    engine = SmallEngine()
    shelf = Shelf(engine)
    one, two, three = cooks
    for specialist in (one, two, one, three):
        shelf.ready(specialist)
    assert engine.here == {"synapse/a", "synapse/c"}
    engine.full = "max_adapter_bytes"
    shelf.ready(two)
    assert engine.here == {"synapse/b", "synapse/c"}
    # Who has nothing to give up says so, and keeps what others have loaded.
    with pytest.raises(RequestError, match="full"):
        Shelf(engine).ready(one)
    engine.full = "adapters"
    with pytest.raises(RequestError, match="full"):
        shelf.ready(one)
    assert engine.here == {"synapse/b", "synapse/c"}


def test_an_adapter_that_made_room_before_its_request_began_comes_back(cooks: tuple[Specialist, ...]) -> None:
    engine = SmallEngine(room=1)
    shelf = Shelf(engine)
    for specialist in cooks[:2]:
        shelf.ready(specialist)
    assert (submit(shelf, "a"), engine.here) == (7, {"synapse/a"})
    engine.unload_adapter("synapse/a")  # by someone who does not tell the shelf
    assert (submit(shelf, "a"), engine.here) == (7, {"synapse/a"})


def test_it_may_be_another_request_that_brings_it_back(cooks: tuple[Specialist, ...]) -> None:
    engine = SmallEngine(room=1)
    shelf = Shelf(engine)
    for specialist in cooks[:2]:
        shelf.ready(specialist)
    engine.on_failed_submit = lambda: shelf.ready(cooks[0])
    assert submit(shelf, "a") == 7
    assert len(engine.loaded) == 3


def test_nobody_makes_room_between_an_adapters_return_and_its_request(cooks: tuple[Specialist, ...]) -> None:
    engine = SmallEngine(room=1)
    shelf = Shelf(engine)
    for specialist in cooks[:2]:
        shelf.ready(specialist)
    other = threading.Thread(target=shelf.ready, args=[cooks[1]])
    load, ask = engine.load_adapter, engine.submit

    def load_while_another_waits(name: str, path: str) -> dict[str, str]:
        engine.load_adapter, engine.submit = load, ask_after_the_other
        other.start()
        return load(name, path)

    def ask_after_the_other(request: dict[str, Any], queue: Any) -> int:
        other.join(0.3)  # long enough to take the adapter out, if that were possible
        return ask(request, queue)

    engine.load_adapter = load_while_another_waits
    assert submit(shelf, "a") == 7
    other.join()
    assert engine.here == {"synapse/b"}


def test_a_request_makes_no_room_with_what_it_needs_itself(cooks: tuple[Specialist, ...]) -> None:
    engine = SmallEngine()
    shelf = Shelf(engine)
    for specialist in cooks:
        shelf.ready(specialist)
    assert engine.here == {"synapse/b", "synapse/c"}
    assert submit(shelf, "a", "b") == 7
    engine.room = 1
    engine.here = {"synapse/b"}
    with pytest.raises(RequestError, match="full"):
        submit(shelf, "a", "b")


def test_what_the_shelf_never_had_it_does_not_look_for(cooks: tuple[Specialist, ...], tmp_path: Path) -> None:
    engine = SmallEngine()
    shelf = Shelf(engine)
    with pytest.raises(RequestError, match="no adapter synapse/a"):
        submit(shelf, "a")
    shelf.ready(cooks[0])
    with pytest.raises(RequestError, match="no adapter synapse/nobody"):
        submit(shelf, "a", "nobody")
    shelf.unload("synapse/a")
    (tmp_path / "lora" / "adapter_config.json").unlink()
    with pytest.raises(SpecialistError, match=r"adapter_config\.json is missing"):
        submit(shelf, "a")


def test_a_failed_load_is_tried_again(tmp_path: Path) -> None:
    engine = Engine()
    engine.fails = True
    shelf = Shelf(engine)
    cook = replace(parse_specialist(COOKING, "x"), adapter=write_adapter(tmp_path / "lora"))
    with pytest.raises(ValueError, match="no"):
        shelf.ready(cook)
    engine.fails = False
    assert shelf.ready(cook) == "synapse/cooking"


def test_files_of_an_adapter_in_all_three_forms(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "lora")
    assert AdapterFiles.at(folder).parts == AdapterFiles.at(folder / "adapter_model.safetensors").parts
    gguf = tmp_path / "lora.gguf"
    with pytest.raises(SpecialistError, match=r"lora\.gguf is missing"):
        AdapterFiles.at(gguf)
    gguf.write_bytes(b"GGUF")
    assert AdapterFiles.at(gguf).within(tmp_path / "kept") == tmp_path / "kept" / "lora.gguf"
