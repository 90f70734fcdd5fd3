"""Puts a run together: grammars, real text, vocabulary and model become a ``Trainer``, fresh or where it was left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

import torch

from synapse_engine.train.coordinator.asking import Asking
from synapse_engine.train.coordinator.calibrate import Judged, judge
from synapse_engine.train.coordinator.glosses import read_glosses
from synapse_engine.train.coordinator.grams import Grams
from synapse_engine.train.coordinator.lessons import Lessons, collect, teach
from synapse_engine.train.coordinator.meanings import SentenceModel, meanings, neighbours
from synapse_engine.train.coordinator.model import Coordinator, Kin
from synapse_engine.train.coordinator.reading import MARKERS
from synapse_engine.train.coordinator.tasks import Tasks
from synapse_engine.train.coordinator.topic_training import Learner
from synapse_engine.train.coordinator.trainer import Trainer
from synapse_engine.train.coordinator.vocabulary import learn_vocabulary, read_vocabulary
from synapse_engine.train.coordinator.wishes import apart, wishes
from synapse_engine.train.routing.generate import Generator, grammar, read_real
from synapse_engine.train.routing.requests import read_requests
from synapse_engine.train.routing.variety import HeldOut
from synapse_engine.train.routing.written import fields, written_requests, written_specialists
from synapse_engine.train.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.coordinator.reading import Reading
    from synapse_engine.train.routing.grammar import Real
    from synapse_engine.train.routing.requests import Request
    from synapse_engine.train.routing.written import WrittenSpecialist

_Kind = TypeVar("_Kind")
# What people wrote, and each common word, counts so often when the vocabulary is learnt.
_REPEATED = 10


@dataclass(frozen=True)
class Plan:
    """What a user asked for."""

    out: Path
    options: Options
    real: Path | None = None
    """Pieces of real text, as ``routing.harvest`` writes them."""
    apart: Path | None = None
    """Requests that judge; generated ones that are near to them are left out."""
    meanings: Path | None = None
    """A sentence model, for what tokens mean before training and what texts are about."""
    glosses: Path | None = None
    """Further texts for what texts are about, as ``glosses`` writes them."""


@dataclass(frozen=True)
class Run:
    """A run and its parts."""

    trainer: Trainer
    tokenizer: Tokenizer
    judged: Callable[[], Judged]
    """What training does not see, through the model's eyes."""
    apart: dict[str, int]
    """How many ways to ask, written requests and specialists these are."""
    kin: Callable[[bool], Kin]
    """Learns the n-grams, without these or with them."""


def start(plan: Plan) -> Run:
    """Everything up to the first step. A run that lies in ``plan.out`` goes on if the plan is the same."""
    run, options = RunFolder(plan.out), plan.options
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    given = {
        "real": plan.real is not None,
        "meanings": plan.meanings.name if plan.meanings else None,
        "glosses": plan.glosses is not None,
    }
    run.begin({"options": options.decisive(), "data": given})
    real = read_real(plan.real) if plan.real else {}
    whole = grammar(real)
    grammars, held = apart(whole, wishes(whole), options.apart)
    generator = Generator(options.seed, grammars)
    everything = written_requests()
    written, written_apart = _split(everything, options.apart)
    specialists, specialists_apart = _split(written_specialists(), options.apart)
    known = _known(plan, run, generator, real, specialists)
    model = Coordinator(options.config(known.tokenizer.get_vocab_size()))
    model.begin(known.topics)
    avoided = HeldOut(request.text for request in read_requests(plan.apart)) if plan.apart else None

    def tasks(requests: Sequence[Request]) -> Tasks:
        return Tasks(options, known.tokenizer, generator, requests, specialists, known.near, avoided)

    judged = partial(judge, model, known.tokenizer, whole, held, written_apart, specialists_apart)

    def kin(apart: bool) -> Kin:
        of, name = (tasks(written), "grams-apart.pt") if apart else (tasks(everything), "grams.pt")
        batches = of.requests(generator if apart else Generator(options.seed, whole), options.gram_rows)
        return learn_kin(run, name, batches, Grams(known.tokenizer))

    trainer = Trainer(model, tasks(written), options, run, lambda: _validated(model, judged()))
    counts = {"ways": len(held), "requests": len(written_apart), "specialists": len(specialists_apart)}
    return Run(trainer, known.tokenizer, judged, counts, kin)


def _split(items: Sequence[_Kind], every: int) -> tuple[list[_Kind], list[_Kind]]:
    """Those to learn from, and one of so many to judge by."""
    return [item for at, item in enumerate(items) if at % every], list(items[::every])


def _validated(model: Coordinator, judged: Judged) -> dict[str, float]:
    return {"accuracy": judged.accuracy(model.comparison), "found": judged.found(model.comparison)}


@dataclass(frozen=True)
class _Known:
    """What is known before the encoder learns."""

    tokenizer: Tokenizer
    topics: Tensor
    """What each token adds to the topic of a text, (tokens, width)."""
    table: Tensor | None
    """What tokens mean by themselves; without a sentence model nobody knows."""

    @property
    def near(self) -> dict[int, list[int]]:
        """For each word those that mean about the same."""
        return {} if self.table is None else neighbours(self.tokenizer, self.table)


def learn_kin(run: RunFolder, name: str, batches: Iterable[tuple[list[Reading], Tensor]], grams: Grams) -> Kin:
    """N-grams, kept in the run."""
    kept = run.folder / name
    if not kept.exists():
        run.save(kept, {"table": grams.learn(batches)})
    return Kin(grams, run.load(kept)["table"])


def _known(
    plan: Plan,
    run: RunFolder,
    generator: Generator,
    real: Mapping[str, Sequence[Real]],
    specialists: Sequence[WrittenSpecialist],
) -> _Known:
    """Made once and kept in the run."""
    kept, options = run.folder / "known.pt", plan.options
    if kept.exists():
        state = run.load(kept)
        return _Known(read_vocabulary(run.tokenizer.read_text("utf-8")), state["topics"], state["table"])
    model = SentenceModel(plan.meanings) if plan.meanings else None
    common = model.words() if model else []
    glosses = read_glosses(plan.glosses) if plan.glosses else []
    chosen = collect(generator, real, specialists, glosses, Asking(glosses, frozenset(common)), options.asked)
    texts = _vocabulary_texts(generator, options.vocabulary_rows, specialists)
    counted = chain((lesson.text for lesson in chosen), *repeat(common, _REPEATED))
    tokenizer = learn_vocabulary(texts, counted, options.vocab_size, options.pieces)
    first = torch.randn(tokenizer.get_vocab_size(), options.width)
    lessons, table = Lessons([], torch.empty(0)), None
    if model:
        table = meanings(tokenizer, model)
        lessons, axes = teach(model, chosen, options.width)
        first[len(MARKERS) :] = (table @ axes)[len(MARKERS) :]
    first = torch.nn.functional.normalize(first, dim=-1)
    topics = Learner(tokenizer, options).learn(first, lessons, specialists, fields())
    run.write(run.tokenizer, lambda file: file.write_text(tokenizer.to_str(), "utf-8"))
    run.save(kept, {"topics": topics, "table": table})
    return _Known(tokenizer, topics, table)


def _vocabulary_texts(generator: Generator, rows: int, specialists: Sequence[WrittenSpecialist]) -> Iterator[str]:
    yield from (turn for row in range(rows) for turn in generator.row(row).turns)
    for _ in range(_REPEATED):
        yield from (turn for request in written_requests() for turn in request.turns)
        yield from (text for one in specialists for text in (one.description, *one.texts))
