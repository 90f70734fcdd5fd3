"""The learning rate over the steps, and which parameters learn when. Pure functions of the step number."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol


class Rates(Protocol):
    """The options that the learning rate depends on."""

    @property
    def steps(self) -> int:
        """Of the whole run."""

    @property
    def warmup(self) -> int:
        """Steps to reach the highest rate."""

    @property
    def learning_rate(self) -> float:
        """The highest rate."""

    @property
    def final_share(self) -> float:
        """What is left of it at the end."""


def learning_rate(step: int, options: Rates) -> float:
    """Linear from zero over the warm-up, then half a cosine down to ``final_share`` of the peak."""
    warmup = min(options.warmup, max(1, options.steps // 10))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, options.steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return options.learning_rate * (options.final_share + (1 - options.final_share) * cosine)


@dataclass(frozen=True)
class Phase:
    """A part of a run in which parameters whose names match ``learns`` learn at ``scale`` of the rate."""

    share: float
    scale: float
    learns: str


_JUNCTION = r"junction\.|out_proj\."
_NEAR = _JUNCTION + r"|blocks\.[01]\."
# Shares and scales of the published VocabFusion run; each phase adds to the one before.
UNFREEZING = (Phase(0.4, 1.0, _JUNCTION), Phase(0.3, 0.5, _NEAR), Phase(0.3, 0.25, _NEAR + r"|blocks\.\d+\.|ln_f\."))


def phase_at(step: int, steps: int) -> Phase:
    """The phase of progressive unfreezing that a step falls into."""
    begun = 0.0
    for phase in UNFREEZING:
        begun += phase.share
        if step < round(begun * steps):
            return phase
    return UNFREEZING[-1]


def learns(phase: Phase, parameter: str) -> bool:
    """Whether a parameter learns in a phase."""
    return re.match(phase.learns, parameter) is not None
