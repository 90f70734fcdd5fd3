"""Learns what tokens add to topics, from texts that a sentence model has read and from written specialists."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from synapse_engine.train.coordinator.lessons import guests
from synapse_engine.train.coordinator.model import Comparison, Shown
from synapse_engine.train.coordinator.reading import REQUEST_TOKENS
from synapse_engine.train.coordinator.topic import sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from synapse_engine.train.coordinator.lessons import Guest, Lessons
    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.routing.written import Field, WrittenSpecialist

# An importance that a token has from nothing but being rare: p / (p + frequency) (Arora et al. 2017).
_RARE = 1e-3
# Requests of a guest; the share of their tokens that is lost; what their fit is multiplied by.
_ASKED, _LOST, _SCALE = 2, 0.2, 5.0


class Learner:
    """Learns the rows of a table: their sums should point where lessons do, and find specialists for their requests."""

    def __init__(self, tokenizer: Tokenizer, options: Options) -> None:
        self._tokenizer, self._options = tokenizer, options
        self._comparison = Comparison()

    def learn(
        self, first: Tensor, lessons: Lessons, specialists: Sequence[WrittenSpecialist], subjects: Sequence[Field]
    ) -> Tensor:
        """By Adam, from unit rows (tokens, width); there may be no lessons."""
        options, random = self._options, Random(f"{self._options.seed}/topics")  # noqa: S311
        texts = self._read(lessons.texts)
        counts = torch.bincount(torch.tensor([token for ids in texts for token in ids] or [0]), minlength=len(first))
        share = (counts + 1) / (counts.sum() + len(first))
        table = torch.nn.Parameter(first * (_RARE / (_RARE + share))[:, None])
        optimizer = torch.optim.Adam([table], lr=options.topic_rate, betas=(0.9, 0.99))
        for step in range(options.topic_steps):
            for group in optimizer.param_groups:
                group["lr"] = options.topic_rate * (1 - step / options.topic_steps)
            here = list(guests(specialists, subjects, options.guests, _ASKED, random))
            loss = options.guest_weight * self._found(table, here, random)
            if texts:
                rows = [random.randrange(len(texts)) for _ in range(options.lessons_per_step)]
                found = functional.normalize(sums(table, [texts[row] for row in rows]), dim=-1)
                loss = loss + 1 - (found * lessons.vectors[rows].float()).sum(-1).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        return table.detach()

    def _found(self, table: Tensor, here: Sequence[Guest], random: Random) -> Tensor:
        """Cross-entropy over the guests, of requests that lack some of their tokens."""
        shown = [text for guest in here for text in (guest.description, *guest.examples)]
        owner = torch.tensor([at for at, guest in enumerate(here) for _ in (0, *guest.examples)])
        described = torch.tensor([first for guest in here for first in (True, *[False] * len(guest.examples))])
        asked = [_some(ids, random) for ids in self._read([text for guest in here for text in guest.asked])]
        wanted = torch.tensor([at for at, guest in enumerate(here) for _ in guest.asked])
        fits = self._comparison.topic(
            functional.normalize(sums(table, asked), dim=-1),
            functional.normalize(sums(table, self._read(shown)), dim=-1),
            Shown(owner, described, len(here)),
        )
        return functional.cross_entropy(_SCALE * fits, wanted, label_smoothing=self._options.smoothing)

    def _read(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [one.ids[:REQUEST_TOKENS] or [0] for one in found]


def _some(ids: Sequence[int], random: Random) -> Sequence[int]:
    """Most of them."""
    return [token for token in ids if random.random() >= _LOST] or ids
