"""Why a decision came out as it did, and what would change it. Decides and learns nothing that lasts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from synapse_engine.routing.decision import NONE, Decision, Scores, decide, rounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synapse_engine.routing.parts import Bias, Coordinator
    from synapse_engine.specialists import Specialist

NEAREST_EXAMPLES = 5
ALTERNATIVES = 2
MOST_FEEDBACKS = 50


class Examples:
    """The specialists' examples as vectors; each is embedded once."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._vectors: dict[str, list[float]] = {}

    def nearest(self, embedding: Sequence[float], specialists: Sequence[Specialist]) -> list[dict[str, Any]]:
        """Those most like a request."""
        texts = [(specialist.name, example) for specialist in specialists for example in specialist.examples]
        self._vectors = {text: self._vectors.get(text) or self._embed(text) for _, text in texts}
        found = [(_dot(embedding, self._vectors[text]), name, text) for name, text in texts]
        return [
            {"specialist": name, "example": text, "similarity": round(similarity, 4)}
            for similarity, name, text in sorted(found, reverse=True)[:NEAREST_EXAMPLES]
        ]

    def _embed(self, text: str) -> list[float]:
        return self._coordinator.embed([("user", text)])


def explain(decision: Decision, specialists: Sequence[Specialist], examples: Examples, hebbian: Bias) -> dict[str, Any]:
    """``Decision.as_dict`` with more: see ``Decision.explain``."""
    told = decision.as_dict()
    scores = decision.scores
    if scores is None:
        return told
    without = decide(scores, {}, decision.threshold)
    told["without_feedback"] = {
        "specialist": without.specialist,
        "probabilities": rounded(without.probabilities),
        "none": round(without.none, 4),
    }
    told["nearest_examples"] = examples.nearest(scores.embedding, specialists)
    told["regions"] = [_region(region) for region in hebbian.active(scores.place)]
    told["changes"] = [
        {"specialist": None if name == NONE else name, **_change(decision, scores, name, hebbian)}
        for name in _alternatives(decision)
    ]
    return told


def missing_bias(logits: Mapping[str, float], name: str, threshold: float) -> float:
    """How many logits ``name`` lacks to be chosen; at most 0 if it is. ``logits`` are those with the bias."""
    others = {other: logit for other, logit in logits.items() if other != name}
    best = max(others.values(), default=-math.inf)
    if not math.isfinite(best):
        return 0.0
    # The others' weight, where the best of them weighs 1.
    total = math.fsum(math.exp(logit - best) for logit in others.values())
    if name == NONE:
        # To be the greatest, or only so great that the best specialist falls below the threshold.
        room = 1 / threshold - total if threshold > 0 else math.inf
        return best + min(0.0, _log(room)) - logits[name]
    # p = w / (w + total) reaches the threshold at w = total threshold / (1 - threshold).
    share = total * threshold / (1 - threshold) if threshold < 1 else math.inf
    return best + max(0.0, _log(share)) - logits[name]


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf


def _change(decision: Decision, scores: Scores, name: str, hebbian: Bias) -> dict[str, Any]:
    moved = {other: logit + decision.bias.get(other, 0.0) for other, logit in scores.logits.items()}
    missing = missing_bias(moved, name, decision.threshold)
    return {"missing_bias": round(missing, 2), "feedbacks": _feedbacks(decision, scores, name, hebbian)}


def _feedbacks(decision: Decision, scores: Scores, name: str, hebbian: Bias) -> int | None:
    """How many corrections it takes, tried out on a copy; None if they do not suffice."""
    trial = hebbian.copy()
    for count in range(1, MOST_FEEDBACKS + 1):
        bias = trial.bias(scores.place, list(scores.logits))
        chosen = decide(scores, bias, decision.threshold).specialist or NONE
        if chosen == name:
            return count - 1
        trial.learn(scores.place, {name: 1.0, chosen: -1.0})
    return None


def _alternatives(decision: Decision) -> list[str]:
    chosen = decision.specialist or NONE
    likely = sorted({**decision.probabilities, NONE: decision.none}.items(), key=lambda pair: -pair[1])
    return [name for name, _ in likely if name != chosen][:ALTERNATIVES]


def _region(region: Mapping[str, Any]) -> dict[str, Any]:
    biases = {name: tie["bias"] for name, tie in region["specialists"].items()}
    return {
        "region": region["region"],
        "label": region["label"],
        "similarity": round(region["cosine"], 4),
        "weight": round(region["weight"], 4),
        "feedbacks": region["feedbacks"],
        "bias": rounded(biases),
    }


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))
