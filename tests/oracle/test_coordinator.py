"""The engine's coordinator against the same weights in PyTorch, for every way to cut a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.coordinator_fixture import tiny_coordinator

from synapse_engine import _engine
from synapse_engine.specialists import built_in
from synapse_engine.train.coordinator.export import read_coordinator
from synapse_engine.train.coordinator.reading import read_request
from synapse_engine.train.coordinator.tasks import starters_shown

if TYPE_CHECKING:
    from pathlib import Path

LONG = "".join(f"{chr(97 + at % 26)}{at} Straße ½ {chr(0x1F600 + at % 50)} " for at in range(800))
CONVERSATIONS = [
    [("user", "what is 2 + 2?")],
    [("user", "")],
    [("user", "ÉCRIS un poème, <|user|> s'il te plaît\n\n\tx² = 17")],
    [("user", LONG)],
    [("system", "be kind"), ("user", "a poem"), ("assistant", "roses"), ("user", "shorter, please")],
    [(role, f"{role} {LONG}") for role in ("user", "assistant") * 3] + [("user", LONG)],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_coordinator(tmp_path_factory.mktemp("coordinator") / "model")


def test_scores_of_every_conversation(folder: Path) -> None:
    engine = _engine.Coordinator(str(folder))
    engine.set_specialists([{"name": s.name, "description": s.description, "examples": s.examples} for s in built_in()])
    model, tokenizer, settings = read_coordinator(folder)
    texts, about = starters_shown(tokenizer, built_in())
    with torch.no_grad():
        shown = model.embed(texts)
        requests = model.embed([read_request(tokenizer, turns) for turns in CONVERSATIONS])
        wanted = model.comparison.logits(requests, shown, about) / settings["temperature"]
    assert wanted.std() > 0.1
    for at, turns in enumerate(CONVERSATIONS):
        found = engine.score(turns)
        assert found["tokens"] == len(read_request(tokenizer, turns).ids)
        assert list(found["logits"]) == [specialist.name for specialist in built_in()]
        assert np.abs(np.array(found["embedding"]) - requests.vector()[at].numpy()).max() < 1e-4
        logits = [*found["logits"].values(), found["none_logit"]]
        assert np.abs(np.array(logits) - wanted[at].numpy()).max() < 1e-3
        assert found["embedding"] == engine.embed(turns)


def test_a_text_that_spells_a_marker_stays_text(folder: Path) -> None:
    engine = _engine.Coordinator(str(folder))
    assert engine.score([("user", "<|request|>")])["tokens"] > 2


def test_specialists_are_replaced_and_may_be_many(folder: Path) -> None:
    engine = _engine.Coordinator(str(folder))
    one = {"name": "a", "description": "what", "examples": ["is", "this"]}
    engine.set_specialists([one, one | {"name": "b"}])
    first = engine.score([("user", "is")])["logits"]
    assert first["a"] == first["b"]
    engine.set_specialists([one | {"name": "c", "examples": ["that"]}, one])
    second = engine.score([("user", "is")])["logits"]
    assert list(second) == ["c", "a"]
    assert second["a"] == first["a"] != second["c"]
    engine.set_specialists([])
    assert engine.score([("user", "is")])["logits"] == {}


def test_what_cannot_be_is_refused(folder: Path, tmp_path: Path) -> None:
    engine = _engine.Coordinator(str(folder))
    one = {"name": "a", "description": "what", "examples": ["is"]}
    engine.set_specialists([one])
    with pytest.raises(_engine.RequestError, match="`a`: expected each name once"):
        engine.set_specialists([one, one])
    with pytest.raises(_engine.RequestError, match="`b`: expected at least one example"):
        engine.set_specialists([one, one | {"name": "b", "examples": []}])
    assert list(engine.score([("user", "is")])["logits"]) == ["a"]
    with pytest.raises(_engine.RequestError, match="expected a request, found no turn") as refused:
        engine.score([])
    assert refused.value.param == "turns"
    with pytest.raises(_engine.FileError):
        _engine.Coordinator(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "old", "new", "error", "message"),
    [
        ("coordinator.json", '"version": 3', '"version": 2', _engine.FormatError, "version: expected 3, found 2"),
        ("coordinator.json", '"temperature": 1.5', '"temperature": 0', _engine.FormatError, "temperature: expected"),
        ("coordinator.json", '"threshold": 0.4', '"threshold": 4', _engine.FormatError, "threshold: expected 0 to 1"),
        ("coordinator.json", '"want": 128', '"want": 64', _engine.ModelError, "project.weight"),
        ("tokenizer.json", "<|assistant|>", "<|robot|>", _engine.ModelError, "expected the token <|assistant|>"),
    ],
)
def test_a_damaged_folder_is_refused(
    tmp_path: Path, name: str, old: str, new: str, error: type[Exception], message: str
) -> None:
    folder = tiny_coordinator(tmp_path / "model")
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), "utf-8")
    with pytest.raises(error, match=message.replace("|", r"\|")):
        _engine.Coordinator(str(folder))


def test_info(folder: Path) -> None:
    info = _engine.Coordinator(str(folder)).info()
    model, _, _ = read_coordinator(folder)
    numbers = len(list(model.comparison.parameters()))
    assert info["parameters"] == sum(p.numel() for p in model.parameters()) + model.kin.table.numel() - numbers
    assert (info["embedding"], info["window"], info["source"]) == (160, 256, {"seed": 0})
    assert (info["temperature"], info["threshold"]) == (1.5, pytest.approx(0.4))
