"""Puts a run together: grammars, real text, vocabulary and model become a ``Trainer``, fresh or where it was left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from synapse_engine.train.coordinator.calibrate import Judged, judge
from synapse_engine.train.coordinator.grams import Grams
from synapse_engine.train.coordinator.lessons import Lessons, collect, teach
from synapse_engine.train.coordinator.meanings import SentenceModel, first_embedding, meanings, neighbours
from synapse_engine.train.coordinator.model import Coordinator, Kin
from synapse_engine.train.coordinator.pretended import apart, wish_groups, wishes
from synapse_engine.train.coordinator.tasks import Tasks
from synapse_engine.train.coordinator.topics import Topics
from synapse_engine.train.coordinator.trainer import Trainer
from synapse_engine.train.coordinator.vocabulary import learn_vocabulary, read_vocabulary
from synapse_engine.train.routing.generate import Generator, grammar, read_real
from synapse_engine.train.routing.requests import read_requests
from synapse_engine.train.routing.variety import HeldOut
from synapse_engine.train.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.coordinator.reading import Reading
    from synapse_engine.train.routing.grammar import Grammar, Real

# Seed of the requests that training does not see.
VALIDATION = 5


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
    """A sentence model, for what tokens mean before training."""


@dataclass(frozen=True)
class Run:
    """A run and its parts."""

    trainer: Trainer
    tokenizer: Tokenizer
    judged: Callable[[], Judged]
    """Judges the model on ways to ask that training does not see."""
    wishes_apart: int
    """How many these are."""
    kin: Callable[[bool], Kin]
    """Learns the n-grams, without these ways to ask or with them."""


def start(plan: Plan) -> Run:
    """Everything up to the first step. A run that lies in ``plan.out`` goes on if the plan is the same."""
    run, options = RunFolder(plan.out), plan.options
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    given = {"real": plan.real is not None, "meanings": plan.meanings.name if plan.meanings else None}
    run.begin({"options": options.decisive(), "data": given})
    real = read_real(plan.real) if plan.real else {}
    whole = grammar(real)
    grammars, held = apart(whole, wishes(whole), options.ways_apart)
    generator = Generator(options.seed, grammars)
    known = _known(plan, run, generator, grammars, real)
    model = Coordinator(options.config(known.tokenizer.get_vocab_size()))
    if known.table is not None:
        with torch.no_grad():
            model.encoder.tok_emb.weight.copy_(first_embedding(known.table, options.width))
    avoided = HeldOut(request.text for request in read_requests(plan.apart)) if plan.apart else None
    tasks = Tasks(options, generator, grammars, known.tokenizer, known.near, avoided, known.lessons)
    judged = partial(judge, model, known.tokenizer, whole, held, Generator(VALIDATION, grammars))

    def validate() -> float:
        found = judged()
        return found.accuracy(found.logits(model.about_scale, 0.0))

    def kin(apart: bool) -> Kin:
        of = generator if apart else Generator(options.seed, whole)
        return learn_kin(run, "grams-apart.pt" if apart else "grams.pt", tasks.requests(of, options.gram_rows), grams)

    grams = Grams(known.tokenizer)
    return Run(Trainer(model, tasks, options, run, validate), known.tokenizer, judged, len(held), kin)


@dataclass(frozen=True)
class _Known:
    """What is known before training. Without a sentence model, only the vocabulary."""

    tokenizer: Tokenizer
    table: Tensor | None = None
    """What tokens mean."""
    lessons: Lessons | None = None

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
    plan: Plan, run: RunFolder, generator: Generator, grammars: Grammar, real: Mapping[str, Sequence[Real]]
) -> _Known:
    """Made once and kept in the run."""
    kept = run.folder / "known.pt"
    if kept.exists():
        state = run.load(kept)
        lessons = Lessons(state["texts"], state["vectors"]) if state["texts"] else None
        return _Known(read_vocabulary(run.tokenizer.read_text("utf-8")), state["table"], lessons)
    model = SentenceModel(plan.meanings) if plan.meanings else None
    texts = (turn for row in range(plan.options.vocabulary_rows) for turn in generator.row(row).turns)
    known = _Known(learn_vocabulary(texts, model.words() if model else [], plan.options.vocab_size))
    if model:
        known = _Known(known.tokenizer, meanings(known.tokenizer, model))
        topics = Topics(known.tokenizer, known.near)
        chosen = collect(generator, wish_groups(grammars), topics, real, plan.options.lessons)
        known = replace(known, lessons=teach(model, chosen))
    run.write(run.tokenizer, lambda file: file.write_text(known.tokenizer.to_str(), "utf-8"))
    lessons = known.lessons or Lessons([], torch.empty(0))
    run.save(kept, {"table": known.table, "texts": lessons.texts, "vectors": lessons.vectors})
    return known
