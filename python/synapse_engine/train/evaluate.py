"""How well a model predicts held-out text, with a confidence interval. Changes nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Score:
    """Mean loss in nats for each token; the interval regards windows as independent samples."""

    loss: float
    margin: float  # half of the 95 % interval of the loss
    windows: int

    @property
    def perplexity(self) -> float:
        """``exp(loss)``."""
        return math.exp(self.loss)

    @property
    def interval(self) -> tuple[float, float]:
        """Of the perplexity, 95 %."""
        return math.exp(self.loss - self.margin), math.exp(self.loss + self.margin)


def window_losses(forward: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> Tensor:
    """Mean loss of each window, (windows)."""
    losses = []
    with torch.inference_mode():
        for batch in batches:
            logits = forward(batch[:, :-1]).float()
            losses.append(functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none").mean(1))
    return torch.cat(losses)


def score(losses: Tensor) -> Score:
    """Mean and interval of the losses of windows."""
    count = len(losses)
    margin = NORMAL_95 * losses.double().std().item() / math.sqrt(count) if count > 1 else math.inf
    return Score(losses.double().mean().item(), margin, count)
