"""From scores and bias to a specialist, or to nobody. Plain arithmetic: runs no model and learns nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from synapse_engine.routing.place import place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NONE = "none"
"""Stands among the specialists for the plain base model; no specialist can have this name."""

Reason = Literal[
    "chosen",
    "chosen by feedback",
    "below threshold",
    "no specialist fits",
    "left alone by feedback",
    "no specialists",
    "asked for",
]
_DIGITS = 4


@dataclass(frozen=True)
class Scores:
    """What the coordinator says of a request."""

    embedding: Sequence[float] = field(repr=False)
    logits: Mapping[str, float]
    """Of the specialists and ``NONE``; their softmax is calibrated."""
    seconds: float = 0.0
    label: str = ""
    """The request in a few words."""
    place: Sequence[float] = field(default=(), repr=False)
    """Where feedback on it counts, see ``place.py``."""

    @classmethod
    def read(cls, found: Mapping[str, Any], label: str) -> Scores:
        """From what ``Coordinator.score`` returns."""
        logits = {**found["logits"], NONE: found["none_logit"]}
        place = place_of(found["embedding"], softmax(logits))
        return cls(found["embedding"], logits, found["seconds"], label, place)


@dataclass(frozen=True)
class Decision:
    """Who answers a request, and why."""

    specialist: str | None
    """None: the plain base model."""
    reason: Reason
    probabilities: dict[str, float] = field(default_factory=dict)
    """Of the specialists, with the bias; the likeliest first."""
    none: float = 1.0
    """What is missing to 1: the probability that none fits."""
    logits: Mapping[str, float] = field(default_factory=dict)
    """Of the specialists and ``NONE``, without the bias."""
    bias: Mapping[str, float] = field(default_factory=dict)
    """What feedback adds to the logits."""
    threshold: float = 0.0
    """The least probability that a specialist must have."""
    seconds: float = 0.0
    scores: Scores | None = field(default=None, repr=False, compare=False)
    """What it came from; None if nothing was scored."""
    explainer: Callable[[Decision], dict[str, Any]] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def asked_for(cls, specialist: str) -> Decision:
        """The client named the specialist; nothing was weighed."""
        return cls(specialist, "asked for")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "specialist": self.specialist,
            "reason": self.reason,
            "probabilities": rounded(self.probabilities),
            "none": round(self.none, _DIGITS),
            "logits": rounded(self.logits),
            "bias": rounded(self.bias),
            "threshold": round(self.threshold, _DIGITS),
            "seconds": round(self.seconds, 6),
        }

    def explain(self) -> dict[str, Any]:
        """``as_dict`` with the nearest examples, the feedback that bears on it, and what would change it."""
        return self.as_dict() if self.explainer is None else self.explainer(self)


def decide(scores: Scores, bias: Mapping[str, float], threshold: float) -> Decision:
    """The likeliest specialist, unless its probability is below ``threshold`` or that of ``NONE`` is greater."""
    moved = {name: logit + bias.get(name, 0.0) for name, logit in scores.logits.items()}
    chances = softmax(moved)
    specialist, reason = _choice(chances, threshold)
    unmoved, _ = _choice(softmax(scores.logits), threshold)
    if specialist != unmoved:
        reason = "chosen by feedback" if specialist else "left alone by feedback"
    none = chances.pop(NONE)
    return Decision(
        specialist,
        reason,
        probabilities=dict(sorted(chances.items(), key=lambda pair: -pair[1])),
        none=none,
        logits=dict(scores.logits),
        bias={name: bias.get(name, 0.0) for name in scores.logits},
        threshold=threshold,
        seconds=scores.seconds,
        scores=scores,
    )


def _choice(chances: Mapping[str, float], threshold: float) -> tuple[str | None, Reason]:
    specialists = {name: chance for name, chance in chances.items() if name != NONE}
    if not specialists:
        return None, "no specialists"
    best = max(specialists, key=specialists.__getitem__)
    if chances[NONE] > specialists[best]:
        return None, "no specialist fits"
    if specialists[best] < threshold:
        return None, "below threshold"
    return best, "chosen"


def softmax(logits: Mapping[str, float]) -> dict[str, float]:
    """Probabilities that add up to 1."""
    most = max(logits.values())
    raised = {name: math.exp(logit - most) for name, logit in logits.items()}
    total = math.fsum(raised.values())
    return {name: value / total for name, value in raised.items()}


def rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    """As people and logs want them; never a negative zero."""
    return {name: round(number, _DIGITS) + 0.0 for name, number in numbers.items()}
