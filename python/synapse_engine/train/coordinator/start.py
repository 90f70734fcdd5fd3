"""Puts a run together: grammars, real text, vocabulary and model become a ``Trainer``, fresh or where it was left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from synapse_engine.train.coordinator.calibrate import Judged, judge
from synapse_engine.train.coordinator.meanings import SentenceModel, first_embedding, meanings, neighbours
from synapse_engine.train.coordinator.model import Coordinator
from synapse_engine.train.coordinator.pretended import apart, wishes
from synapse_engine.train.coordinator.tasks import Tasks
from synapse_engine.train.coordinator.trainer import Trainer
from synapse_engine.train.coordinator.vocabulary import learn_vocabulary, read_vocabulary
from synapse_engine.train.routing.generate import Generator, grammar, read_real
from synapse_engine.train.routing.requests import read_requests
from synapse_engine.train.routing.variety import HeldOut
from synapse_engine.train.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tokenizers import Tokenizer

    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.routing.grammar import Grammar

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


def start(plan: Plan) -> Run:
    """Everything up to the first step. A run that lies in ``plan.out`` goes on if the plan is the same."""
    run, options = RunFolder(plan.out), plan.options
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    given = {"real": plan.real is not None, "meanings": plan.meanings.name if plan.meanings else None}
    run.begin({"options": options.decisive(), "data": given})
    whole = grammar(read_real(plan.real) if plan.real else None)
    grammars, held = apart(whole, wishes(whole))
    generator = Generator(options.seed, grammars)
    tokenizer, near, embedding = _tokens(plan, run, generator)
    model = Coordinator(options.config(tokenizer.get_vocab_size()))
    with torch.no_grad():
        if embedding is not None:
            model.encoder.tok_emb.weight.copy_(embedding)
    tasks = _tasks(plan, generator, grammars, tokenizer, near)
    judged = partial(judge, model, tokenizer, whole, held, VALIDATION)
    return Run(Trainer(model, tasks, options, run, lambda: judged().accuracy), tokenizer, judged, len(held))


def _tasks(
    plan: Plan, generator: Generator, grammars: Grammar, tokenizer: Tokenizer, near: dict[int, list[int]]
) -> Tasks:
    apart = HeldOut(request.text for request in read_requests(plan.apart)) if plan.apart else None
    return Tasks(plan.options, generator, grammars, tokenizer, near, apart)


def _tokens(
    plan: Plan, run: RunFolder, generator: Generator
) -> tuple[Tokenizer, dict[int, list[int]], torch.Tensor | None]:
    """The vocabulary, for each word those that mean about the same, and the first embedding; kept in the run."""
    options = plan.options
    kept = run.folder / "meanings.pt"
    if run.tokenizer.exists() and kept.exists():
        tokenizer = read_vocabulary(run.tokenizer.read_text("utf-8"))
        table = run.load(kept)["table"]
    else:
        model = SentenceModel(plan.meanings) if plan.meanings else None
        texts = (turn for row in range(options.vocabulary_rows) for turn in generator.row(row).turns)
        tokenizer = learn_vocabulary(texts, model.words() if model else [], options.vocab_size)
        table = meanings(tokenizer, model) if model else None
        run.write(run.tokenizer, lambda file: file.write_text(tokenizer.to_str(), "utf-8"))
        run.save(kept, {"table": table})
    if table is None:
        return tokenizer, {}, None
    return tokenizer, neighbours(tokenizer, table), first_embedding(table, options.width)
