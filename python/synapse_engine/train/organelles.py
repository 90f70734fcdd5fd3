"""The organelles and their gates as PyTorch modules. Knows no block and no model.

Each organelle mixes along time; a gate says how much of it each channel takes, whatever the input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from synapse_engine.train.symbio_config import ROPE_THETA

if TYPE_CHECKING:
    from synapse_engine.train.symbio_config import SymbioConfig

MIN_TEMPERATURE = 0.01


class CausalConv(nn.Module):
    """A short kernel for each channel; the last tap is lag 0."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 1, taps) / math.sqrt(taps))

    def lags(self) -> Tensor:
        """The kernel by lag, (channels, taps)."""
        return self.weight[:, 0].flip(-1)


class LongConv(nn.Module):
    """A kernel as long as the window for each channel; lag l stands at ``window - 1 - l``.

    The published initialisation decays with the storage index, so that the oldest lags start largest.
    """

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        decay = torch.exp(-0.1 * torch.arange(window))
        self.kernel = nn.Parameter(torch.randn(width, 1, window) / math.sqrt(window) * decay)

    def lags(self) -> Tensor:
        """The kernel by lag, (channels, window)."""
        return self.kernel[:, 0].flip(-1)


class MonarchHead(nn.Module):
    """Two factors (p, p, p) of one matrix over time; see ``monarch_matrix``."""

    def __init__(self, digit: int) -> None:
        super().__init__()
        self.L1 = nn.Parameter(torch.randn(digit, digit, digit) / math.sqrt(digit))
        self.L2 = nn.Parameter(torch.randn(digit, digit, digit) / math.sqrt(digit))


def rotary_angles(window: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (window, head_dim / 2)."""
    frequencies = ROPE_THETA ** -(torch.arange(0, head_dim, 2) / head_dim)
    angles = torch.outer(torch.arange(window).float(), frequencies)
    return angles.cos(), angles.sin()


class Attention(nn.Module):
    """Causal attention with rotary positions; the pairs are (i, i + head_dim / 2)."""

    def __init__(self, config: SymbioConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_attention_heads, config.head_dim
        inner = self.heads * self.head_dim
        self.wq = nn.Linear(config.hidden_size, inner, bias=False)
        self.wk = nn.Linear(config.hidden_size, inner, bias=False)
        self.wv = nn.Linear(config.hidden_size, inner, bias=False)
        self.wo = nn.Linear(inner, config.hidden_size, bias=False)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """(batch, time, width) to the same."""
        batch, time, _ = x.shape
        q, k, v = (
            project(x).view(batch, time, self.heads, self.head_dim).transpose(1, 2)
            for project in (self.wq, self.wk, self.wv)
        )
        q, k = self._rotate(q, rotary), self._rotate(k, rotary)
        mixed = _attend(q, k, v)
        result: Tensor = self.wo(mixed.transpose(1, 2).reshape(batch, time, -1))
        return result

    @staticmethod
    def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        cos, sin = (table[: x.shape[2]] for table in rotary)
        low, high = x.float().chunk(2, dim=-1)
        return torch.cat((low * cos - high * sin, low * sin + high * cos), dim=-1).to(x.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention in the type of q. Over these short windows it takes half the time of PyTorch's own on a CPU."""
    time = q.shape[2]
    future = torch.full((time, time), -math.inf, dtype=q.dtype, device=q.device).triu(1)
    with torch.autocast(q.device.type, enabled=False):
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + future
        return torch.softmax(scores, dim=-1) @ v


class SoftmaxGate(nn.Module):
    """A share for each organelle and channel; the shares of a channel add up to one."""

    def __init__(self, organelles: int, width: int, temperature: bool) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(organelles, width))
        self.temperature = nn.Parameter(torch.ones(1)) if temperature else None

    def forward(self) -> Tensor:
        """Shares, (organelles, channels)."""
        if self.temperature is None:
            return torch.softmax(self.logits, dim=0)
        return torch.softmax(self.logits / self.temperature.clamp(min=MIN_TEMPERATURE), dim=0)


class SigmoidGate(nn.Module):
    """One factor in (0, 1) for each channel, the same for every organelle."""

    def __init__(self, organelles: int, width: int) -> None:
        super().__init__()
        self.organelles = organelles
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self) -> Tensor:
        """Factors, (organelles, channels)."""
        return torch.sigmoid(self.weight).expand(self.organelles, -1)
