"""How sure a coordinator may be: a temperature and a threshold, from ways to ask that training never saw."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch

from synapse_engine.specialists.reading import STARTERS, built_in
from synapse_engine.train.coordinator.pretended import say
from synapse_engine.train.coordinator.reading import read_request
from synapse_engine.train.coordinator.tasks import starters_shown
from synapse_engine.train.routing.requests import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.model import Coordinator
    from synapse_engine.train.coordinator.pretended import Wish
    from synapse_engine.train.routing.grammar import Grammar

_EACH = 12  # requests for each wish
_TEMPERATURES = [1.03**step for step in range(-60, 100)]
# Of requests of a specialist so many may be refused for the sake of those that belong to none.
MOST_REFUSED = 0.05


@dataclass(frozen=True)
class Judged:
    """Logits (requests, starters + 1), and the right column of each; the last one is none."""

    logits: Tensor
    truth: Tensor

    @property
    def accuracy(self) -> float:
        """Of requests of a starter, if nothing is refused."""
        known = self.truth < len(STARTERS)
        chosen = self.logits[known, : len(STARTERS)].argmax(-1)
        return float((chosen == self.truth[known]).float().mean())


@torch.no_grad()
def judge(model: Coordinator, tokenizer: Tokenizer, grammar: Grammar, wishes: Sequence[Wish], seed: int) -> Judged:
    """Some requests for each wish, scored."""
    random = Random(seed)  # noqa: S311
    labels = (*STARTERS, NONE)
    truth = [labels.index(wish.family) for wish in wishes for _ in range(_EACH)]
    texts = [say(grammar, wish, random) for wish in wishes for _ in range(_EACH)]
    shown, about = starters_shown(tokenizer, built_in())
    requests = model.embed([read_request(tokenizer, [("user", text)]) for text in texts])
    return Judged(model.logits(requests, model.embed(shown), about, len(STARTERS)), torch.tensor(truth))


def temperature(judged: Judged) -> float:
    """The one that makes the right answers likeliest."""
    return min(_TEMPERATURES, key=lambda t: _loss(judged.logits / t, judged.truth))


def threshold(judged: Judged, temperature: float) -> float:
    """The probability below which a starter is not chosen: as many as possible of none, few of the others."""
    best = torch.softmax(judged.logits / temperature, -1)[:, : len(STARTERS)].amax(-1)
    known = best[judged.truth < len(STARTERS)]
    return round(float(min(0.5, known.quantile(MOST_REFUSED).item())), 3)


def _loss(logits: Tensor, truth: Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits, truth).item()
