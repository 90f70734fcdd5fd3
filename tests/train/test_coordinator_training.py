"""Training a coordinator: what a batch asks for, that a run goes on as if undisturbed, and what calibration finds."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.coordinator_fixture import TEXTS

from synapse_engine import _engine
from synapse_engine.specialists import built_in
from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.coordinator.asking import Asking
from synapse_engine.train.coordinator.calibrate import Judged, Table, threshold, tune
from synapse_engine.train.coordinator.finish import finish
from synapse_engine.train.coordinator.glosses import Gloss
from synapse_engine.train.coordinator.grams import Grams
from synapse_engine.train.coordinator.lessons import Lessons, guests
from synapse_engine.train.coordinator.meanings import neighbours
from synapse_engine.train.coordinator.model import Comparison, Embedded, Shown
from synapse_engine.train.coordinator.options import Options
from synapse_engine.train.coordinator.reading import Reading, read_request
from synapse_engine.train.coordinator.start import Plan, start
from synapse_engine.train.coordinator.tasks import Tasks
from synapse_engine.train.coordinator.topic import topics
from synapse_engine.train.coordinator.topic_training import Learner
from synapse_engine.train.coordinator.vocabulary import learn_vocabulary
from synapse_engine.train.coordinator.wishes import apart, wishes
from synapse_engine.train.errors import CheckpointError
from synapse_engine.train.routing.generate import Generator, grammar
from synapse_engine.train.routing.requests import LABELS, NONE
from synapse_engine.train.routing.written import WrittenSpecialist, fields, written_requests, written_specialists

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from synapse_engine.train.coordinator.tasks import Batch
    from synapse_engine.train.routing.grammar import Grammar

TINY = Options(
    steps=4,
    batch_size=12,
    width=16,
    layers=1,
    ffn=16,
    vocab_size=600,
    pieces=400,
    vocabulary_rows=60,
    gram_rows=64,
    asked=100,
    topic_steps=3,
    guests=6,
)


@pytest.fixture(scope="module")
def grammars() -> Grammar:
    return grammar()


@pytest.fixture(scope="module")
def batch(grammars: Grammar) -> Batch:
    tokenizer = learn_vocabulary(TEXTS, (), 300, 300)
    options = replace(TINY, batch_size=400)
    return Tasks(options, tokenizer, Generator(1, grammars), written_requests(), written_specialists(), {}).batch(0)


def test_a_batch_has_requests_of_all_labels(batch: Batch) -> None:
    assert len(batch.requests) == len(batch.labels)
    assert set(batch.labels.tolist()) == set(range(len(LABELS)))


def test_every_guest_shows_itself_and_is_asked() -> None:
    found = list(guests(written_specialists(), fields(), 12, 2, Random(1)))
    assert len({guest.description for guest in found}) == 12
    for guest in found:
        assert len(guest.asked) == 2
        assert len(guest.examples) >= 2
        assert not set(guest.asked) & set(guest.examples)
    assert {field.name for field in fields()} & {guest.description for guest in found}


def test_requests_about_everything() -> None:
    senses = [Gloss("", "noun", (name,)) for name in ("Loaf", "Bun", "Oven")]
    asking = Asking([*senses, Gloss("", "verb", ("bake",)), Gloss("", "adj", ("stale",))], {"bun"})
    found = [asking.english(Random(seed)) for seed in range(300)]
    assert not [text for text in found if re.search(r"[{}]", text)]
    named = Counter(word for text in found for word in ("loaf", "bun", "oven", "bake") if word in text)
    assert min(named.values()) > 5
    assert sum(any(word in text for field in fields() for word in field.words[:9]) for text in found) > 50
    pairs = [asking.abroad(Random(seed)) for seed in range(300)]
    assert len({other for other, _ in pairs}) > 250
    assert sum(other == english for other, english in pairs) < 5
    # Without WordNet, fields have nouns enough.
    assert not re.search(r"[{}]", Asking([], ()).english(Random(1)))


def test_wishes_are_leaves_of_every_label_and_language(grammars: Grammar) -> None:
    found = wishes(grammars)
    assert {wish.family for wish in found} == {*STARTERS, NONE}
    assert {"general.advice", "de.math", "it.grammar", "sql.mislead", "code.paste"} <= {wish.section for wish in found}
    assert [wish.number for wish in found] == list(range(len(found)))


def test_what_is_apart_is_never_generated(grammars: Grammar) -> None:
    found = wishes(grammars)
    kept, held = apart(grammars, found, 10)
    assert len(found) / 15 < len(held) <= len(found) / 9
    left = {(wish.section, wish.template) for wish in wishes(kept)}
    assert not left & {(wish.section, wish.template) for wish in held}


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


def judged(*, opinion: torch.Tensor, kin: torch.Tensor, labels: torch.Tensor) -> Judged:
    """Requests that only their families tell apart, and one example for each starter."""
    families, alike = len(LABELS), torch.ones(len(labels), 1)
    requests = Embedded(alike, alike, opinion, kin)
    ones = torch.ones(len(STARTERS), 1)
    own = 20 * torch.eye(families)[: len(STARTERS)]
    by = Shown(torch.arange(len(STARTERS)), torch.zeros(len(STARTERS), dtype=torch.bool), len(STARTERS))
    return Judged(Table(Embedded(ones, ones, own, own), by, requests, labels), [], [])


def test_tuning_finds_who_is_right_and_how_often() -> None:
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(len(LABELS), (3000,), generator=random)
    # Right in 60 of 100 cases, and always sure.
    said = torch.where(torch.rand(3000, generator=random) < 0.6, labels, torch.randint(8, (3000,), generator=random))
    right = 9 * torch.nn.functional.one_hot(said, len(LABELS)).float()
    noise = torch.randn(3000, len(LABELS), generator=random)
    by_opinion, by_kin = Comparison(), Comparison()
    tune(by_opinion, judged(opinion=right, kin=noise, labels=labels))
    table = judged(opinion=noise, kin=right, labels=labels)
    warmth = tune(by_kin, table)
    assert by_opinion.want_scale > 0.1 > abs(by_opinion.kin_scale)
    assert by_kin.kin_scale > 0.1 > abs(by_kin.want_scale)
    probabilities = torch.softmax(table.starters.logits(by_kin) / warmth, -1)
    known = labels < len(STARTERS)
    assert table.accuracy(by_kin) == pytest.approx(0.65, abs=0.03)
    assert float(probabilities.detach().amax(-1)[known].mean()) == pytest.approx(0.65, abs=0.04)


def test_a_specialist_is_found_by_its_topic_and_only_in_its_families() -> None:
    comparison = Comparison()
    sure = 20 * torch.eye(len(LABELS))
    # Two specialists of the first family, for one direction each, and one of the second family.
    about = torch.eye(3)[[0, 0, 1, 1, 0, 0]]
    family = sure[[0, 0, 0, 0, 1, 1]]
    by = Shown(torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([True, False] * 3), 3)
    shown = Embedded(about, about, family, family)
    asked = torch.eye(3)[[0, 1, 0, 2]]
    of = sure[[0, 0, 1, 5]]
    logits = comparison.logits(Embedded(asked, asked, of, of), shown, by)
    assert logits.argmax(-1).tolist() == [0, 1, 2, 3]


def test_a_specialist_for_much_need_not_be_as_near_as_one_for_little() -> None:
    comparison = Comparison()
    family = 20 * torch.eye(len(LABELS))[[0] * 8]
    x, y, z = torch.eye(3)
    wide, narrow = [(x + y + z) / 3**0.5, x, y, z], [x, x, x, x]
    by = Shown(torch.tensor([0] * 4 + [1] * 4), torch.tensor(([True] + [False] * 3) * 2), 2)
    about = torch.stack(wide + narrow)
    shown = Embedded(about, about, family, family)
    wide_fits, narrow_fits = comparison.cohesion(about, by).tolist()
    assert narrow_fits == pytest.approx(1.6)
    # Of right angles, a weight of 0.6 on the description at the angle of a cube's diagonal.
    assert wide_fits == pytest.approx(0.6 / 3**0.5, abs=1e-5)
    between = torch.nn.functional.normalize(x + y, dim=0)[None]
    nearest = comparison.topic(between, about, by)[0]
    assert nearest[1] > nearest[0]
    with torch.no_grad():
        comparison.cohesion_weight.fill_(0.5)
    assert comparison.logits(Embedded(between, between, family[:1], family[:1]), shown, by)[0].argmax() == 0


def test_a_table_learns_where_texts_point_and_who_is_asked() -> None:
    tokenizer = learn_vocabulary([" cat dog fork the spoon" * 9], (), 320, 320)
    lessons = Lessons(["the cat", "the dog", "the fork"], torch.eye(3)[[0, 0, 1]])
    random = torch.Generator().manual_seed(1)
    first = torch.nn.functional.normalize(torch.randn(tokenizer.get_vocab_size(), 3, generator=random), dim=-1)
    kitchen = WrittenSpecialist("kitchen", None, "the", ("the fork",) * 11 + ("the spoon",))
    pets = WrittenSpecialist("pets", None, "the", ("the cat", "the dog") * 6)
    options = replace(TINY, topic_steps=400, lessons_per_step=16, guests=2, guest_weight=0.3)
    table = Learner(tokenizer, options).learn(first, lessons, [kitchen, pets], [])
    asked = ("the cat", "the fork", "the spoon")
    cat, fork, spoon = topics(table, [Reading(tokenizer.encode(text).ids, 0) for text in asked])
    assert float(cat[0]) > 0.9 < float(fork[1])
    # Nothing but the specialist says where spoons belong.
    assert float(spoon @ fork) > float(spoon @ cat) + 0.3


def test_what_stands_before_decides_only_if_the_request_tells_nothing() -> None:
    tokenizer = learn_vocabulary([" cat fork the" * 9], (), 320, 320)
    cat, fork, the = (tokenizer.encode(text).ids for text in (" cat", " fork", " the"))
    one = 5 * torch.nn.functional.normalize(torch.randn(tokenizer.get_vocab_size(), 3), dim=-1)
    one[the] = 0
    told = topics(one, [Reading([*cat, *fork], len(cat)), Reading([*cat, *the], len(cat))])
    assert float(told[0] @ one[fork[0]]) > 4.5
    assert float(told[1] @ one[cat[0]]) == pytest.approx(5)


def test_words_are_tokens_wherever_they_stand() -> None:
    tokenizer = learn_vocabulary(["a b c d e"], ["the Käse", "the (käse)", "the oven"], 300, 262)
    vocabulary = tokenizer.get_vocab()
    assert {"Ġthe", "Ġkase", "Ġoven"} <= set(vocabulary)
    assert tokenizer.id_to_token(max(vocabulary.values())) == "Ġoven"
    for text in ("the käse", "(Käse)", "\nKÄSE"):
        assert vocabulary["Ġkase"] in tokenizer.encode(text).ids


def test_a_threshold_refuses_few() -> None:
    truth = torch.arange(700) % 7
    logits = torch.full((700, 8), -9.0)
    logits[torch.arange(700), truth] = torch.linspace(-9, 9, 700)
    best = torch.softmax(logits, -1)[:, :7].amax(-1)
    assert float((best < threshold(logits, truth)).float().mean()) <= 0.051
    assert threshold(logits * 9, truth) <= 0.5


def test_grams_learn_what_follows_what() -> None:
    tokenizer = learn_vocabulary(TEXTS, (), 300, 300)
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
    # Five letters and the space before them have 4 + 3 + 2 n-grams of three to five; the marker is a token, too.
    assert len(grams.rows(Reading([0, *tokenizer.encode("abcde").ids], 0))) == 9 + _of_tokens(tokenizer)


def _of_tokens(tokenizer: Tokenizer) -> int:
    count = 1 + len(tokenizer.encode("abcde").ids)
    return 3 * count - 3


def test_neighbours_are_whole_words_of_like_meaning() -> None:
    tokenizer = learn_vocabulary([" cat dog fork" * 9], (), 320, 320)
    table = torch.zeros(tokenizer.get_vocab_size(), 3)
    cat, dog, fork = (tokenizer.token_to_id(f"Ġ{word}") for word in ("cat", "dog", "fork"))
    table[cat], table[dog], table[fork] = torch.eye(3)[0], torch.tensor([0.9, 0.1, 0]), torch.eye(3)[2]
    near = neighbours(tokenizer, table)
    assert set(near) == {cat, dog, fork}
    assert near[cat][0] == dog
