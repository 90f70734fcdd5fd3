"""`Engine` with specialists: who answers, with which prompt, habits and adapter. The real model, the fake router."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server_fake import FakeRouter
from specialist_support import write_smollm2_adapter, write_specialist
from synapse_engine import Engine, swarm
from synapse_engine.routing import RoutingError
from synapse_engine.specialists import Library, UnknownSpecialistError, built_in, parse_specialist
from synapse_engine.swarm import Swarm

pytest_plugins = ["store_fixtures"]
MATH = next(one for one in built_in() if one.name == "math")
QUESTION = [{"role": "user", "content": "math: what is 2 + 2?"}]
SHORT = {"max_tokens": 8, "temperature": 0}


@pytest.fixture
def fresh(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The shared engine with specialists of its own."""
    monkeypatch.setattr(swarm, "open_router", FakeRouter)
    own = Swarm(engine.swarm.shelf)
    own.library.folder = tmp_path / "specialists"
    monkeypatch.setitem(engine.__dict__, "swarm", own)
    return engine


def plainly(engine: Engine, prompt: str = MATH.system_prompt, **options: object) -> str:
    """What the model says with this prompt in front."""
    return engine.chat([{"role": "system", "content": prompt}, *QUESTION], **{**SHORT, **options}).text


def test_a_request_is_routed(fresh: Engine) -> None:
    assert fresh.route("math: what is 2 + 2?").specialist == "math"
    answer = fresh.chat(QUESTION, specialist="auto", **SHORT)
    assert answer.decision is not None
    assert (answer.decision.specialist, answer.decision.reason) == ("math", "chosen")
    assert answer.text == plainly(fresh)
    assert fresh.chat("what is 2 + 2?", specialist="auto", **SHORT).decision.specialist is None
    with pytest.raises(RoutingError):
        fresh.chat([], specialist="auto")


def test_all_ways_to_ask_give_the_same(fresh: Engine) -> None:
    wanted = fresh.chat(QUESTION, specialist="math", **SHORT)
    assert wanted.decision.reason == "asked for"
    assert wanted.text == plainly(fresh)
    assert fresh.chat(QUESTION[0]["content"], specialist="math", **SHORT).text == wanted.text
    stream = fresh.stream(QUESTION, specialist="math", **SHORT)
    assert "".join(stream) == wanted.text
    assert stream.result.decision.specialist == "math"

    async def ask() -> tuple[str, str]:
        answer = await fresh.achat(QUESTION, specialist="math", **SHORT)
        assert answer.decision.specialist == "math"
        pieces = [piece async for piece in fresh.astream(QUESTION, specialist="math", **SHORT)]
        return answer.text, "".join(pieces)

    assert asyncio.run(ask()) == (wanted.text, wanted.text)


def test_without_a_specialist_nothing_changes(fresh: Engine) -> None:
    answer = fresh.chat(QUESTION, **SHORT)
    assert answer.decision is None
    assert answer.text != ""


def test_a_prompt_of_the_caller_comes_second(fresh: Engine) -> None:
    own = [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert fresh.chat(own, specialist="math", **SHORT).text == plainly(fresh, f"{MATH.system_prompt}\n\nBe brief.")
    parts = [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, *QUESTION]
    assert fresh.chat(parts, specialist="math", **SHORT).text == fresh.chat(own, specialist="math", **SHORT).text


def test_habits_hold_where_options_say_nothing(fresh: Engine, tmp_path: Path) -> None:
    text = 'name = "short"\ndescription = "x"\nexamples = ["y"]\n[sampling]\nmax_tokens = 3\ntemperature = 0\n'
    (tmp_path / "specialists").mkdir()
    (tmp_path / "specialists" / "short.toml").write_text(text)
    assert fresh.chat(QUESTION, specialist="short").usage.completion_tokens == 3
    assert fresh.chat(QUESTION, specialist="short", max_tokens=5).usage.completion_tokens == 5
    assert (
        fresh.generate("Once upon a", specialist="short").text
        == fresh.generate("Once upon a", max_tokens=3, temperature=0).text
    )


def test_an_adapter_is_loaded_at_first_use_and_again_when_it_changed(fresh: Engine, tmp_path: Path) -> None:
    adapter = write_smollm2_adapter(tmp_path / "lora", seed=1)
    fresh.specialists.add(write_specialist(tmp_path, adapter="lora"))
    assert fresh.adapters == []
    options = {"max_tokens": 12, "temperature": 0}
    try:
        first = fresh.chat(QUESTION, specialist="cooking", **options).text
        assert [one["name"] for one in fresh.adapters] == ["synapse/cooking"]
        assert first == plainly(fresh, "You are a cook.", adapters="synapse/cooking", **options)
        assert first != plainly(fresh, "You are a cook.", **options)
        assert fresh.chat(QUESTION, specialist="cooking", adapters={}, **options).text == plainly(
            fresh, "You are a cook.", **options
        )
        write_smollm2_adapter(adapter, seed=2)
        fresh.specialists.add(tmp_path / "cooking.toml")
        second = fresh.chat(QUESTION, specialist="cooking", **options).text
        assert second != first
        assert len(fresh.adapters) == 1
    finally:
        for one in fresh.adapters:
            fresh.unload_adapter(one["name"])


def test_an_adapter_that_makes_room_before_its_request_begins_comes_back(
    smollm2_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "open_router", FakeRouter)
    with Engine(smollm2_path, max_sequences=2, max_adapters=1) as engine:
        engine.specialists.folder = tmp_path / "specialists"
        for name, seed in (("cooking", 1), ("baking", 2)):
            write_smollm2_adapter(tmp_path / name, seed)
            engine.specialists.add(write_specialist(tmp_path, name, adapter=name))
        wanted = engine.chat(QUESTION, specialist="cooking", **SHORT).text
        prepared = engine.swarm.prepared

        def then_another_comes(*arguments: Any) -> Any:
            found = prepared(*arguments)
            engine.swarm.shelf.ready(engine.specialists.find("baking"))
            assert [one["name"] for one in engine.adapters] == ["synapse/baking"]
            return found

        monkeypatch.setattr(engine.swarm, "prepared", then_another_comes)
        assert engine.chat(QUESTION, specialist="cooking", **SHORT).text == wanted
        assert asyncio.run(engine.achat(QUESTION, specialist="cooking", **SHORT)).text == wanted
        monkeypatch.undo()
        engine.unload_adapter("synapse/cooking")
        assert engine.chat(QUESTION, specialist="cooking", **SHORT).text == wanted


def test_specialists_come_and_go(fresh: Engine, tmp_path: Path) -> None:
    with pytest.raises(UnknownSpecialistError):
        fresh.chat(QUESTION, specialist="cooking", **SHORT)
    fresh.specialists.put(parse_specialist(write_specialist(tmp_path).read_text(), "x"))
    assert fresh.route("cooking: soup").specialist == "cooking"
    fresh.specialists.remove("cooking")
    assert fresh.route("cooking: soup").specialist is None


def test_the_library_is_the_users(engine: Engine, home: Path) -> None:
    assert Swarm(engine.swarm.shelf).library.folder == Library().folder == home / "specialists"
