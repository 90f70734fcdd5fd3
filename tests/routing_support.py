"""Stands in for the coordinator: the same arithmetic over letter trigrams instead of a model's hidden states."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

from synapse_engine._engine import HebbianBias
from synapse_engine.routing import Router
from synapse_engine.routing.place import JUDGED
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.specialists import Library, built_in

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 256


class FakeCoordinator:
    """Texts that share trigrams are alike. ``embedded`` counts what was computed."""

    def __init__(self, threshold: float = 0.3, none: float = 0.0) -> None:
        self.threshold = threshold
        self.none = none
        self.embedded = 0
        self._specialists: dict[str, list[list[float]]] = {}

    def info(self) -> dict[str, Any]:
        return {"path": "fake", "threshold": self.threshold, "embedding": SIZE, "temperature": 1.0}

    def embed(self, turns: list[tuple[str, str]]) -> list[float]:
        self.embedded += 1
        text = f"  {turns[-1][1].lower()}  "
        vector = [0.0] * SIZE
        for place in range(len(text) - 2):
            vector[zlib.crc32(text[place : place + 3].encode("utf-8", "replace")) % SIZE] += 1.0
        length = math.hypot(*vector)
        return [value / length for value in vector]

    def set_specialists(self, specialists: list[dict[str, Any]]) -> None:
        self._specialists = {
            one["name"]: [self.embed([("user", text)]) for text in one["examples"]] for one in specialists
        }

    def score(self, turns: list[tuple[str, str]]) -> dict[str, Any]:
        vector = self.embed(turns)
        logits = {
            name: 10 * max(math.fsum(a * b for a, b in zip(vector, other, strict=True)) for other in examples)
            for name, examples in self._specialists.items()
        }
        return {"embedding": vector, "logits": logits, "none_logit": self.none, "seconds": 0.001, "tokens": 7}


def fake_router(hebbian: Any = None, **options: Any) -> Router:
    """Over the starters, without feedback."""
    return Router(FakeCoordinator(**options), built_in(), empty_bias() if hebbian is None else hebbian)


def fake_desk(folder: Path, hebbian: Any = None) -> Desk:
    """A server's, over the specialists in ``folder``."""
    hebbian = empty_bias() if hebbian is None else hebbian
    return Desk(Library(folder), lambda found: Router(FakeCoordinator(), found, hebbian))


def empty_bias() -> HebbianBias:
    return HebbianBias("fake", SIZE + JUDGED)
