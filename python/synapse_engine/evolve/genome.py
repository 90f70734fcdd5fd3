"""What is bred: the shape of an adapter, and how two shapes become a third. Pure functions of a random generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

RANKS = (4, 8, 16, 32)
MIN_RANK, MAX_RANK = 4, 64
DROPOUTS = (0.0, 0.0, 0.05)
MUTATION = 0.3
RANK_STEPS = (-4, -2, 2, 4)
MODES = ("sequential", "parallel", "hybrid")


@dataclass(frozen=True)
class Genome:
    """A LoRA: its rank, the linear layers it changes in every block, and the dropout while it learns."""

    rank: int
    targets: tuple[str, ...]  # sorted
    dropout: float = 0.0

    @property
    def alpha(self) -> int:
        """Twice the rank, so that the change is scaled by 2 whatever the rank."""
        return 2 * self.rank


def draw(pool: Sequence[str], random: Random) -> Genome:
    """A genome with a rank from the pool of ranks and at least one target."""
    count = random.randint(1, len(pool))
    return Genome(random.choice(RANKS), tuple(sorted(random.sample(sorted(pool), count))), random.choice(DROPOUTS))


def fuse(first: Genome, second: Genome, mode: str, random: Random) -> Genome | None:
    """A child with the targets of both. Nothing if the rank of a parallel fusion would be too high.

    ``sequential`` takes the mean rank, ``parallel`` the sum, ``hybrid`` one of the two by chance.
    """
    if mode == "hybrid":
        mode = random.choice(("sequential", "parallel"))
    targets = tuple(sorted({*first.targets, *second.targets}))
    dropout = random.choice((first.dropout, second.dropout))
    if mode == "sequential":
        return Genome(_within((first.rank + second.rank) // 2), targets, dropout)
    rank = first.rank + second.rank
    return Genome(rank, targets, dropout) if rank <= MAX_RANK else None


def mutate(genome: Genome, pool: Sequence[str], random: Random) -> Genome:
    """Each with a chance of 0.3: a step of the rank; a further target, or one less when there is none to add."""
    rank, targets = genome.rank, set(genome.targets)
    if random.random() < MUTATION:
        rank = _within(rank + random.choice(RANK_STEPS))
    if random.random() < MUTATION:
        missing = sorted(set(pool) - targets)
        if missing:
            targets.add(random.choice(missing))
        elif len(targets) > 1:
            targets.remove(random.choice(sorted(targets)))
    return Genome(rank, tuple(sorted(targets)), genome.dropout)


def diversity(genomes: Sequence[Genome]) -> float:
    """Distinct shapes as a share of the population."""
    return len({(genome.rank, genome.targets) for genome in genomes}) / len(genomes)


def _within(rank: int) -> int:
    return min(max(rank, MIN_RANK), MAX_RANK)
