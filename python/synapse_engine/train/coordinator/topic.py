"""What texts are about, by their words: a sum over tokens, whatever their order.

The engine adds up in the same way (``rust/engine/src/swarm/topic.rs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.lessons import Lessons
    from synapse_engine.train.coordinator.reading import Reading

_EPOCHS, _BATCH, _RATE = 3, 512, 0.01
# An importance that a token has from nothing but being rare: p / (p + frequency) (Arora et al. 2017).
_RARE = 1e-3


def topics(table: Tensor, readings: Sequence[Reading]) -> Tensor:
    """Rows of ``table`` (tokens, width) to unit vectors (readings, width).

    What stands before a request counts as one vector of length 1, so that it decides where the request tells little.
    """
    asked = _sums(table, [reading.ids[reading.request :] for reading in readings])
    before = _sums(table, [reading.ids[: reading.request] for reading in readings])
    return functional.normalize(asked + functional.normalize(before, dim=-1), dim=-1)


def _sums(table: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """Token numbers to the sums of their rows: (texts, width)."""
    counts = torch.tensor([len(ids) for ids in texts])
    flat = torch.tensor([token for ids in texts for token in ids], dtype=torch.long)
    return functional.embedding_bag(flat, table, counts.cumsum(0) - counts, mode="sum")


def learn_table(tokenizer: Tokenizer, lessons: Lessons, first: Tensor) -> Tensor:
    """Rows (tokens, width) whose sums point where the lessons do, by Adam on the cosines, from unit rows."""
    random = torch.Generator().manual_seed(0)
    texts = [one.ids or [0] for one in tokenizer.encode_batch(lessons.texts, add_special_tokens=False)]
    counts = torch.bincount(torch.tensor([token for ids in texts for token in ids]), minlength=len(first)) + 1.0
    table = torch.nn.Parameter(first * (_RARE / (_RARE + counts / counts.sum()))[:, None])
    optimizer = torch.optim.Adam([table], lr=_RATE, betas=(0.9, 0.99))
    steps = _EPOCHS * (len(texts) // _BATCH)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / steps)
        rows = torch.randint(len(texts), (_BATCH,), generator=random).tolist()
        found = functional.normalize(_sums(table, [texts[row] for row in rows]), dim=-1)
        loss = 1 - (found * lessons.vectors[rows].float()).sum(-1).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return table.detach()
