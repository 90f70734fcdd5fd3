"""Feedback on disk: shared by processes, whole after a crash, and set aside if it cannot be used."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from synapse_engine._engine import HebbianBias, RequestError
from synapse_engine.routing import KeptBias, RoutingError

HERE, THERE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


def kept(folder: Path, space: str = "test", told: list[str] | None = None) -> KeptBias:
    return KeptBias(folder / "feedback.json", HebbianBias(space, 3), (told if told is not None else []).append)


def bias(one: KeptBias, place: list[float] = HERE) -> float:
    return one.bias(place, ["sql"])["sql"]


def test_what_one_learns_the_other_knows(tmp_path):
    first, second = kept(tmp_path), kept(tmp_path)
    assert bias(second) == 0
    first.learn(HERE, {"sql": 1}, label="a request")
    assert bias(second) == bias(first) == pytest.approx(4)
    second.learn(THERE, {"sql": -1})
    assert [region["label"] for region in first.describe()] == ["a request", ""]
    assert first.reset(region=1) == 1
    assert bias(second) == 0
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.new"))


def test_refused_feedback_changes_nothing(tmp_path):
    one = kept(tmp_path)
    one.learn(HERE, {"sql": 1})
    before = one.path.read_bytes()
    with pytest.raises(RequestError):
        one.learn(HERE, {"sql": 7})
    with pytest.raises(RoutingError, match="version") as caught:
        one.import_json('{"format": "synapse-feedback", "version": 99}')
    assert "synapse feedback export" in caught.value.hint
    assert one.path.read_bytes() == before


def test_an_export_moves_to_another_machine(tmp_path):
    one, other = kept(tmp_path / "one"), kept(tmp_path / "other")
    one.learn(HERE, {"sql": 0.5})
    other.import_json(one.export_json())
    assert other.export_json() == one.export_json()
    assert bias(kept(tmp_path / "other")) == bias(one)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": "x", "version": 1}', b"null"])
def test_a_damaged_file_is_set_aside(tmp_path, content):
    (tmp_path / "feedback.json").write_bytes(content)
    told = []
    one = kept(tmp_path, told=told)
    assert bias(one) == 0
    assert (tmp_path / "feedback.unusable-1.json").read_bytes() == content
    assert "kept as feedback.unusable-1.json" in told[0]
    one.learn(HERE, {"sql": 1})
    assert bias(kept(tmp_path)) > 0
    (tmp_path / "feedback.json").write_bytes(b"again")
    assert bias(one) == 0
    assert (tmp_path / "feedback.unusable-2.json").read_bytes() == b"again"
    assert (tmp_path / "feedback.unusable-1.json").read_bytes() == content


def test_feedback_for_another_coordinator_is_set_aside(tmp_path):
    kept(tmp_path, "old").learn(HERE, {"sql": 1})
    told = []
    new = kept(tmp_path, "new", told)
    new.learn(THERE, {"sql": 1})
    assert bias(new) == 0
    assert "coordinator `new`" in told[0]
    aside = json.loads((tmp_path / "feedback.unusable-1.json").read_text())
    assert aside["space"] == "old"


def test_a_file_that_cannot_be_read_is_no_reason_not_to_route(tmp_path):
    (tmp_path / "feedback.json").mkdir()
    told = []
    assert bias(kept(tmp_path, told=told)) == 0
    assert "without feedback" in told[0]


def test_a_change_that_cannot_be_written_is_not_made(tmp_path, monkeypatch):
    one = kept(tmp_path)
    one.learn(HERE, {"sql": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        one.learn(HERE, {"sql": 1})
    assert bias(one) == bias(kept(tmp_path)) == pytest.approx(4)


def test_processes_lose_nothing_of_each_other(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from synapse_engine._engine import HebbianBias\n"
        "from synapse_engine.routing import KeptBias\n"
        "one = KeptBias(pathlib.Path(sys.argv[1]) / 'feedback.json', HebbianBias('test', 3))\n"
        "for _ in range(20): one.learn([1.0, 0.0, 0.0], {sys.argv[2]: 0.1})\n"
    )
    names = ["sql", "math", "code"]
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in names]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    (region,) = kept(tmp_path).describe()
    assert {name: tie["feedbacks"] for name, tie in region["specialists"].items()} == dict.fromkeys(names, 20)
    assert region["feedbacks"] == 60
