"""One measurement in order: who answers which tasks, and which rows come of it. Prints nothing."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.perplexity import TEXT
from bench.random_adapter import write_random_adapter
from bench.swarm import choosing, figures, wall
from bench.swarm.asking import ask, prompt_tokens, text_losses, turns_of
from bench.tasks import general, held_out, training
from bench.tasks.task import KINDS
from synapse_engine import Engine
from synapse_engine.merge import MergeRequest, merge
from synapse_engine.routing import Router
from synapse_engine.routing.opening import FOLDER, open_coordinator
from synapse_engine.specialists import built_in
from synapse_engine.specialists.applying import prompted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bench.tasks import Task
    from synapse_engine.engine import Quant
    from synapse_engine.results import Generation
    from synapse_engine.routing import Bias, Decision
    from synapse_engine.specialists import Specialist
    from synapse_engine.specialists.applying import Turn

GENERAL = "general"
SEED, SHOWN = 1, 4
REPLACED = ("math", "sql")


@dataclass(frozen=True)
class Settings:
    """What to measure, and how."""

    base: Path
    quant: Quant = "q8"
    threads: int = 1
    count: int = 200
    """Held-out tasks of each kind."""
    text_tokens: int = 6000
    trims: tuple[float, ...] = (0.8,)
    """Of the TIES merges, a row for each."""
    coordinator: Path = FOLDER
    rounds: int = 9
    wall_model: Path | None = None

    def open(self, path: Path) -> Engine:
        """The base, or a merge of it."""
        return Engine(path, quant=self.quant, threads=self.threads, max_sequences=16, max_queue=4096, packed_file=False)


@dataclass
class Run:
    """The tasks, and what has been found."""

    settings: Settings
    specialists: Mapping[str, Specialist]
    tasks: dict[str, list[Task]]
    """By kind."""
    rows: list[figures.Row] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, specialists: Mapping[str, Specialist]) -> Run:
        """With held-out tasks of both kinds, and general questions."""
        tasks = {kind: held_out(kind, settings.count, SEED) for kind in KINDS}
        return cls(settings, specialists, {**tasks, GENERAL: list(general.questions())})

    @property
    def requests(self) -> list[list[Turn]]:
        """A conversation for each of ``everything``."""
        return [turns_of(task) for task in self.everything]

    @property
    def everything(self) -> list[Task]:
        """The tasks of all kinds, one kind after the other."""
        return [task for tasks in self.tasks.values() for task in tasks]

    def by_kind(self, values: Iterable[Any]) -> dict[str, list[Any]]:
        """One value for each of ``everything``, apart."""
        left = iter(values)
        return {kind: [next(left) for _ in tasks] for kind, tasks in self.tasks.items()}

    def add(self, name: str, answers: Iterable[Generation], text: figures.Figure | None = None) -> None:
        """A row of these answers to everything."""
        self._row(name, self.by_kind(answers), text)

    def add_shown(self, engine: Engine) -> None:
        """What the plain model makes of a few right answers in its context: no adapter, only a longer prompt."""
        answers = {}
        for kind in KINDS:
            shown = training(kind, SHOWN, SEED)
            answers[kind] = ask(engine, [turns_of(task, shown) for task in self.tasks[kind]], {})
        self._row(f"base, shown {SHOWN} answers", answers, None)

    def _row(self, name: str, answers: Mapping[str, list[Generation]], text: figures.Figure | None) -> None:
        right = {
            kind: figures.share([task.right(one.text) for task, one in zip(self.tasks[kind], each, strict=True)])
            for kind, each in answers.items()
        }
        self.rows.append(figures.Row(name, right, text))


def measure(run: Run) -> None:
    """All rows. Everything but merges runs on one engine, with adapters beside the base."""
    settings = run.settings
    answers: dict[str | None, list[Generation]] = {}
    everyone: list[str | None] = [None, *run.specialists]
    with settings.open(settings.base) as engine:
        for name, specialist in run.specialists.items():
            engine.load_adapter(name, specialist.adapter or "")
        text = engine.tokenize(TEXT.read_text(encoding="utf-8"), add_special=False)[: settings.text_tokens]
        for who in everyone:
            blend = {} if who is None else {who: 1.0}
            answers[who] = ask(engine, run.requests, blend)
            run.add(who or "base", answers[who], figures.perplexity(text_losses(engine, text, blend)))
            if who is None:
                run.add_shown(engine)
        _choices(run, answers)
        _among_starters(run, engine, answers)
        both = dict.fromkeys(run.specialists, 1.0)
        costs = figures.perplexity(text_losses(engine, text, both))
        run.add("both adapters added", ask(engine, run.requests, both), costs)
        run.found["wall"] = {"two specialists": _wall(run, engine).record()}
    _merges(run, text)
    if settings.wall_model:
        run.found["wall"]["four random adapters"] = _four_at_a_time(settings, settings.wall_model).record()


def decide(run: Run, specialists: Iterable[Specialist]) -> list[Decision]:
    """The coordinator on every request, between these and the plain model, without feedback."""
    router = Router(open_coordinator(run.settings.coordinator), list(specialists), cast("Bias", _Untaught()))
    return [router.route(task.request) for task in run.everything]


class _Untaught:
    """In the place of what users' feedback taught."""

    def bias(self, *_: object) -> dict[str, float]:
        """None for anyone."""
        return {}


def _choices(run: Run, answers: Mapping[str | None, Sequence[Generation]]) -> None:
    decisions = decide(run, run.specialists.values())
    ways = {
        "routed": choosing.routed(decisions),
        "parallel, the two likeliest": choosing.parallel(answers, decisions, 2),
        "parallel, both and the base": choosing.parallel(answers, decisions, len(answers)),
        "parallel, by likelihood alone": choosing.likeliest_answer(answers),
    }
    run.found["routing"] = {"two specialists": _routing(run, ways["routed"], {None})}
    for name, chosen in ways.items():
        run.add(name, [answers[who][at] for at, who in enumerate(chosen)])
    run.found["chosen"] = {name: _tally(run, chosen) for name, chosen in ways.items()}


def _among_starters(run: Run, engine: Engine, answers: Mapping[str | None, Sequence[Generation]]) -> None:
    """The two in the places of `math` and `sql`, beside the other starters, which add a prompt and no adapter."""
    starters = {one.name: one for one in built_in() if one.name not in REPLACED}
    chosen = choosing.routed(decide(run, [*starters.values(), *run.specialists.values()]))
    found: list[Generation] = []
    for at, who in enumerate(chosen):
        if who in starters:
            found += ask(engine, [prompted(starters[who], run.requests[at])], {})
        else:
            found.append(answers[who][at])
    run.add("routed, beside the starters", found)
    run.found["routing"]["beside the starters"] = _routing(run, chosen, {None, *starters})
    run.found["chosen"]["routed, beside the starters"] = _tally(run, chosen)


def _routing(run: Run, chosen: Sequence[str | None], plain: Collection[str | None]) -> dict[str, Any]:
    """How often the right one was chosen; for general questions that is any without an adapter."""
    kinds = run.by_kind(chosen)
    hits = {kind: [who in plain if kind == GENERAL else who == kind for who in each] for kind, each in kinds.items()}
    return {kind: vars(figures.share(each)) for kind, each in hits.items()}


def _tally(run: Run, chosen: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """Whose answers counted, by kind of task."""
    kinds = run.by_kind(who or "base" for who in chosen)
    return {kind: {who: each.count(who) for who in dict.fromkeys(each)} for kind, each in kinds.items()}


def _merges(run: Run, text: list[int]) -> None:
    adapters = tuple((specialist.adapter or Path(), 1.0) for specialist in run.specialists.values())
    for trim in run.settings.trims:
        with tempfile.TemporaryDirectory() as folder:
            target = merge(MergeRequest(run.settings.base, adapters, Path(folder) / "ties", trim=trim)).target
            with run.settings.open(target) as engine:
                costs = figures.perplexity(text_losses(engine, text, {}))
                run.add(f"TIES merge, trim {trim:g}", ask(engine, run.requests, {}), costs)


def _wall(run: Run, engine: Engine) -> wall.Wall:
    tasks = run.everything[:: max(1, len(run.everything) // run.settings.rounds)]
    return wall.measure(engine, [prompt_tokens(engine, turns_of(task)) for task in tasks], list(run.specialists))


def _four_at_a_time(settings: Settings, model: Path) -> wall.Wall:
    """Random adapters of rank 16 on all projections of another model."""
    names = [f"random{at}" for at in range(4)]
    # Random text soon repeats itself, and drafts of it would make one answer quicker than any real one.
    with Engine(model, threads=settings.threads, speculation="off") as engine, tempfile.TemporaryDirectory() as folder:
        for at, name in enumerate(names):
            engine.load_adapter(name, write_random_adapter(Path(folder) / name, engine.info, rank=16, seed=at))
        return wall.measure(engine, [list(range(100, 132))] * settings.rounds, names)
