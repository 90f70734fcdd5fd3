"""Tells from trained Monarch weights in which order their digits are read: ``julia`` or ``torch``.

Under the causal mask some entries are multiplied by zero, whatever they are: in Julia's order those of ``L1[n, j, m]``
with j > n, in PyTorch's those of ``L2[m, i, j]`` with i > m. The loss never touches them, so they stay what they were
drawn as, a normal distribution of one width, shrunk by weight decay everywhere alike. The other set has been trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np

# In standard errors of untouched entries. A SymbioSLM of the released size lies at 64 after 1,400 steps of training.
_UNTOUCHED, _TRAINED = 5.0, 10.0


@dataclass(frozen=True)
class LayoutEvidence:
    """What the values say. A score is how far a set of entries is from untouched, in standard errors."""

    layout: str | None
    """``julia`` or ``torch``; None if the values do not decide."""
    julia_score: float
    torch_score: float

    def __str__(self) -> str:
        return f"scores: julia {self.julia_score:.1f}, torch {self.torch_score:.1f} standard errors from untouched"


def detect_layout(tensors: Mapping[str, np.ndarray]) -> LayoutEvidence:
    """From all Monarch matrices ``*.L1`` and ``*.L2`` of a model, each (p, p, p)."""
    l1 = np.stack([array for name, array in tensors.items() if name.endswith(".L1")]).astype(np.float64)
    l2 = np.stack([array for name, array in tensors.items() if name.endswith(".L2")]).astype(np.float64)
    side = l1.shape[1]
    first, second, third = np.indices((side, side, side))
    above = second > first
    # Under both orders, L1's entries above the diagonal that belong to offset 0 and L2's of the last block are dead.
    shared = [l1[:, above & (third == 0)], l2[:, above & (third == side - 1)]]
    julia = _distance([l1[:, above & (third > 0)], *shared])
    torch = _distance([l2[:, above & (third < side - 1)], *shared])
    return LayoutEvidence(_decide(julia, torch), julia, torch)


def _decide(julia: float, torch: float) -> str | None:
    if julia < _UNTOUCHED and torch > _TRAINED:
        return "julia"
    return "torch" if torch < _UNTOUCHED and julia > _TRAINED else None


def _distance(groups: list[np.ndarray]) -> float:
    """How far the rows of all groups together are from samples of one centred normal distribution.

    The larger of two: how unlike the rows' variances are (the score test of equal variances, which is chi-squared), and
    the kurtosis of all, each less its expectation and in its standard errors.
    """
    everything = np.concatenate([group.ravel() for group in groups])
    variance = float(np.mean(everything**2))
    if variance == 0:
        return 0.0
    rows = sum(len(group) for group in groups)
    unlike = 0.0
    for group in groups:
        unlike += group.shape[1] / 2 * float(np.sum((np.mean(group**2, axis=1) / variance - 1) ** 2))
    kurtosis = float(np.mean(everything**4)) / variance**2 - 3
    return max((unlike - (rows - 1)) / sqrt(2 * (rows - 1)), abs(kurtosis) / sqrt(24 / everything.size))
