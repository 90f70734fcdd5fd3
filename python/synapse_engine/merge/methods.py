"""How the changes of several sources become one. Works on blocks of numbers; knows no files.

TIES: Yadav et al. 2023, "TIES-Merging"; linear: task arithmetic, Ilharco et al. 2023; DARE: Yu et al. 2024, "Language
models are super Mario".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

import numpy as np

from .formats import Floats
from .sources import Source
from .trim import Cut, find_cut, kept
from .weights import Tensor, row_blocks

MethodName = Literal["ties", "linear", "dare", "dare-ties"]
Prune = Callable[[Floats], Floats]


class Method(Protocol):
    """One way to merge."""

    def pruner(self, index: int, source: Source, tensor: Tensor) -> Prune:
        """What keeps a part of a source's change of a tensor; is given all blocks of the tensor in turn."""

    def combine(self, deltas: Sequence[Floats]) -> Floats:
        """One change of several, of the same shape."""


@dataclass
class Ties:
    """Trims each source to its largest changes, elects a sign for each weight and averages those that agree with it."""

    trim: float
    """The share of a source's changes that goes."""
    cuts: Sequence[Cut] | None = None
    """Of each source, found over all that it changes, as published; None: found for each tensor by itself."""

    def pruner(self, index: int, source: Source, tensor: Tensor) -> Prune:
        """Keeps the largest."""
        return cut_of(source, [tensor], self.trim) if self.cuts is None else self.cuts[index]

    def combine(self, deltas: Sequence[Floats]) -> Floats:
        """Elects and averages."""
        return disjoint_mean(deltas)


@dataclass
class Linear:
    """Adds up."""

    def pruner(self, index: int, source: Source, tensor: Tensor) -> Prune:
        """Keeps all."""
        del index, source, tensor
        return lambda delta: delta

    def combine(self, deltas: Sequence[Floats]) -> Floats:
        """The sum."""
        return total(deltas)


@dataclass
class Dare:
    """Drops changes at random and makes the others larger, so that the mean stays."""

    drop: float
    """The probability of each change to go."""
    elect: bool
    """Elect signs as TIES does, instead of adding up."""
    seed: int

    def pruner(self, index: int, source: Source, tensor: Tensor) -> Prune:
        """Drops; which ones depends on the seed, the tensor's name and the place of the source, and on nothing else."""
        del source
        words = np.frombuffer(sha256(tensor.name.encode()).digest(), "<u4")
        random = np.random.Generator(np.random.PCG64([self.seed, index, *words.tolist()]))
        scale = np.float32(1 / (1 - self.drop))

        def prune(delta: Floats) -> Floats:
            stays = random.random(delta.shape) >= self.drop
            found: Floats = np.where(stays, delta * scale, np.float32(0))
            return found

        return prune

    def combine(self, deltas: Sequence[Floats]) -> Floats:
        """Elects and averages, or adds up."""
        return disjoint_mean(deltas) if self.elect else total(deltas)


def cut_of(source: Source, tensors: Sequence[Tensor], trim: float, done: Callable[[int], None] = lambda _: None) -> Cut:
    """What is left of a source's changes of some tensors without the share ``trim``; ``done`` hears of each block."""

    def blocks() -> Iterator[Floats]:
        for tensor in tensors:
            for start, stop in row_blocks(tensor):
                yield source.delta(tensor, start, stop)
                done((stop - start) * tensor.width)

    return find_cut(blocks, kept(sum(tensor.elements for tensor in tensors), trim))


def total(deltas: Sequence[Floats]) -> Floats:
    """The sum, in the order of the sources."""
    result: Floats = deltas[0].copy()
    for delta in deltas[1:]:
        result += delta
    return result


def disjoint_mean(deltas: Sequence[Floats]) -> Floats:
    """For each weight the mean of those changes that have the sign of their sum; 0 where the sum is 0."""
    elected = np.sign(total(deltas))
    sums: Floats = np.zeros_like(elected)
    count: Floats = np.zeros_like(elected)
    for delta in deltas:
        agrees = np.sign(delta) == elected
        sums += np.where(agrees, delta, np.float32(0))
        count += agrees
    sums /= np.maximum(count, np.float32(1))
    return sums
