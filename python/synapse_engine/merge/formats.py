"""Number formats of weights, to float32 and back. NumPy lacks bfloat16: it is a float32's upper half here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Stored = NDArray[Any]
"""Numbers as they are in a file."""

STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
"""What the bytes of each format of safetensors are to NumPy."""
OF_NAME = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Names for people, and in ``config.json``, to those of safetensors."""
NAME_OF = {stored: name for name, stored in OF_NAME.items()}


def to_float32(stored: Stored, dtype: str) -> Floats:
    """Exact: float32 holds every number of the others."""
    if dtype == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def from_float32(values: Floats, dtype: str) -> Stored:
    """Rounded to the nearest, ties to even; numbers too large become infinite. ``values`` are no NaN."""
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return values.astype(STORED[dtype])
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # Half of the last kept bit, less one if that bit is 0: exactly half then stays below, and carries if it is 1.
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def all_finite(stored: Stored, dtype: str) -> bool:
    """No infinity and no NaN."""
    if dtype == "BF16":
        return not ((stored & 0x7F80) == 0x7F80).any()
    return bool(np.isfinite(stored).all())
