"""The coordinator in PyTorch: what it makes of a text, and how it compares one with what specialists show.

Of a text it knows what it wants, which decides on its *family*, one of the labels of generated requests; and what it is
about. The family is learnt from labels, by organelles (``Coordinator``) and by n-grams (``grams.py``); what a text is
about is a sum over its tokens (``topic.py``), learnt before. A specialist serves the families of its examples,
and fits a request of these as well as its topic does:
``near(cosines to its examples) + w * cosine to its description`` with ``near(x) = log(mean(exp(k * x))) / k``. A share
of how well its own examples fit it is taken off: they are near each other if it is for little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from synapse_engine.train.coordinator.reading import MARKERS
from synapse_engine.train.coordinator.topic import topics
from synapse_engine.train.organelles import LongConv
from synapse_engine.train.routing.requests import LABELS
from synapse_engine.train.symbio import SymbioModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.train.coordinator.grams import Grams
    from synapse_engine.train.coordinator.reading import Reading
    from synapse_engine.train.symbio_config import SymbioConfig

WANT, FAMILIES = 128, len(LABELS)
# A probability that anything has.
CHANCE = 1e-4
# Texts of like length go through the encoder together; more of them need more padding, fewer need more passes.
_GROUP = 64
_LEAST = 1e-30
# Of the numbers of a token.
_SIZE = 0.5
# The number format of large tables: 8 bits, 4 of them an exponent.
STORED = torch.float8_e4m3fn


class Embedded(NamedTuple):
    """What the encoder knows of texts."""

    want: Tensor
    """Unit vectors (texts, WANT)."""
    about: Tensor
    """Unit vectors (texts, width)."""
    opinion: Tensor
    """(texts, FAMILIES), logits of the encoder alone."""
    kin: Tensor
    """(texts, FAMILIES), logits of the n-grams alone."""

    def vector(self) -> Tensor:
        """(texts, WANT + width), of length 1."""
        return functional.normalize(torch.cat([self.want, self.about], dim=-1), dim=-1)

    def rows(self, chosen: Tensor | slice) -> Embedded:
        """Some of the texts."""
        return Embedded(*(part[chosen] for part in self))


@dataclass(frozen=True)
class Shown:
    """What is known of specialists, as rows of texts: which are whose, and which describe."""

    owner: Tensor  # (texts,) number of the specialist
    description: Tensor  # (texts,) whether it is one
    count: int
    """Specialists."""


class Kin:
    """What n-grams say of a reading."""

    def __init__(self, grams: Grams, table: Tensor) -> None:
        self._grams, self.table = grams, table

    def of(self, readings: Sequence[Reading]) -> Tensor:
        """Logits (readings, FAMILIES)."""
        return self._grams.sums(self.table, readings)[0]


class Comparison(nn.Module):
    """The numbers that make scores of what was embedded. ``calibrate`` finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.about_sharpness = nn.Parameter(torch.tensor(3.0))
        self.description_weight = nn.Parameter(torch.tensor(0.6))
        self.cohesion_weight = nn.Parameter(torch.tensor(0.2))
        self.want_scale = nn.Parameter(torch.tensor(1.0))
        self.kin_scale = nn.Parameter(torch.tensor(0.0))
        self.none_shift = nn.Parameter(torch.tensor(0.0))
        self.about_scale = nn.Parameter(torch.tensor(10.0))
        self.none_bias = nn.Parameter(torch.tensor(0.0))

    def families(self, texts: Embedded) -> Tensor:
        """Probabilities (texts, FAMILIES)."""
        logits = self.want_scale * texts.opinion + self.kin_scale * texts.kin
        return torch.softmax(logits + self.none_shift * functional.one_hot(torch.tensor(FAMILIES - 1), FAMILIES), -1)

    def topic(self, about: Tensor, shown: Tensor, by: Shown) -> Tensor:
        """(texts, width) and (shown texts, width) to how well topics fit: (texts, specialists)."""
        cosines = about @ shown.T
        return self._near(cosines, by) + self.description_weight * _mean_of_owner(cosines, by, by.description)

    def logits(self, requests: Embedded, shown: Embedded, by: Shown) -> Tensor:
        """(requests, specialists + 1), not calibrated; the last column is nobody."""
        asked = self.families(requests)
        serves = _mean_of_owner(self.families(shown).T, by, ~by.description).T
        topic = self.topic(requests.about, shown.about, by) - self.cohesion_weight * self.cohesion(shown.about, by)
        unserved = asked @ (1 - serves).prod(0)
        fits = (asked @ serves.T + CHANCE).log() + self.about_scale * topic
        return torch.cat([fits, ((unserved + CHANCE).log() + self.none_bias)[:, None]], dim=-1)

    def cohesion(self, shown: Tensor, by: Shown) -> Tensor:
        """How well a specialist's examples fit its description and its other examples, in the mean: (specialists,).

        An only example is as near as its description.
        """
        cosines = shown @ shown.T
        own = by.owner[:, None] == by.owner
        described = (cosines * (own & by.description)).sum(-1)
        others = own & ~by.description & ~torch.eye(len(shown), dtype=torch.bool)
        raised = ((self.about_sharpness * (cosines - 1)).exp() * others).sum(-1) / others.sum(-1).clamp_min(1)
        near = torch.where(others.any(-1), self._lowered(raised), described)
        return _mean_of_owner((near + self.description_weight * described)[None], by, ~by.description)[0]

    def _near(self, cosines: Tensor, by: Shown) -> Tensor:
        """Between the mean and the maximum over a specialist's examples."""
        raised = _mean_of_owner((self.about_sharpness * (cosines - 1)).exp(), by, ~by.description)
        return self._lowered(raised)

    def _lowered(self, raised: Tensor) -> Tensor:
        return 1 + raised.clamp_min(_LEAST).log() / self.about_sharpness


class Coordinator(nn.Module):
    """Embeds and compares."""

    def __init__(self, config: SymbioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SymbioModel(config)
        _near_first(self.encoder)
        self.query = nn.Parameter(torch.zeros(config.hidden_size))
        self.project = nn.Linear(3 * config.hidden_size, WANT)
        self.families = nn.Linear(WANT, FAMILIES)
        self.encoder.tok_emb.weight.requires_grad_(False)
        # How much each token tells of the topic.
        self.telling = nn.Parameter(torch.full((config.vocab_size,), config.hidden_size**-0.5), requires_grad=False)
        self.comparison = Comparison()
        self.kin: Kin | None = None  # learnt on its own
        with torch.no_grad():
            self.families.weight.mul_(WANT**0.5)

    @torch.no_grad()
    def begin(self, topics: Tensor) -> None:
        """Takes what tokens add to topics, (tokens, width): directions for what they mean, lengths for what they tell.

        The encoder learns to read them and leaves them as they are: words it never sees stay near those it does.
        They are rounded as ``export`` will.
        """
        lengths = topics.norm(dim=-1, keepdim=True).clamp_min(_LEAST)
        size = _SIZE * topics.shape[1] ** 0.5
        self.encoder.tok_emb.weight.copy_((topics / lengths * size).to(STORED).float())
        self.telling.copy_(lengths.squeeze(1) / size)
        self.telling[: len(MARKERS)] = 0

    def embed(self, readings: Sequence[Reading]) -> Embedded:
        """All of them, in order."""
        order = sorted(range(len(readings)), key=lambda at: len(readings[at].ids))
        groups = [order[at : at + _GROUP] for at in range(0, len(order), _GROUP)]
        found = [self._group([readings[at] for at in group]) for group in groups]
        places = torch.empty(len(order), dtype=torch.long)
        places[torch.tensor(order)] = torch.arange(len(order))
        return Embedded(*(torch.cat(parts)[places] for parts in zip(*found, strict=True)))

    def _group(self, readings: Sequence[Reading]) -> Embedded:
        longest = max(len(reading.ids) for reading in readings)
        ids = torch.tensor([[*reading.ids, *[0] * (longest - len(reading.ids))] for reading in readings])
        ends = torch.tensor([len(reading.ids) for reading in readings])[:, None]
        begins = torch.tensor([reading.request for reading in readings])[:, None]
        at = torch.arange(longest)
        pooled = self.pool(self.encoder.body(ids), (at >= begins) & (at < ends), at < begins)
        want = functional.normalize(self.project(pooled).float(), dim=-1)
        about = topics(self.encoder.tok_emb.weight * self.telling[:, None], readings)
        kin = torch.zeros(len(readings), FAMILIES) if self.kin is None else self.kin.of(readings)
        return Embedded(want, about, self.families(want).float(), kin)

    def pool(self, hidden: Tensor, request: Tensor, context: Tensor) -> Tensor:
        """Hidden states (batch, time, width) and two masks (batch, time) to (batch, 3 * width).

        Of the request what matters most by a learned query, and the maximum; of the context the mean.
        """
        hidden = hidden.float()
        matters = torch.softmax((hidden @ self.query).masked_fill(~request, -torch.inf), dim=-1)
        attended = (hidden * matters[..., None]).sum(1)
        most = hidden.masked_fill(~request[..., None], -torch.inf).amax(1)
        return torch.cat([attended, most, _mean(hidden, context)], dim=-1)


def _near_first(encoder: SymbioModel) -> None:
    """Long convolutions start largest at the newest lags, not at the oldest: requests are shorter than the window."""
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, LongConv):
                module.kernel.copy_(module.kernel.flip(-1))


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    chosen = mask[..., None].to(hidden.dtype)
    result: Tensor = (hidden * chosen).sum(1) / chosen.sum(1).clamp_min(1)
    return result


def _mean_of_owner(values: Tensor, by: Shown, chosen: Tensor) -> Tensor:
    """(.., texts) to (.., specialists): the mean over a specialist's chosen texts."""
    member = functional.one_hot(by.owner, by.count).to(values.dtype) * chosen[:, None]
    result: Tensor = values @ (member / member.sum(0).clamp_min(1))
    return result
