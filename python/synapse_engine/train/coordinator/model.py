"""The coordinator in PyTorch: an organelle model that embeds texts, and the few numbers that compare them.

A request ``u`` and a specialist's description ``d`` and examples ``e`` are unit vectors. Its logit is
``scale * (log(mean(exp(sharpness * u.e))) / sharpness + weight * u.d)``; that of none is ``bias + slope.u``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from synapse_engine.train.organelles import LongConv
from synapse_engine.train.symbio import SymbioModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.train.coordinator.reading import Reading
    from synapse_engine.train.symbio_config import SymbioConfig

EMBEDDING = 128
# Texts of like length go through the encoder together; more of them need more padding, fewer need more passes.
_GROUP = 32


@dataclass(frozen=True)
class Shown:
    """What is known of specialists, as rows of ``(texts, embedding)``: which are whose, and which describe."""

    owner: Tensor  # (texts,) number of the specialist
    description: Tensor  # (texts,) whether it is one


class Coordinator(nn.Module):
    """Embeds and compares."""

    def __init__(self, config: SymbioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SymbioModel(config)
        _near_first(self.encoder)
        self.query = nn.Parameter(torch.zeros(config.hidden_size))
        self.project = nn.Linear(3 * config.hidden_size, EMBEDDING)
        self.log_scale = nn.Parameter(torch.tensor(2.5))
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))
        self.description_weight = nn.Parameter(torch.tensor(0.3))
        self.none_bias = nn.Parameter(torch.tensor(2.0))
        self.none_slope = nn.Parameter(torch.zeros(EMBEDDING))

    def embed(self, readings: Sequence[Reading]) -> Tensor:
        """Unit vectors (texts, embedding), in order."""
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
        return self.pool(self.encoder.body(ids), (at >= begins) & (at < ends), at < begins)

    def pool(self, hidden: Tensor, request: Tensor, context: Tensor) -> Tensor:
        """Hidden states (batch, time, width) and two masks (batch, time) to unit vectors.

        Of the request what matters most by a learned query, and the maximum; of the context the mean.
        """
        hidden = hidden.float()
        matters = torch.softmax((hidden @ self.query).masked_fill(~request, -torch.inf), dim=-1)
        attended = (hidden * matters[..., None]).sum(1)
        most = hidden.masked_fill(~request[..., None], -torch.inf).amax(1)
        pooled = torch.cat([attended, most, _mean(hidden, context)], dim=-1)
        return functional.normalize(self.project(pooled), dim=-1)

    def logits(self, requests: Tensor, shown: Tensor, about: Shown, count: int) -> Tensor:
        """Requests and shown texts (.., embedding) to logits (requests, specialists + 1); the last column is none."""
        cosines = requests @ shown.T
        sharpness = self.log_sharpness.exp()
        raised = (sharpness * (cosines - 1)).exp()
        examples = _mean_of_owner(raised, about.owner, ~about.description, count)
        described = _mean_of_owner(cosines, about.owner, about.description, count)
        near = 1 + examples.clamp_min(1e-30).log() / sharpness
        none = self.none_bias + requests @ self.none_slope
        scores = self.log_scale.exp() * (near + self.description_weight * described)
        return torch.cat([scores, none[:, None]], dim=-1)

    def numbers(self) -> dict[str, Any]:
        """The numbers of the comparison, for JSON."""
        return {
            "scale": self.log_scale.exp().item(),
            "sharpness": self.log_sharpness.exp().item(),
            "description_weight": self.description_weight.item(),
            "none_bias": self.none_bias.item(),
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


def _mean_of_owner(values: Tensor, owner: Tensor, chosen: Tensor, count: int) -> Tensor:
    """(requests, texts) to (requests, specialists): the mean over a specialist's chosen texts."""
    member = functional.one_hot(owner, count).to(values.dtype) * chosen[:, None]
    result: Tensor = values @ (member / member.sum(0).clamp_min(1))
    return result
