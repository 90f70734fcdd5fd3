"""Which changes of a source are among its largest: exactly so many, without ever holding all of them.

The bits of a float32 without its sign order like its magnitude, so the smallest magnitude to keep is found digit by
digit: one count over the upper 16 of the 31 bits, one over the lower 15 of those that share the upper ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .formats import Floats

_MAGNITUDE = np.uint32(0x7FFFFFFF)
_LOWER = 15


@dataclass
class Cut:
    """Keeps all magnitudes above ``bits``, and of those equal to it the first ``ties``."""

    bits: int
    ties: int

    def __call__(self, delta: Floats) -> Floats:
        """What is kept of the next numbers of the source, zero elsewhere; counts ``ties`` down."""
        bits = _bits(delta)
        keep = bits > self.bits
        if self.ties:
            equal = np.flatnonzero(bits == self.bits)[: self.ties]
            keep.flat[equal] = True
            self.ties -= len(equal)
        return np.where(keep, delta, np.float32(0))


def kept(elements: int, trim: float) -> int:
    """How many of ``elements`` stay if the share ``trim`` goes, to the nearest number."""
    return elements - round(trim * elements)


def find_cut(blocks: Callable[[], Iterator[Floats]], keep: int) -> Cut:
    """The cut that keeps ``keep`` numbers of ``blocks``, which is gone through twice."""
    if keep == 0:
        return Cut(int(_MAGNITUDE), 0)
    upper = np.zeros(1 << 16, np.int64)
    for block in blocks():
        upper += np.bincount(_bits(block).ravel() >> _LOWER, minlength=len(upper))
    digit, keep = _digit(upper, keep)
    lower = np.zeros(1 << _LOWER, np.int64)
    for block in blocks():
        bits = _bits(block).ravel()
        lower += np.bincount(bits[bits >> _LOWER == digit] & ((1 << _LOWER) - 1), minlength=len(lower))
    last, ties = _digit(lower, keep)
    return Cut(digit << _LOWER | last, ties)


def _digit(counts: NDArray[np.int64], keep: int) -> tuple[int, int]:
    """The digit of the ``keep``-th number from above, and how many are still to keep of those that have it."""
    from_above = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_above, keep))
    above = int(from_above[place - 1]) if place else 0
    return len(counts) - 1 - place, keep - above


def _bits(values: Floats) -> NDArray[np.uint32]:
    bits: NDArray[np.uint32] = np.ascontiguousarray(values, np.float32).view(np.uint32) & _MAGNITUDE
    return bits
