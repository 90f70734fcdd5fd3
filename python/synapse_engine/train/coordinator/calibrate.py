"""The numbers of a coordinator's comparison, and how sure it may be.

From requests and specialists that training never saw: ways to ask of the grammars, and what people wrote. All numbers
are those of least cross-entropy: first what tells the families of requests, then what tells specialists.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from synapse_engine.specialists.reading import STARTERS, built_in
from synapse_engine.train.coordinator.model import Embedded, Shown
from synapse_engine.train.coordinator.reading import read_request
from synapse_engine.train.coordinator.tasks import read_shown, turns_of
from synapse_engine.train.coordinator.wishes import say
from synapse_engine.train.routing.requests import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.model import Comparison, Coordinator
    from synapse_engine.train.coordinator.wishes import Wish
    from synapse_engine.train.routing.grammar import Grammar
    from synapse_engine.train.routing.requests import Request
    from synapse_engine.train.routing.written import WrittenSpecialist

_EACH = 4  # requests for each wish
# Of a written specialist so many texts are examples, the others are asked; so many stand beside the starters at once.
_SHOWN, _BESIDE = 6, 6
_STEPS, _RATE = 200, 0.05
# Of requests of a specialist so many may be refused for the sake of those that belong to none.
MOST_REFUSED = 0.05


@dataclass(frozen=True)
class Table:
    """Some specialists, and requests with their right one; the number after the last one is nobody."""

    shown: Embedded
    by: Shown
    requests: Embedded
    truth: Tensor

    def logits(self, comparison: Comparison) -> Tensor:
        """(requests, specialists + 1), not calibrated."""
        return comparison.logits(self.requests, self.shown, self.by)


@dataclass(frozen=True)
class Judged:
    """What training never saw."""

    starters: Table
    """Requests of the starters and of none, the starters alone."""
    beside: list[Table]
    """The same with a few people's specialists, whose requests follow the others."""
    fewer: list[Table]
    """The same without some of the starters, whose requests belong to nobody then."""

    @property
    def labels(self) -> Tensor:
        """Numbers of ``LABELS`` of the starters' requests."""
        return self.starters.truth

    def accuracy(self, comparison: Comparison) -> float:
        """Of requests of a starter, if nothing is refused and nobody else is there."""
        known = self.labels < len(STARTERS)
        chosen = self.starters.logits(comparison)[known, : len(STARTERS)].argmax(-1)
        return float((chosen == self.labels[known]).float().mean())

    def kept(self, comparison: Comparison) -> float:
        """Share of the requests of ``general`` that it keeps beside people's specialists."""
        general = torch.nonzero(self.labels == LABELS.index("general")).squeeze(1)
        return self._right(comparison, [general] * len(self.beside))

    def found(self, comparison: Comparison) -> float:
        """Share of the requests for people's specialists that find them, the starters standing beside."""
        return self._right(comparison, [torch.arange(len(self.labels), len(table.truth)) for table in self.beside])

    def _right(self, comparison: Comparison, rows: Sequence[Tensor]) -> float:
        """Share of these rows of each table that go right: the mean over tables, 0 if there is none."""
        shares = [
            (table.logits(comparison)[chosen].argmax(-1) == table.truth[chosen]).float().mean()
            for table, chosen in zip(self.beside, rows, strict=True)
        ]
        return float(torch.stack(shares).mean()) if shares else 0.0


@torch.no_grad()
def judge(
    model: Coordinator,
    tokenizer: Tokenizer,
    grammar: Grammar,
    wishes: Sequence[Wish],
    written: Sequence[Request],
    specialists: Sequence[WrittenSpecialist],
) -> Judged:
    """Some requests for each wish, all written ones, and some tables of specialists."""
    random = Random("judge")  # noqa: S311
    asked = [(wish.family, [("user", say(grammar, wish, random))]) for wish in wishes for _ in range(_EACH)]
    asked += [(row.label, turns_of(row)) for row in written]
    requests = model.embed([read_request(tokenizer, turns) for _, turns in asked])
    labels = torch.tensor([LABELS.index(label) for label, _ in asked])
    starters = [(one.description, one.examples) for one in built_in()]
    beside: list[Table] = []
    fewer: list[Table] = []
    for some in _groups(specialists):
        theirs = [(one.description, one.texts[:_SHOWN]) for one in some]
        more = [(at, text) for at, one in enumerate(some) for text in one.texts[_SHOWN:]]
        owners = torch.tensor([at for at, _ in more])
        asked_too = model.embed([read_request(tokenizer, [("user", text)]) for _, text in more])
        everything = Embedded(*(torch.cat(parts) for parts in zip(requests, asked_too, strict=True)))
        for tables, kept in ((beside, range(len(STARTERS))), (fewer, _few(random))):
            texts, by = read_shown(tokenizer, [*(starters[at] for at in kept), *theirs])
            places = torch.full((len(LABELS),), by.count)
            places[list(kept)] = torch.arange(len(kept))
            truth = torch.cat([places[labels], owners + len(kept)])
            tables.append(Table(model.embed(texts), by, everything, truth))
    texts, by = read_shown(tokenizer, starters)
    return Judged(Table(model.embed(texts), by, requests, labels), beside, fewer)


def _few(random: Random) -> list[int]:
    return sorted(random.sample(range(len(STARTERS)), random.randrange(len(STARTERS))))


def _groups(specialists: Sequence[WrittenSpecialist]) -> Iterator[Sequence[WrittenSpecialist]]:
    """So many at a time; the last ones may be fewer."""
    for start in range(0, len(specialists), _BESIDE):
        yield specialists[start : start + _BESIDE]


def tune(comparison: Comparison, judged: Judged) -> float:
    """Sets the comparison's numbers and returns the temperature."""
    table = judged.starters
    families = [comparison.want_scale, comparison.kin_scale, comparison.none_shift]
    _descend(families, lambda: functional.nll_loss(comparison.families(table.requests).log(), judged.labels))
    warmth = torch.nn.Parameter(torch.tensor(0.0))
    others = [
        comparison.about_scale,
        comparison.about_sharpness,
        comparison.description_weight,
        comparison.cohesion_weight,
        comparison.none_bias,
        warmth,
    ]

    def loss() -> Tensor:
        """Of the starters' requests without people's specialists and with them, and of requests for these."""
        count = len(judged.labels)
        beside = [_loss(table, comparison, warmth) for table in (*judged.beside, *judged.fewer)]
        kinds = [[_loss(judged.starters, comparison, warmth)], [one[:count] for one in beside]]
        kinds += [[one[count:] for one in beside]]
        return torch.stack([torch.stack([one.mean() for one in kind]).mean() for kind in kinds if kind]).mean()

    _descend(others, loss)
    return warmth.exp().item()


def _loss(table: Table, comparison: Comparison, warmth: Tensor) -> Tensor:
    return functional.cross_entropy(table.logits(comparison) / warmth.exp(), table.truth, reduction="none")


def _descend(numbers: Sequence[torch.nn.Parameter], loss: Callable[[], Tensor]) -> None:
    """Adam; each number moves by shares of its size."""
    scales = [max(1.0, abs(number.item())) for number in numbers]
    optimizer = torch.optim.Adam(
        [{"params": [number], "lr": _RATE * scale} for number, scale in zip(numbers, scales, strict=True)]
    )
    for _ in range(_STEPS):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(), inputs=list(numbers))
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def threshold(logits: Tensor, truth: Tensor) -> float:
    """The probability below which a starter is not chosen; few that should be are refused."""
    best = torch.softmax(logits, -1)[:, : len(STARTERS)].amax(-1)
    known = best[truth < len(STARTERS)]
    return round(float(min(0.5, known.quantile(MOST_REFUSED).item())), 3)
