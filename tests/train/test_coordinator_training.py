"""Training a coordinator: what a batch asks for, that a run goes on as if undisturbed, and what calibration finds."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.coordinator_fixture import TEXTS

from synapse_engine import _engine
from synapse_engine.specialists import built_in
from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.coordinator.calibrate import Judged, temperature, threshold, tune
from synapse_engine.train.coordinator.finish import finish
from synapse_engine.train.coordinator.grams import Grams
from synapse_engine.train.coordinator.meanings import first_embedding, neighbours
from synapse_engine.train.coordinator.options import Options
from synapse_engine.train.coordinator.pretended import Question, apart, outline, wish_groups, wishes
from synapse_engine.train.coordinator.reading import Reading, read_request
from synapse_engine.train.coordinator.start import Plan, start
from synapse_engine.train.coordinator.tasks import Tasks
from synapse_engine.train.coordinator.topics import Topic, Topics
from synapse_engine.train.coordinator.vocabulary import learn_vocabulary
from synapse_engine.train.errors import CheckpointError
from synapse_engine.train.routing.generate import Generator, grammar
from synapse_engine.train.routing.requests import LABELS, NONE

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from synapse_engine.train.coordinator.tasks import Batch
    from synapse_engine.train.routing.grammar import Grammar

TINY = Options(steps=4, batch_size=12, width=16, layers=1, ffn=16, vocab_size=400, vocabulary_rows=60, gram_rows=64)


@pytest.fixture(scope="module")
def grammars() -> Grammar:
    return grammar()


@pytest.fixture(scope="module")
def batch(grammars: Grammar) -> Batch:
    tokenizer = learn_vocabulary(TEXTS, (), 300)
    return Tasks(replace(TINY, batch_size=400), Generator(1, grammars), grammars, tokenizer, {}).batch(0)


def test_what_is_wanted_is_there(batch: Batch) -> None:
    rows = range(len(batch.requests))
    assert all(batch.present[row, batch.wanted[row]] for row in rows)
    assert batch.present[:, -1].all()
    wanted = set(batch.wanted.tolist())
    assert wanted >= set(range(len(STARTERS)))
    assert batch.count in wanted
    assert any(len(STARTERS) <= number < batch.count for number in wanted)


def test_every_specialist_shows_itself(batch: Batch) -> None:
    owners = batch.about.owner
    assert len(batch.texts) == len(owners)
    for owner in range(batch.count):
        mine = owners == owner
        assert batch.about.description[mine].sum() == 1
        assert mine.sum() >= 2


def test_wishes_are_leaves_of_every_label_and_language(grammars: Grammar) -> None:
    found = wishes(grammars)
    assert {wish.family for wish in found} == {*STARTERS, NONE}
    assert {"general.advice", "de.math", "it.grammar", "sql.mislead", "code.paste"} <= {wish.section for wish in found}
    assert [wish.number for wish in found] == list(range(len(found)))
    assert any("food" in wish.topics for wish in found)


def test_what_is_apart_is_never_generated(grammars: Grammar) -> None:
    found = wishes(grammars)
    kept, held = apart(grammars, found, 10)
    assert len(found) / 15 < len(held) <= len(found) / 9
    left = {(wish.section, wish.template) for wish in wishes(kept)}
    assert not left & {(wish.section, wish.template) for wish in held}


def test_pretended_specialists_serve_their_wishes(grammars: Grammar) -> None:
    groups = wish_groups(grammars)
    assert len(groups) > len(wishes(grammars))
    for group in groups:
        question = group.ask(Random(1))
        assert group.may_serve(question)
        assert group.describe(Random(1))
    assert not groups[0].may_serve(groups[1].ask(Random(1)))
    assert not groups[0].may_serve(Question("2 + 2", "math"))


def test_topics_are_words_of_like_meaning() -> None:
    words = [f"{letter * 3}{number}" for letter in "ab" for number in "xyzuvw"]
    tokenizer = learn_vocabulary([" ".join([""] + words * 9)], (), 360)
    ids = [tokenizer.token_to_id(f"Ġ{word}") for word in words]
    near = {token: [other for other in group if other != token] for group in (ids[:6], ids[6:]) for token in group}
    first, second = Topic(tuple(words[:6])), Topic(tuple(words[6:]))
    drawn = Topics(tokenizer, near).draw(20, Random(1))
    assert {frozenset(topic.words) for topic in drawn} == {frozenset(words[:6]), frozenset(words[6:])}
    question = first.ask(Random(3))
    assert question.family == "general"
    assert first.may_serve(question)
    assert not second.may_serve(question)
    assert not first.may_serve(Question(question.text, "math"))
    assert any(word in first.describe(Random(2)) for word in words[:6])
    assert Topics(tokenizer, {}).draw(3, Random(1)) == []


def test_an_outline_names_what_varies(grammars: Grammar) -> None:
    outlines = [outline(template) for template in grammars.templates("math.prove")]
    assert any("claim" in text for text in outlines)
    assert not any("{" in text for text in outlines)


def run(out: Path, minutes: float | None = None, **options: Any) -> dict[str, torch.Tensor]:
    started = start(Plan(out, replace(TINY, **options)))
    if minutes is None:
        assert started.trainer.train(lambda record: None)
    else:
        assert not started.trainer.train(lambda record: None, minutes)
    return {name: tensor.clone() for name, tensor in started.trainer.model.state_dict().items()}


def test_a_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole")
    stopped = start(Plan(tmp_path / "parts", TINY)).trainer
    step = stopped._one_step

    def two_steps() -> float:
        if stopped.step == 2:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(stopped, "_one_step", two_steps)
    stopped.options = replace(TINY, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(lambda record: None)
    parts = run(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with pytest.raises(CheckpointError, match="batch_size"):
        run(tmp_path / "parts", batch_size=13)


def test_a_run_becomes_a_folder(tmp_path: Path) -> None:
    run(tmp_path / "run")
    finish(Plan(tmp_path / "run", TINY), tmp_path / "model", force=False)
    engine = _engine.Coordinator(str(tmp_path / "model"))
    engine.set_specialists([{"name": s.name, "description": s.description, "examples": s.examples} for s in built_in()])
    assert set(engine.score([("user", "hello")])["logits"]) == set(STARTERS)
    assert engine.info()["source"]["step"] == TINY.steps
    assert "# coordinator" in (tmp_path / "model" / "README.md").read_text()


def test_a_temperature_undoes_what_was_too_sure() -> None:
    random = Random(1)
    truth = torch.tensor([random.randrange(8) for _ in range(4000)])
    logits = torch.zeros(4000, 8)
    # The right one has a probability of e^2 / (e^2 + 7) = 0.51, and is the likeliest in so many cases.
    for row, right in enumerate(truth):
        chosen = right if random.random() < 0.5135 else (right + random.randrange(1, 8)) % 8
        logits[row, chosen] = 2.0
    assert temperature(logits, truth) == pytest.approx(1.0, rel=0.1)
    assert temperature(logits * 3, truth) == pytest.approx(3.0, rel=0.1)


def test_tuning_finds_the_part_that_is_right() -> None:
    truth = torch.arange(800) % 8
    right = torch.nn.functional.one_hot(truth, 8).float()
    noise = torch.rand(800, 8, generator=torch.Generator().manual_seed(1))
    by_topic, by_kin = (tune(Judged(noise, *parts, truth)) for parts in ((right, noise), (noise, right)))
    assert by_topic.about_scale > by_topic.kin_scale
    assert by_kin.kin_scale > by_kin.about_scale
    judged = Judged(noise, right, noise, truth)
    assert judged.accuracy(judged.logits(16.0, 0.0)) == 1.0


def test_a_threshold_refuses_few() -> None:
    truth = torch.arange(700) % 7
    logits = torch.full((700, 8), -9.0)
    logits[torch.arange(700), truth] = torch.linspace(-9, 9, 700)
    best = torch.softmax(logits, -1)[:, :7].amax(-1)
    assert float((best < threshold(logits, truth)).float().mean()) <= 0.051
    assert threshold(logits * 9, truth) <= 0.5


def test_grams_learn_what_follows_what() -> None:
    tokenizer = learn_vocabulary(TEXTS, (), 300)
    grams = Grams(tokenizer)
    texts = {"math": "two plus two", "code": "def two(): pass"}
    readings = {label: read_request(tokenizer, [("user", text)]) for label, text in texts.items()}
    labels = torch.tensor([LABELS.index(label) for label in texts])
    table = grams.learn([(list(readings.values()), labels)] * 20)
    found = grams.sums(table, list(readings.values()))[0]
    assert found.argmax(-1).tolist() == labels.tolist()
    asked = read_request(tokenizer, [("user", "two plus two"), ("assistant", "4"), ("user", "two plus two")])
    alone, rows = grams.rows(readings["math"]), grams.rows(asked)
    assert set(alone) < set(rows)
    assert len(rows) > 2 * len(alone) * 0.9
    # Five letters have 3 + 2 + 1 n-grams of three to five; the marker is a token, too.
    assert len(grams.rows(Reading([0, *tokenizer.encode("abcde").ids], 0))) == 6 + _of_tokens(tokenizer)


def _of_tokens(tokenizer: Tokenizer) -> int:
    count = 1 + len(tokenizer.encode("abcde").ids)
    return 3 * count - 3


def test_neighbours_are_whole_words_of_like_meaning() -> None:
    tokenizer = learn_vocabulary([" cat dog fork" * 9], (), 320)
    table = torch.zeros(tokenizer.get_vocab_size(), 3)
    cat, dog, fork = (tokenizer.token_to_id(f"Ġ{word}") for word in ("cat", "dog", "fork"))
    table[cat], table[dog], table[fork] = torch.eye(3)[0], torch.tensor([0.9, 0.1, 0]), torch.eye(3)[2]
    near = neighbours(tokenizer, table)
    assert set(near) == {cat, dog, fork}
    assert near[cat][0] == dog
    assert first_embedding(table, 2).std() == pytest.approx(0.5)
