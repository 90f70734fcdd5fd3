"""Where feedback on a request counts: what it says and how the coordinator judges it, as a unit vector. Learns nothing.

Feedback should reach requests that are like one another *and* look alike to the coordinator: a word in common with an
SQL question is no reason to treat a poem like one.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = 1
"""Of the layout: vectors of another one mean something else."""
BLOCKS, WIDTH = 8, 32
JUDGED = BLOCKS * WIDTH
"""Numbers that tell how a request is judged, after those of its embedding."""


def place_of(embedding: Sequence[float], probabilities: Mapping[str, float]) -> list[float]:
    """A unit vector of ``len(embedding) + JUDGED`` numbers.

    The cosine of two is the mean of that of the embeddings and, nearly, the Bhattacharyya coefficient of the
    probabilities: the sum of sqrt(p q), which is 1 for equal judgements.
    """
    judged = [0.0] * JUDGED
    for name, probability in probabilities.items():
        for spot, sign in _spots(name):
            judged[spot] += sign * math.sqrt(probability)
    said = math.sqrt(0.5) / (math.hypot(*embedding) or 1.0)
    shown = math.sqrt(0.5) / (math.hypot(*judged) or 1.0)
    return [value * said for value in embedding] + [value * shown for value in judged]


@cache
def _spots(name: str) -> tuple[tuple[int, float], ...]:
    """A direction for a name: one number, 1 or -1, in each block.

    Those of two names are nearly orthogonal, mostly quite, and stay the same when others come and go.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return tuple(
        (block * WIDTH + byte % WIDTH, 1.0 if byte < 128 else -1.0) for block, byte in enumerate(digest[:BLOCKS])
    )
