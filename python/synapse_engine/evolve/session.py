"""One run of evolution: a model folder and prose go in, an adapter and an honest report come out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from synapse_engine.evolve.adapter import compress, save_peft, target_pool
from synapse_engine.evolve.judge import Counted, Expert, Judge, Schooling, above, best_threshold, fitness, majority
from synapse_engine.evolve.population import Breeding, Generation, Unit, UnitLog, evolve
from synapse_engine.evolve.sentences import Example, examples, sentences
from synapse_engine.export.folder import read_model
from synapse_engine.train.dataset import read_splits
from synapse_engine.train.errors import ConfigError, DataError
from synapse_engine.train.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from synapse_engine.evolve.genome import Genome

FEWEST = 200


@dataclass(frozen=True)
class Plan:
    """What a user asked for."""

    model: Path
    data: Path
    out: Path
    schooling: Schooling
    population: int = 8
    generations: int = 24
    children: int = 2
    mode: str = "hybrid"
    targets: tuple[str, ...] = ()  # empty: all linear layers of a block
    held_out: float = 0.02  # share of each file, at its end, that nothing learns from; as `synapse train` has it
    most_sentences: int = 20_000  # to learn from
    compression: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Lessons:
    """The held-out sentences are for choosing and for reporting, half each."""

    learning: list[Example]
    choosing: list[Example]
    reporting: list[Example]


@dataclass(frozen=True)
class Finding:
    """How one way of judging does on the reported sentences."""

    name: str
    counted: Counted
    parameters: int


@dataclass(frozen=True)
class Report:
    """The outcome. The first finding is the majority baseline."""

    findings: list[Finding]
    best: Unit
    population: list[Unit]
    changes: dict[str, Counted]  # what the best adapter gets right, by what was done to the sentence


def run(plan: Plan, tell: Callable[[Generation], None], tell_unit: Callable[[Unit], None]) -> Report:
    """Evolves, retrains the fittest shape from its seed, saves it in PEFT's format and reports on unseen sentences."""
    model, tokenizer = read_model(plan.model)
    pool = target_pool(model)
    unknown = set(plan.targets) - set(pool)
    if unknown:
        raise ConfigError(f"targets: the model has {', '.join(pool)}, not {', '.join(sorted(unknown))}")
    lessons = prepare_lessons(plan)
    plan.out.mkdir(parents=True, exist_ok=True)
    RunFolder(plan.out).begin({"plan": _decisive(plan)})
    judge = Judge(model, tokenizer, plan.schooling)

    def train(number: int, genome: Genome) -> Unit:
        expert = judge.learn(genome, lessons.learning, plan.seed * 100_003 + number)
        accuracy = judge.examine(expert, lessons.choosing).accuracy
        unit = Unit(number, genome, accuracy, expert.parameters, fitness(accuracy, expert.parameters))
        tell_unit(unit)
        return unit

    breeding = Breeding(
        plan.targets or tuple(pool), plan.population, plan.generations, plan.children, plan.mode, plan.seed
    )
    population = evolve(breeding, train, UnitLog(plan.out / "units.jsonl"), tell)
    best = population[0]
    expert = judge.learn(best.genome, lessons.learning, plan.seed * 100_003 + best.number)
    report = _report(plan, judge, lessons, population, expert)
    _save(plan, report, expert)
    return report


def prepare_lessons(plan: Plan) -> Lessons:
    """Three parts that share no sentence, each half spoiled."""
    splits = read_splits(plan.data, plan.held_out)
    held_out = sentences("\n".join(split.validation for split in splits))
    known = set(held_out)
    learning = [s for s in sentences("\n".join(split.training for split in splits)) if s not in known]
    if min(len(held_out), len(learning)) < FEWEST:
        found = f"{len(learning)} sentences to learn from and {len(held_out)} held out"
        raise DataError(
            f"{plan.data}: {found}, {FEWEST} are needed of each", "give it more prose, or more with --held-out"
        )
    random = Random(plan.seed)  # noqa: S311 (no secret depends on it)
    random.shuffle(learning)
    random.shuffle(held_out)
    half = len(held_out) // 2
    parts = (learning[: plan.most_sentences], held_out[:half], held_out[half:])
    return Lessons(*(examples(part, random) for part in parts))


def _report(plan: Plan, judge: Judge, lessons: Lessons, population: list[Unit], expert: Expert) -> Report:
    asked = lessons.reporting
    threshold = best_threshold(judge.likelihood(lessons.learning), lessons.learning)
    findings = [
        Finding("majority", majority(lessons.learning, asked), 0),
        Finding("likelihood of the unchanged model", above(judge.likelihood(asked), threshold, asked), 1),
        Finding("evolved adapter", judge.examine(expert, asked), expert.parameters),
    ]
    if plan.compression is not None:
        small = Expert(compress(expert.factors, plan.compression), expert.head)
        findings.append(Finding("the same, compressed", judge.examine(small, asked), small.parameters))
    return Report(findings, population[0], population, _by_change(judge, expert, asked))


def _by_change(judge: Judge, expert: Expert, asked: Sequence[Example]) -> dict[str, Counted]:
    names = sorted({example.change for example in asked})
    return {name: judge.examine(expert, [e for e in asked if e.change == name]) for name in names}


def _save(plan: Plan, report: Report, expert: Expert) -> None:
    settings = {
        "base_model_name_or_path": plan.model.name,
        "task_type": "SEQ_CLS",
        "lora_dropout": report.best.genome.dropout,
        "modules_to_save": ["classifier"],
    }
    head = {f"classifier.{name}": tensor for name, tensor in expert.head.items()}
    save_peft(plan.out / "adapter", expert.factors, settings, head)
    if plan.compression is not None:
        save_peft(plan.out / "adapter-compressed", compress(expert.factors, plan.compression), settings, head)
    text = json.dumps(_record(report), indent=2) + "\n"
    RunFolder.write(plan.out / "report.json", lambda file: file.write_text(text))


def _record(report: Report) -> dict[str, Any]:
    def counted(value: Counted) -> dict[str, Any]:
        return {"accuracy": value.accuracy, "interval": value.interval(), "right": value.hits, "of": value.count}

    return {
        "findings": [{"name": f.name, "parameters": f.parameters, **counted(f.counted)} for f in report.findings],
        "by_change": {name: counted(value) for name, value in report.changes.items()},
        "best": asdict(report.best),
        "population": [asdict(unit) for unit in report.population],
    }


def _decisive(plan: Plan) -> dict[str, Any]:
    record = asdict(plan)
    for name in ("out", "compression", "generations"):
        del record[name]
    return record | {"model": str(plan.model), "data": str(plan.data), "targets": list(plan.targets)}
