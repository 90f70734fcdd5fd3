"""Texts of all kinds with what a sentence model makes of them, for a coordinator to learn what texts are about.

What a request wants is learnt from its label; but requests of one label that are about different things would come to
look the same, and a user's specialist is for one of these things.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch

from synapse_engine.train.coordinator.model import ABOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from synapse_engine.train.coordinator.meanings import SentenceModel
    from synapse_engine.train.coordinator.pretended import WishGroup
    from synapse_engine.train.coordinator.topics import Topics
    from synapse_engine.train.routing.generate import Generator
    from synapse_engine.train.routing.grammar import Real

_LETTERS = 240
# Of a dozen texts so many are generated requests, requests for a wish, for a topic, and real text.
_SHARES = {"request": 4, "wish": 2, "topic": 3, "real": 3}


@dataclass(frozen=True)
class Lessons:
    """Texts and unit vectors (texts, ABOUT)."""

    texts: list[str]
    vectors: Tensor

    def draw(self, count: int, random: Random) -> tuple[list[str], Tensor]:
        """Some of them."""
        chosen = random.sample(range(len(self.texts)), min(count, len(self.texts)))
        return [self.texts[at] for at in chosen], self.vectors[chosen].float()


def collect(
    generator: Generator,
    groups: Sequence[WishGroup],
    topics: Topics,
    real: Mapping[str, Sequence[Real]],
    count: int,
) -> list[str]:
    """Different texts, at most ``count``, none long."""
    random = Random("lessons")  # noqa: S311
    pieces = [piece.text for kind in sorted(real) for piece in real[kind]]

    def one(row: int) -> Iterator[str]:
        kind = random.choices(list(_SHARES), list(_SHARES.values()))[0]
        if kind == "wish":
            yield random.choice(groups).ask(random).text
        elif kind == "real" and pieces:
            yield random.choice(pieces)
        elif kind == "topic":
            yield from (topic.ask(random).text for topic in topics.draw(1, random))
        else:
            yield generator.row(row).text

    return list(dict.fromkeys(text[:_LETTERS].strip() for row in range(count) for text in one(row)))


def teach(model: SentenceModel, texts: list[str]) -> Lessons:
    """The model's vectors on their main axes."""
    vectors = model.embed(texts)
    centred = vectors - vectors.mean(0)
    _, _, axes = torch.linalg.svd(centred[:5000], full_matrices=False)
    return Lessons(texts, torch.nn.functional.normalize(vectors @ axes[:ABOUT].T, dim=-1).half())
