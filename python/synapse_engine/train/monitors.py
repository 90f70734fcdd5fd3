"""Watches a run for gelation: the moment when many small parts begin to move as one. Sees only series of numbers."""

from __future__ import annotations

import cmath
import math
from collections import deque
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

WINDOW = 10
CURVATURE_THRESHOLD = 5.0
SLACK = 0.5
SYNCHRONY_THRESHOLD = 0.9
_FLOOR = 1e-12


class CurvatureAlarm:
    """Two-sided CUSUM on the second difference of the loss.

    ``k = L[t] - 2 L[t-1] + L[t-2]`` is compared with mean and deviation of the ten values before it;
    ``S = max(0, S +- (k - mean) / deviation - 1/2)``, and an alarm starts both sums anew.
    """

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=3)
        self.curvatures: deque[float] = deque(maxlen=WINDOW)
        self.above = self.below = 0.0

    def add(self, loss: float) -> bool:
        """Takes the next loss; true if the curve has bent."""
        self.losses.append(loss)
        if len(self.losses) < 3:
            return False
        curvature = self.losses[2] - 2 * self.losses[1] + self.losses[0]
        alarm = len(self.curvatures) == WINDOW and self._exceeds(curvature)
        self.curvatures.append(curvature)
        return alarm

    def _exceeds(self, curvature: float) -> bool:
        score = (curvature - fmean(self.curvatures)) / max(pstdev(self.curvatures), _FLOOR)
        self.above = max(0.0, self.above + score - SLACK)
        self.below = max(0.0, self.below - score - SLACK)
        if max(self.above, self.below) <= CURVATURE_THRESHOLD:
            return False
        self.above = self.below = 0.0
        return True


def synchrony(series: list[list[float]]) -> float | None:
    """Kuramoto's order parameter of several series: 1 if all swing alike, about ``0.886 / sqrt(n)`` if at random.

    The phase of a series is the angle between its value and its last change, both measured in deviations over
    the window. Nothing if a series is too short or does not move.
    """
    phases: list[float] = []
    for values in series:
        if len(values) < WINDOW:
            return None
        changes = [after - before for before, after in pairwise(values)]
        spread, speed = pstdev(values), pstdev(changes)
        if spread < _FLOOR or speed < _FLOOR:
            return None
        phases.append(math.atan2((values[-1] - fmean(values)) / spread, (changes[-1] - fmean(changes)) / speed))
    return abs(sum(cmath.exp(1j * phase) for phase in phases)) / len(phases) if phases else None


class Monitors:
    """All monitors of a run; ``state`` and ``restore`` make them survive a restart."""

    def __init__(self, layers: int) -> None:
        self._alarm = CurvatureAlarm()
        self._entropies: list[deque[float]] = [deque(maxlen=WINDOW) for _ in range(layers)]

    def observe(self, loss: float, entropies: list[float]) -> dict[str, Any]:
        """Takes a loss and the gate entropy of each layer in nats; returns what goes into the log."""
        for series, entropy in zip(self._entropies, entropies, strict=True):
            series.append(entropy)
        order = synchrony([list(series) for series in self._entropies])
        return {
            "gate_entropy": fmean(entropies),
            "synchrony": order,
            "bend": self._alarm.add(loss),
            "gelled": order is not None and order > SYNCHRONY_THRESHOLD,
        }

    def state(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        alarm = self._alarm
        return {
            "losses": list(alarm.losses),
            "curvatures": list(alarm.curvatures),
            "sums": [alarm.above, alarm.below],
            "entropies": [list(series) for series in self._entropies],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Undoes ``state``."""
        self._alarm.losses.extend(state["losses"])
        self._alarm.curvatures.extend(state["curvatures"])
        self._alarm.above, self._alarm.below = state["sums"]
        for series, values in zip(self._entropies, state["entropies"], strict=True):
            series.extend(values)
