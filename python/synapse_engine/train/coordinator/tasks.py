"""Batches to learn from: requests with their labels.

Row ``i`` of a seed is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from synapse_engine.train.coordinator.model import Shown
from synapse_engine.train.coordinator.reading import Reading, read_description, read_request
from synapse_engine.train.routing.requests import LABELS, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tokenizers import Tokenizer

    from synapse_engine.specialists.reading import Specialist
    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.routing.generate import Generator
    from synapse_engine.train.routing.variety import HeldOut
    from synapse_engine.train.routing.written import WrittenSpecialist

# These shares of requests were written by hand, as such and for specialists; the others are generated.
SHARE_WRITTEN, SHARE_SERVED = 0.3, 0.1
# Of a request so many tokens are lost, at most, and so many words become similar ones, so that no single one decides.
MOST_LOST, MOST_SWAPPED = (0.0, 0.2, 0.4), (0.0, 0.0, 0.1, 0.2)
_TOGETHER = 64


@dataclass(frozen=True)
class Batch:
    """What one step learns from."""

    requests: list[Reading]
    labels: Tensor
    """(requests,): numbers of ``LABELS``."""


class Tasks:
    """Makes batches."""

    def __init__(
        self,
        options: Options,
        tokenizer: Tokenizer,
        generator: Generator,
        written: Sequence[Request],
        specialists: Sequence[WrittenSpecialist],
        near: Mapping[int, Sequence[int]],
        apart: HeldOut | None = None,
    ) -> None:
        self._options, self._tokenizer, self._generator = options, tokenizer, generator
        self._near, self._apart = near, apart
        self._written: dict[str, list[Request]] = {label: [] for label in LABELS}
        for request in written:
            if self._allowed(request):
                self._written[request.label].append(request)
        self._served: dict[str | None, list[Request]] = {}
        for one in specialists:
            rows = [Request((text,), one.family, "written by hand") for text in one.texts if one.family]
            self._served.setdefault(one.family, []).extend(rows)

    def batch(self, number: int) -> Batch:
        """Batch ``number``; nothing else decides what is in it."""
        random = Random(f"{self._options.seed}/batch/{number}")  # noqa: S311
        size = self._options.batch_size
        rows = self._rows(self._generator, range(number * size, (number + 1) * size), random)
        return Batch(
            [self._blurred(read_request(self._tokenizer, turns_of(row)), random) for row in rows],
            torch.tensor([LABELS.index(row.label) for row in rows]),
        )

    def requests(self, generator: Generator, count: int) -> Iterator[tuple[list[Reading], Tensor]]:
        """Requests and the numbers of their labels, batch by batch, as they are."""
        random = Random(f"{self._options.seed}/requests")  # noqa: S311
        for start in range(0, count, _TOGETHER):
            rows = self._rows(generator, range(start, start + _TOGETHER), random)
            readings = [read_request(self._tokenizer, turns_of(row)) for row in rows]
            yield readings, torch.tensor([LABELS.index(row.label) for row in rows])

    def _rows(self, generator: Generator, numbers: range, random: Random) -> list[Request]:
        rows = [row for row in map(generator.row, numbers) if self._allowed(row)]
        return [self._or_written(row, random) for row in rows]

    def _or_written(self, row: Request, random: Random) -> Request:
        """The row, or one that somebody wrote for the same label."""
        drawn = random.random()
        written = self._written[row.label] if drawn < SHARE_WRITTEN else []
        if SHARE_WRITTEN <= drawn < SHARE_WRITTEN + SHARE_SERVED:
            written = self._served.get(row.label, [])
        return random.choice(written or [row])

    def _allowed(self, row: Request) -> bool:
        return self._apart is None or (self._apart.same(row.text) is None and not self._apart.near(row.text))

    def _blurred(self, reading: Reading, random: Random) -> Reading:
        """Without some tokens, and with other words of like meaning."""
        lost, swapped = random.choice(MOST_LOST), random.choice(MOST_SWAPPED)
        begin = reading.request + 1
        said = [self._swap(token, random) if random.random() < swapped else token for token in reading.ids[begin:]]
        if len(said) > 3:
            said = [token for token in said if random.random() >= lost]
        return Reading(reading.ids[:begin] + said, reading.request)

    def _swap(self, token: int, random: Random) -> int:
        return random.choice(self._near.get(token, (token,)))


def turns_of(row: Request) -> list[tuple[str, str]]:
    """The turns of a request with their roles."""
    return [(("user", "assistant")[at % 2], text) for at, text in enumerate(row.turns)]


def starters_shown(tokenizer: Tokenizer, specialists: Sequence[Specialist]) -> tuple[list[Reading], Shown]:
    """Everything that the starters show."""
    return read_shown(tokenizer, [(one.description, one.examples) for one in specialists])


def read_shown(tokenizer: Tokenizer, shown: Sequence[tuple[str, Sequence[str]]]) -> tuple[list[Reading], Shown]:
    """Descriptions and examples, one specialist after the other."""
    texts, owners, described = [], [], []
    for owner, (description, examples) in enumerate(shown):
        texts.append(read_description(tokenizer, description))
        texts += [read_request(tokenizer, [("user", example)]) for example in examples]
        owners += [owner] * (len(examples) + 1)
        described += [True] + [False] * len(examples)
    numbers, described_too = torch.tensor(owners, dtype=torch.long), torch.tensor(described, dtype=torch.bool)
    return texts, Shown(numbers, described_too, len(shown))
