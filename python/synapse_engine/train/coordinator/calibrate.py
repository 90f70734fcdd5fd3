"""How much each part of a score counts, and how sure a coordinator may be.

From requests of another seed: half of them ask in ways that training never saw, the others in ways that it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from random import Random
from typing import TYPE_CHECKING

import torch

from synapse_engine.specialists.reading import STARTERS, built_in
from synapse_engine.train.coordinator.pretended import say
from synapse_engine.train.coordinator.reading import read_request
from synapse_engine.train.coordinator.tasks import starters_shown, turns_of
from synapse_engine.train.routing.requests import LABELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.model import Coordinator
    from synapse_engine.train.coordinator.pretended import Wish
    from synapse_engine.train.routing.generate import Generator
    from synapse_engine.train.routing.grammar import Grammar

_EACH = 12  # requests for each wish
_TEMPERATURES = [1.05**step for step in range(-30, 50)]
_ABOUT_SCALES, _KIN_SCALES = (6.0, 9.0, 12.0, 16.0, 20.0), (6.0, 12.0, 18.0, 24.0, 36.0, 48.0)
_SHIFTS = [float(shift) for shift in range(-6, 41)]
# Of requests of a specialist so many may be refused for the sake of those that belong to none.
MOST_REFUSED = 0.05


@dataclass(frozen=True)
class Judged:
    """Three parts of logits (requests, starters + 1) and the right column of each; the last one is none."""

    wanted: Tensor
    topic: Tensor
    kin: Tensor
    truth: Tensor

    def logits(self, about_scale: float, kin_scale: float, none_shift: float = 0.0) -> Tensor:
        """The parts added up."""
        shift = torch.zeros(self.wanted.shape[1])
        shift[-1] = none_shift
        return self.wanted + about_scale * self.topic + kin_scale * self.kin + shift

    def accuracy(self, logits: Tensor) -> float:
        """Of requests of a starter, if nothing is refused."""
        known = self.truth < len(STARTERS)
        chosen = logits[known, : len(STARTERS)].argmax(-1)
        return float((chosen == self.truth[known]).float().mean())


@dataclass(frozen=True)
class Tuned:
    """Scales that make most answers right, and what makes the right ones likeliest then."""

    about_scale: float
    kin_scale: float
    none_shift: float
    temperature: float


@torch.no_grad()
def judge(
    model: Coordinator, tokenizer: Tokenizer, grammar: Grammar, wishes: Sequence[Wish], generator: Generator
) -> Judged:
    """Some requests for each wish, and as many generated ones, scored."""
    random = Random("judge")  # noqa: S311
    asked = [(wish.family, [("user", say(grammar, wish, random))]) for wish in wishes for _ in range(_EACH)]
    asked += [(row.label, turns_of(row)) for row in map(generator.row, range(len(asked)))]
    shown, about = starters_shown(tokenizer, built_in())
    requests = model.embed([read_request(tokenizer, turns) for _, turns in asked])
    truth = torch.tensor([LABELS.index(label) for label, _ in asked])
    return Judged(*model.parts(requests, model.embed(shown), about, len(STARTERS)), truth)


def tune(judged: Judged) -> Tuned:
    """Tries some of everything."""
    scales = max(product(_ABOUT_SCALES, _KIN_SCALES), key=lambda pair: judged.accuracy(judged.logits(*pair)))
    tried = [(shift, temperature(judged.logits(*scales, shift), judged.truth)) for shift in _SHIFTS]
    best = min(tried, key=lambda one: _loss(judged.logits(*scales, one[0]) / one[1], judged.truth))
    return Tuned(*scales, *best)


def temperature(logits: Tensor, truth: Tensor) -> float:
    """The one that makes the right answers likeliest."""
    return min(_TEMPERATURES, key=lambda t: _loss(logits / t, truth))


def threshold(logits: Tensor, truth: Tensor) -> float:
    """The probability below which a starter is not chosen; few that should be are refused."""
    best = torch.softmax(logits, -1)[:, : len(STARTERS)].amax(-1)
    known = best[truth < len(STARTERS)]
    return round(float(min(0.5, known.quantile(MOST_REFUSED).item())), 3)


def _loss(logits: Tensor, truth: Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits, truth).item()
