"""Where a request lies for feedback: what it says and how the coordinator judges it, in one unit vector. Learns nothing.

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
JUDGED = 64
"""Numbers that tell how a request is judged, after those of its embedding."""
SHARE = 0.7
"""Of a cosine: how much the judgement counts."""


def place_of(embedding: Sequence[float], probabilities: Mapping[str, float]) -> list[float]:
    """A unit vector of ``len(embedding) + JUDGED`` numbers.

    The cosine of two is 0.3 times that of the embeddings plus 0.7 times about the Bhattacharyya coefficient of the
    probabilities: the sum of sqrt(p q), which is 1 for equal judgements.
    """
    judged = [0.0] * JUDGED
    for name, probability in probabilities.items():
        root = math.sqrt(probability)
        judged = [value + root * sign for value, sign in zip(judged, _signs(name), strict=True)]
    said = math.sqrt(1 - SHARE) / (math.hypot(*embedding) or 1.0)
    shown = math.sqrt(SHARE) / (math.hypot(*judged) or 1.0)
    return [value * said for value in embedding] + [value * shown for value in judged]


@cache
def _signs(name: str) -> tuple[float, ...]:
    """A direction for a name; those of different names are nearly orthogonal. It stays when others come and go."""
    bits = int.from_bytes(hashlib.sha256(name.encode()).digest()[: JUDGED // 8], "little")
    return tuple(1.0 if bits >> at & 1 else -1.0 for at in range(JUDGED))
