"""The loop of evolution: parents by tournament, a child of both, a place for it if it is fitter. Trains nothing itself.

All chance comes from one generator, and the outcome of every unit is written down; a run that is started again makes
the same choices with the outcomes that it finds, and goes on where they end.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

from synapse_engine.evolve.gelation import GelationMonitor
from synapse_engine.evolve.genome import MODES, Genome, diversity, draw, fuse, mutate
from synapse_engine.train.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TOURNAMENT = 3
_ATTEMPTS = 10


@dataclass(frozen=True)
class Breeding:
    """How a population is bred."""

    pool: tuple[str, ...]
    population: int = 8
    generations: int = 24
    children: int = 2
    mode: str = "hybrid"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.population < TOURNAMENT:
            raise ConfigError(f"a population of {self.population} is too small for tournaments of {TOURNAMENT}")
        if self.mode not in MODES:
            raise ConfigError(f"mode: expected one of {', '.join(MODES)}, found {self.mode!r}")


@dataclass(frozen=True)
class Unit:
    """A trained adapter: its number, which is also its seed, its shape and what came of it."""

    number: int
    genome: Genome
    accuracy: float
    parameters: int
    fitness: float


@dataclass(frozen=True)
class Generation:
    """The population after a generation."""

    number: int
    best: Unit
    mean_rank: float
    mean_targets: float
    diversity: float
    sums: tuple[float, float]
    gelled_at: int | None


class UnitLog:
    """Outcomes of trained units, one JSON line each."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[int, Unit] = {}
        for line in file.read_text().splitlines() if file.exists() else []:
            try:
                record: dict[str, Any] = json.loads(line)
            except json.JSONDecodeError:  # cut off by a crash: that unit is trained again
                break
            genome = Genome(**record["genome"] | {"targets": tuple(record["genome"]["targets"])})
            unit = Unit(**record | {"genome": genome})
            self._known[unit.number] = unit
        self._rewrite()

    def find(self, number: int, genome: Genome) -> Unit | None:
        """The outcome of a unit, if it is known."""
        unit = self._known.get(number)
        if unit is not None and unit.genome != genome:
            raise CheckpointError(
                f"{self._file}: unit {number} has another shape",
                "continue with the same options, or choose another --out",
            )
        return unit

    def add(self, unit: Unit) -> None:
        """Writes an outcome down."""
        self._known[unit.number] = unit
        with self._file.open("a") as log:
            log.write(json.dumps(asdict(unit)) + "\n")

    def _rewrite(self) -> None:
        self._file.write_text("".join(json.dumps(asdict(unit)) + "\n" for unit in self._known.values()))


def evolve(
    breeding: Breeding, train: Callable[[int, Genome], Unit], log: UnitLog, tell: Callable[[Generation], None]
) -> list[Unit]:
    """Breeds to the last generation, or until ten after gelation; returns the population, fittest first."""
    random = Random(breeding.seed)  # noqa: S311 (no secret depends on it)
    monitor = GelationMonitor()
    numbers = iter(range(10**9))

    def trained(genome: Genome) -> Unit:
        number = next(numbers)
        known = log.find(number, genome)
        if known is None:
            known = train(number, genome)
            log.add(known)
        return known

    members = [trained(draw(breeding.pool, random)) for _ in range(breeding.population)]
    tell(_record(0, members, monitor))
    for generation in range(1, breeding.generations + 1):
        for _ in range(breeding.children):
            child = trained(_child(members, breeding, random))
            loser = min(random.sample(range(len(members)), TOURNAMENT), key=lambda at: members[at].fitness)
            if child.fitness > members[loser].fitness:
                members[loser] = child
        tell(_record(generation, members, monitor))
        if monitor.is_over():
            break
    return sorted(members, key=lambda unit: -unit.fitness)


def _child(members: Sequence[Unit], breeding: Breeding, random: Random) -> Genome:
    for _ in range(_ATTEMPTS):
        first, second = (_winner(members, random).genome for _ in range(2))
        child = fuse(first, second, breeding.mode, random)
        if child is not None:
            return mutate(child, breeding.pool, random)
    # Every sum of ranks was too high; the first parent lives on.
    return mutate(replace(first), breeding.pool, random)


def _winner(members: Sequence[Unit], random: Random) -> Unit:
    return max(random.sample(members, TOURNAMENT), key=lambda unit: unit.fitness)


def _record(number: int, members: Sequence[Unit], monitor: GelationMonitor) -> Generation:
    mean_targets = fmean(len(unit.genome.targets) for unit in members)
    mean_rank = fmean(unit.genome.rank for unit in members)
    monitor.record(mean_targets, mean_rank)
    return Generation(
        number=number,
        best=max(members, key=lambda unit: unit.fitness),
        mean_rank=mean_rank,
        mean_targets=mean_targets,
        diversity=diversity([unit.genome for unit in members]),
        sums=monitor.sums,
        gelled_at=monitor.gelled_at,
    )
