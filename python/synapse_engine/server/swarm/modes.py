"""How many specialists answer: one, or several in one batch. Arithmetic on probabilities only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.routing import Decision

SURE = 0.8
"""From this probability of its choice on, `auto` lets one specialist answer."""
USUAL_CANDIDATES = 3
LEAST_PROBABILITY = 1e-6


def probability_of(decision: Decision, specialist: str | None) -> float:
    """That this one is meant; None stands for the plain model."""
    if specialist is None:
        return decision.none
    return decision.probabilities.get(specialist, 0.0)


def is_sure(decision: Decision) -> bool:
    """Whether asking others would hardly help."""
    return probability_of(decision, decision.specialist) >= SURE


def likeliest(decision: Decision, count: int) -> list[str | None]:
    """The ``count`` likeliest, likeliest first, the plain model among them where it belongs."""
    everyone: list[str | None] = [*decision.probabilities, None]
    return sorted(everyone, key=lambda name: -probability_of(decision, name))[:count]


def score(probability: float, logprobs: Sequence[float]) -> float:
    """log p(route) + mean log p(token): how well an answer fits, whatever its length. An empty answer never wins."""
    if not logprobs:
        return -math.inf
    return math.log(max(probability, LEAST_PROBABILITY)) + math.fsum(logprobs) / len(logprobs)
