"""The coordinator in PyTorch: an organelle model that embeds texts, and the few numbers that compare them.

A text becomes three unit vectors: what it wants, which is learnt from labels; what it is about, which is learnt from a
sentence model; and whose kin it is, which n-grams say (``grams.py``). A specialist's logit is the sum of three
similarities, each between the mean and the maximum over what it shows: ``near(x, k) = log(mean(exp(k * x))) / k`` of
the cosines. The examples alone count for what is wanted, and the description by a weight of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from synapse_engine.train.organelles import LongConv
from synapse_engine.train.routing.requests import LABELS
from synapse_engine.train.symbio import SymbioModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.train.coordinator.grams import Grams
    from synapse_engine.train.coordinator.reading import Reading
    from synapse_engine.train.symbio_config import SymbioConfig

# What a request wants, and what it is about.
WANT, ABOUT, KIN = 128, 128, len(LABELS)
# How much topic and kin count, and how much more the nearest text of a specialist does than the others. Not learnt:
# requests of the grammars do without, but others do not. ``calibrate`` chooses the scales.
ABOUT_SCALE, ABOUT_SHARPNESS = 12.0, 10.0
KIN_SCALE, KIN_SHARPNESS = 24.0, 5.0
# Texts of like length go through the encoder together; more of them need more padding, fewer need more passes.
_GROUP = 32
_WANT, _ABOUT, _KIN = slice(WANT), slice(WANT, WANT + ABOUT), slice(WANT + ABOUT, WANT + ABOUT + KIN)
_PARTS = 3


@dataclass(frozen=True)
class Shown:
    """What is known of specialists, as rows of ``(texts, embedding)``: which are whose, and which describe."""

    owner: Tensor  # (texts,) number of the specialist
    description: Tensor  # (texts,) whether it is one


class Kin:
    """What n-grams say of a reading."""

    def __init__(self, grams: Grams, table: Tensor) -> None:
        self._grams, self.table = grams, table

    def of(self, readings: Sequence[Reading]) -> Tensor:
        """Unit vectors (readings, KIN)."""
        return functional.normalize(self._grams.sums(self.table, readings)[0], dim=-1)


class Coordinator(nn.Module):
    """Embeds and compares."""

    def __init__(self, config: SymbioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SymbioModel(config)
        _near_first(self.encoder)
        self.query = nn.Parameter(torch.zeros(config.hidden_size))
        self.project = nn.Linear(3 * config.hidden_size, WANT)
        self.about = nn.Linear(3 * config.hidden_size, ABOUT)
        self.log_scale = nn.Parameter(torch.tensor(2.5))
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))
        self.description_weight = nn.Parameter(torch.tensor(0.3))
        self.none_bias = nn.Parameter(torch.tensor(2.0))
        self.none_slope = nn.Parameter(torch.zeros(WANT))
        self.about_scale, self.about_sharpness = ABOUT_SCALE, ABOUT_SHARPNESS
        self.kin_scale, self.kin_sharpness = KIN_SCALE, KIN_SHARPNESS
        self.kin: Kin | None = None  # learnt on its own; without it all are equally kin

    def embed(self, readings: Sequence[Reading]) -> Tensor:
        """Unit vectors (texts, WANT + ABOUT + KIN), in order: all three, each of a third of the square length."""
        order = sorted(range(len(readings)), key=lambda at: len(readings[at].ids))
        groups = [order[at : at + _GROUP] for at in range(0, len(order), _GROUP)]
        found = torch.cat([self._group([readings[at] for at in group]) for group in groups])
        places = torch.empty(len(order), dtype=torch.long)
        places[torch.tensor(order)] = torch.arange(len(order))
        return found[places]

    def _group(self, readings: Sequence[Reading]) -> Tensor:
        longest = max(len(reading.ids) for reading in readings)
        ids = torch.tensor([[*reading.ids, *[0] * (longest - len(reading.ids))] for reading in readings])
        ends = torch.tensor([len(reading.ids) for reading in readings])[:, None]
        begins = torch.tensor([reading.request for reading in readings])[:, None]
        at = torch.arange(longest)
        wants, about = self.pool(self.encoder.body(ids), (at >= begins) & (at < ends), at < begins)
        kin = torch.zeros(len(readings), KIN) if self.kin is None else self.kin.of(readings)
        return torch.cat([wants, about, kin], dim=-1) / math.sqrt(_PARTS)

    def pool(self, hidden: Tensor, request: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, time, width) and two masks (batch, time) to what is wanted and what it is about.

        Of the request what matters most by a learned query, and the maximum; of the context the mean.
        """
        hidden = hidden.float()
        matters = torch.softmax((hidden @ self.query).masked_fill(~request, -torch.inf), dim=-1)
        attended = (hidden * matters[..., None]).sum(1)
        most = hidden.masked_fill(~request[..., None], -torch.inf).amax(1)
        pooled = torch.cat([attended, most, _mean(hidden, context)], dim=-1)
        return functional.normalize(self.project(pooled), dim=-1), functional.normalize(self.about(pooled), dim=-1)

    def logits(self, requests: Tensor, shown: Tensor, about: Shown, count: int) -> Tensor:
        """Requests and shown texts (.., embedding) to logits (requests, specialists + 1); the last column is none."""
        wanted, topic, kin = self.parts(requests, shown, about, count)
        return wanted + self.about_scale * topic + self.kin_scale * kin

    def parts(self, requests: Tensor, shown: Tensor, about: Shown, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """What adds up to the logits: of what is wanted, and without their scales of topic and kin."""
        wants, topics, kins = (_PARTS * requests[:, part] @ shown[:, part].T for part in (_WANT, _ABOUT, _KIN))
        everything = torch.ones_like(about.description)
        described = _mean_of_owner(wants, about.owner, about.description, count)
        near = _near(wants, self.log_sharpness.exp(), about.owner, ~about.description, count)
        # No gradient: what texts are about is learnt from the sentence model alone.
        topic = _near(topics.detach(), torch.tensor(self.about_sharpness), about.owner, everything, count)
        kin = _near(kins, torch.tensor(self.kin_sharpness), about.owner, everything, count)
        root = math.sqrt(_PARTS)
        none = self.none_bias + root * requests[:, _WANT] @ self.none_slope
        wanted = self.log_scale.exp() * (near + self.description_weight * described)
        return (
            torch.cat([wanted, none[:, None]], dim=-1),
            functional.pad(topic, (0, 1)),
            torch.cat([kin, root * requests[:, -1:]], dim=-1),  # the last label is none
        )

    def numbers(self) -> dict[str, Any]:
        """The numbers of the comparison, for JSON."""
        return {
            "scale": self.log_scale.exp().item(),
            "sharpness": self.log_sharpness.exp().item(),
            "description_weight": self.description_weight.item(),
            "none_bias": self.none_bias.item(),
            "about_scale": self.about_scale,
            "about_sharpness": self.about_sharpness,
            "kin_scale": self.kin_scale,
            "kin_sharpness": self.kin_sharpness,
        }


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


def _near(cosines: Tensor, sharpness: Tensor, owner: Tensor, chosen: Tensor, count: int) -> Tensor:
    """(requests, texts) to (requests, specialists): between the mean and the maximum over its chosen texts."""
    raised = _mean_of_owner((sharpness * (cosines - 1)).exp(), owner, chosen, count)
    return 1 + raised.clamp_min(1e-30).log() / sharpness


def _mean_of_owner(values: Tensor, owner: Tensor, chosen: Tensor, count: int) -> Tensor:
    """(requests, texts) to (requests, specialists): the mean over a specialist's chosen texts."""
    member = functional.one_hot(owner, count).to(values.dtype) * chosen[:, None]
    result: Tensor = values @ (member / member.sum(0).clamp_min(1))
    return result
