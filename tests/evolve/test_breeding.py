"""Genomes, gelation and the loop, against the stated rules."""

import json
import math
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from synapse_engine.evolve.gelation import GelationMonitor
from synapse_engine.evolve.genome import RANKS, Genome, diversity, draw, fuse, mutate
from synapse_engine.evolve.population import Breeding, Generation, Unit, UnitLog, evolve
from synapse_engine.train.errors import CheckpointError, ConfigError

POOL = ("v", "w1", "w2")


def test_drawn_genomes_cover_the_pools() -> None:
    drawn = [draw(POOL, Random(seed)) for seed in range(300)]
    assert {genome.rank for genome in drawn} == set(RANKS)
    assert {genome.targets for genome in drawn} == {
        ("v",), ("w1",), ("w2",), ("v", "w1"), ("v", "w2"), ("w1", "w2"), POOL,
    }  # fmt: skip
    without = sum(genome.dropout == 0 for genome in drawn) / 300
    assert without == pytest.approx(2 / 3, abs=0.1)
    assert all(genome.alpha == 2 * genome.rank for genome in drawn)


@pytest.mark.parametrize(
    ("ranks", "mode", "wanted"),
    [
        ((8, 15), "sequential", 11), ((64, 64), "sequential", 64), ((4, 4), "sequential", 4),
        ((8, 15), "parallel", 23), ((32, 32), "parallel", 64), ((32, 33), "parallel", None),
    ],
)  # fmt: skip
def test_fusion(ranks: tuple[int, int], mode: str, wanted: int | None) -> None:
    first, second = Genome(ranks[0], ("v",)), Genome(ranks[1], ("v", "w2"))
    child = fuse(first, second, mode, Random(0))
    assert child == (None if wanted is None else Genome(wanted, ("v", "w2")))


def test_hybrid_fusion_is_one_of_the_two() -> None:
    ranks = Counter(fuse(Genome(8, ("v",)), Genome(16, ("v",)), "hybrid", Random(seed)).rank for seed in range(400))
    assert set(ranks) == {12, 24}
    assert ranks[12] == pytest.approx(200, abs=50)


def test_mutation_changes_rank_and_targets_three_times_in_ten() -> None:
    start = Genome(16, ("v", "w1"))
    changed = [mutate(start, POOL, Random(seed)) for seed in range(2000)]
    assert {genome.rank for genome in changed} == {12, 14, 16, 18, 20}
    assert sum(genome.rank != 16 for genome in changed) / 2000 == pytest.approx(0.3, abs=0.04)
    assert {genome.targets for genome in changed} == {("v", "w1"), POOL}
    assert sum(genome.targets == POOL for genome in changed) / 2000 == pytest.approx(0.3, abs=0.04)
    full = {mutate(Genome(4, POOL), POOL, Random(seed)) for seed in range(200)}
    assert {len(genome.targets) for genome in full} == {2, 3}
    assert min(genome.rank for genome in full) == 4
    assert {mutate(Genome(64, ("v",)), ("v",), Random(seed)).targets for seed in range(50)} == {("v",)}


def test_diversity() -> None:
    genomes = [Genome(4, ("v",)), Genome(4, ("v",), 0.05), Genome(8, ("v",)), Genome(4, ("w1",))]
    assert diversity(genomes) == 3 / 4


def test_gelation_by_hand() -> None:
    monitor = GelationMonitor()
    widths = [10.0, 12.0, 10.0, 12.0, 11.0]  # mean 11, deviation sqrt(0.8)
    for width in [*widths, 99.0]:  # the sixth record does not count yet
        monitor.record(2.0, width)
    assert monitor.sums == (0, 0)
    monitor.record(2.0, 13.0)
    assert monitor.sums[1] == pytest.approx(2 / math.sqrt(0.8))
    assert monitor.gelled_at is None
    monitor.record(2.1, 11.0)
    monitor.record(2.2, 13.0)
    assert monitor.sums == pytest.approx((0.1 / 0.1 + 0.2 / 0.1, 4 / math.sqrt(0.8)))
    assert monitor.gelled_at == 8
    for generation in range(9, 19):
        assert not monitor.is_over()
        monitor.record(2.0, 11.0)
        assert monitor.is_over() == (generation == 18)


def test_sums_do_not_fall_below_zero() -> None:
    monitor = GelationMonitor()
    for _ in range(10):
        monitor.record(3.0, 8.0)
    monitor.record(1.0, 1.0)
    assert monitor.sums == (0, 0)


class Garden:
    """Stands for training: the best shape has rank 20 and all targets."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.trained: list[int] = []
        self.dies_at = dies_at

    def __call__(self, number: int, genome: Genome) -> Unit:
        if number == self.dies_at:
            raise KeyboardInterrupt
        self.trained.append(number)
        return Unit(number, genome, 0.5, 100, len(genome.targets) - abs(genome.rank - 20) / 20)


def breed(tmp_path: Path, garden: Garden, **given: object) -> tuple[list[Unit], list[Generation]]:
    told: list[Generation] = []
    breeding = Breeding(POOL, **{"generations": 30, "seed": 3} | given)
    return evolve(breeding, garden, UnitLog(tmp_path / "units.jsonl"), told.append), told


def test_evolution_climbs(tmp_path: Path) -> None:
    population, told = breed(tmp_path, Garden())
    assert told[0].number == 0
    best = [generation.best.fitness for generation in told]
    assert best == sorted(best)
    assert best[-1] > best[0]
    assert len(population) == 8
    assert population[0].fitness == best[-1] == max(unit.fitness for unit in population)
    gelled = told[-1].gelled_at
    assert gelled is not None
    assert gelled >= 6
    assert told[-1].number in (gelled + 10, 30)


def test_a_broken_off_evolution_goes_on_the_same(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    wanted = breed(whole, Garden())
    with pytest.raises(KeyboardInterrupt):
        breed(parts, Garden(dies_at=13))
    with (parts / "units.jsonl").open("a") as log:
        log.write('{"number": 13, "gen')  # as if it had died while writing
    rest = Garden()
    assert breed(parts, rest) == wanted
    assert rest.trained[0] == 13
    assert (parts / "units.jsonl").read_text() == (whole / "units.jsonl").read_text()


def test_another_evolution_does_not_go_on(tmp_path: Path) -> None:
    breed(tmp_path, Garden(), generations=1)
    with pytest.raises(CheckpointError, match="unit 0 has another shape"):
        breed(tmp_path, Garden(), seed=4)
    assert json.loads((tmp_path / "units.jsonl").read_text().splitlines()[0])["number"] == 0


@pytest.mark.parametrize(("given", "message"), [({"population": 2}, "too small"), ({"mode": "wild"}, "mode")])
def test_breeding_that_cannot_be(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Breeding(POOL, **given)
