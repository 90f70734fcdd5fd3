"""Notices when a population drifts as one: CUSUM over its mean depth and width. Sees only two series of numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, pstdev

WINDOW = 5
THRESHOLD = 4.0
LEAST_DEVIATION = 0.1
GENERATIONS_AFTER = 10


@dataclass
class _Series:
    early: list[float] = field(default_factory=list)
    total: float = 0.0

    def add(self, value: float, counts: bool) -> None:
        if len(self.early) < WINDOW:
            self.early.append(value)
        elif counts:
            deviation = max(pstdev(self.early), LEAST_DEVIATION)
            self.total = max(0.0, self.total + (value - fmean(self.early)) / deviation)


class GelationMonitor:
    """``S = max(0, S + (x - mean) / deviation)`` for the mean number of targets and the mean rank.

    Mean and deviation are those of the first five records; the seventh is the first to count.
    """

    def __init__(self) -> None:
        self._depth, self._width = _Series(), _Series()
        self._records = 0
        self.gelled_at: int | None = None

    def record(self, mean_targets: float, mean_rank: float) -> None:
        """Takes the next generation, the first of which is number 0."""
        counts = self._records > WINDOW
        self._depth.add(mean_targets, counts)
        self._width.add(mean_rank, counts)
        if self.gelled_at is None and max(self.sums) > THRESHOLD:
            self.gelled_at = self._records
        self._records += 1

    @property
    def sums(self) -> tuple[float, float]:
        """Of depth and of width."""
        return self._depth.total, self._width.total

    def is_over(self) -> bool:
        """Whether ten generations have passed since gelation."""
        return self.gelled_at is not None and self._records - 1 >= self.gelled_at + GENERATIONS_AFTER
