"""How sure a share is. Knows nothing of what was counted."""

from __future__ import annotations

import math

NORMAL_95 = 1.959964


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score (1927), which stays within 0 and 1."""
    if count == 0:
        return 0.0, 1.0
    share, square = hits / count, NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
