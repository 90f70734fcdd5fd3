"""Whose kin a request is, by a linear model of the tokens and letters that follow each other. Knows no meanings.

It learns nothing but what each of them says for each label, and so stays right on much that no grammar has. The engine
finds the rows in the same way (``rust/engine/src/swarm/grams.rs``).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch

from synapse_engine.train.routing.requests import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.reading import Reading

ROWS = 1 << 17
# So many tokens in a row, and so many bytes.
TOKENS, BYTES = range(1, 4), range(3, 6)
# FNV-1a of 32 bits (Fowler, Noll, Vo).
_BASIS, _PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
_RATE, _SMALL = 0.5, 1e-2


class Grams:
    """Finds the rows of a reading."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        letters = _byte_of_letter()
        special = tokenizer.get_added_tokens_decoder()
        self._bytes = [
            b"" if token in special else bytes(letters[letter] for letter in tokenizer.id_to_token(token) or "")
            for token in range(tokenizer.get_vocab_size())
        ]

    def rows(self, reading: Reading, count: int = ROWS) -> list[int]:
        """Of all n-grams, each below ``count``; those of the context differ from those of the request."""
        found: list[int] = []
        for part, ids in ((1, reading.ids[reading.request :]), (2, reading.ids[: reading.request])):
            found += _rows(part, [token.to_bytes(3, "little") for token in ids], TOKENS)
            text = b"".join(self._bytes[token] for token in ids)
            found += _rows(part + 2, [bytes((byte,)) for byte in text], BYTES)
        return [state % count for state in found]

    def sums(self, table: Tensor, readings: Sequence[Reading]) -> tuple[Tensor, Tensor, Tensor]:
        """(readings, columns): the sum of all rows over the root of their number; with the rows and these numbers."""
        rows = [self.rows(reading, len(table)) for reading in readings]
        counts = torch.tensor([len(found) for found in rows])
        flat = torch.tensor([row for found in rows for row in found])
        total = torch.nn.functional.embedding_bag(flat, table, counts.cumsum(0) - counts, mode="sum")
        return total / counts.sqrt()[:, None], flat, counts

    def learn(self, batches: Iterable[tuple[list[Reading], Tensor]]) -> Tensor:
        """(ROWS, labels), by AdaGrad (Duchi et al. 2011) on the cross-entropy, one pass over readings and labels."""
        table, squares = torch.zeros(ROWS, len(LABELS)), torch.zeros(ROWS, len(LABELS))
        for readings, labels in batches:
            sums, flat, counts = self.sums(table, readings)
            error = torch.softmax(sums, dim=-1)
            error[torch.arange(len(labels)), labels] -= 1
            gradient = (error / counts.sqrt()[:, None]).repeat_interleave(counts, 0)
            squares.index_add_(0, flat, gradient.square())
            table.index_add_(0, flat, -_RATE * gradient / (squares[flat].sqrt() + _SMALL))
        return table


def _rows(part: int, items: Sequence[bytes], lengths: range) -> Iterator[int]:
    for start in range(len(items)):
        state = _mix(_BASIS, bytes((part,)))
        for length, item in enumerate(items[start : start + lengths[-1]], 1):
            state = _mix(state, item)
            if length in lengths:
                yield state ^ state >> 15


def _mix(state: int, content: bytes) -> int:
    for byte in content:
        state = (state ^ byte) * _PRIME & _MASK
    return state


@cache
def _byte_of_letter() -> dict[str, int]:
    """The alphabet of byte-level vocabularies: printable bytes stand for themselves, the others come after them all."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}
