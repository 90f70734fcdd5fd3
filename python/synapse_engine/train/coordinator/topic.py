"""What texts are about, by their words: a sum over tokens, whatever their order.

The engine adds up in the same way (``rust/engine/src/swarm/topic.rs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from synapse_engine.train.coordinator.reading import Reading


def topics(table: Tensor, readings: Sequence[Reading]) -> Tensor:
    """Rows of ``table`` (tokens, width) to unit vectors (readings, width).

    What stands before a request counts as one vector of length 1, so that it decides where the request tells little.
    """
    asked = sums(table, [reading.ids[reading.request :] for reading in readings])
    before = sums(table, [reading.ids[: reading.request] for reading in readings])
    return functional.normalize(asked + functional.normalize(before, dim=-1), dim=-1)


def sums(table: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """Token numbers to the sums of their rows: (texts, width)."""
    counts = torch.tensor([len(ids) for ids in texts])
    flat = torch.tensor([token for ids in texts for token in ids], dtype=torch.long)
    return functional.embedding_bag(flat, table, counts.cumsum(0) - counts, mode="sum")
