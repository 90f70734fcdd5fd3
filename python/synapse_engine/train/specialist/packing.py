"""Packs short conversations into rows of one length, in an order that the step number alone decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from synapse_engine.train.specialist.encoding import Encoded

_OPEN = 8
"""Rows that still take conversations. More waste fewer tokens and change the order more."""


@dataclass(frozen=True)
class Rows:
    """Packed conversations; all (rows, window)."""

    tokens: Tensor
    positions: Tensor
    """Counted from the start of each conversation."""
    conversations: Tensor
    """The number of each token's conversation, counted over all rows; padding is -1."""
    learned: Tensor
    """Whether the token is to be predicted from those before."""

    def mask(self) -> Tensor:
        """What each token attends to, (rows, 1, window, window): what came before in its own conversation."""
        same = self.conversations[:, :, None] == self.conversations[:, None, :]
        return (same & torch.ones_like(same[0]).tril())[:, None]

    def split(self, rows: int) -> list[Rows]:
        """Parts of so many rows."""
        parts = (torch.split(t, rows) for t in (self.tokens, self.positions, self.conversations, self.learned))
        return [Rows(*part) for part in zip(*parts, strict=True)]

    def to(self, device: torch.device) -> Rows:
        """On another device."""
        return Rows(*(t.to(device) for t in (self.tokens, self.positions, self.conversations, self.learned)))


def assign(lengths: Iterable[int], window: int) -> list[list[int]]:
    """The numbers of the conversations in each row: each goes to the first open row that has room."""
    done: list[list[int]] = []
    open_rows: list[tuple[list[int], int]] = []
    for number, length in enumerate(lengths):
        for at, (row, left) in enumerate(open_rows):
            if length <= left:
                row.append(number)
                open_rows[at] = (row, left - length)
                break
        else:
            if len(open_rows) == _OPEN:
                done.append(open_rows.pop(0)[0])
            open_rows.append(([number], window - length))
    return done + [row for row, _ in open_rows]


def lay_out(conversations: Sequence[Encoded], rows: Sequence[Sequence[int]], window: int) -> Rows:
    """The rows as tensors. A conversation's first token is predicted by nothing, so it is never learned."""
    shape = (len(rows), window)
    tokens, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    owners, learned = np.full(shape, -1, np.int64), np.zeros(shape, np.bool_)
    for row, numbers in enumerate(rows):
        start = 0
        for number in numbers:
            one = conversations[number]
            place = slice(start, start + len(one.tokens))
            tokens[row, place], positions[row, place] = one.tokens, np.arange(len(one.tokens))
            owners[row, place], learned[row, place] = number, one.learned
            learned[row, start] = False
            start = place.stop
    return Rows(*map(torch.from_numpy, (tokens, positions, owners, learned)))


class Stream:
    """An endless stream of rows; each epoch shuffles and packs anew."""

    def __init__(self, conversations: Sequence[Encoded], window: int, seed: int) -> None:
        self._conversations, self._window, self._seed = conversations, window, seed
        self._epochs: list[list[list[int]]] = []

    def epoch(self, number: int) -> list[list[int]]:
        """The rows of an epoch, as numbers of conversations."""
        while len(self._epochs) <= number:
            order = np.random.default_rng((self._seed, len(self._epochs))).permutation(len(self._conversations))
            rows = assign((len(self._conversations[at].tokens) for at in order), self._window)
            self._epochs.append([[int(order[at]) for at in row] for row in rows])
        return self._epochs[number]

    def batch(self, first: int, count: int) -> Rows:
        """Rows number ``first`` and following."""
        chosen: list[list[int]] = []
        epoch = 0
        while len(chosen) < count:
            rows = self.epoch(epoch)
            chosen += rows[first : first + count - len(chosen)]
            first = max(0, first - len(rows))
            epoch += 1
        return lay_out(self._conversations, chosen, self._window)
