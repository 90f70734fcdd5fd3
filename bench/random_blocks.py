"""Matrices of random quantized blocks: any bits are valid quants, only the scales need sane values. Knows no model.

Drawing blocks instead of quantizing random floats gives the same layout at the same cost to compute, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Layout:
    """Where a block keeps its scale, and how much its values deviate at a scale of 1."""

    deviation: float
    scale_at: int = 0
    # Ties the fields of a block that may not be drawn on their own; takes blocks and scale.
    tie: Callable[[np.ndarray, float], None] | None = None


def uniform(values: int) -> float:
    """The standard deviation of so many equally likely integers in a row."""
    return values / 12**0.5


def tie_minimums(blocks: np.ndarray, scale: float) -> None:
    """Makes each minimum of a Q4_K block cancel the mean of its group: 7.5 times the group's own 6-bit scale.

    Bytes 4..8 and 8..12 hold the lower bits of scales and minimums 0..4 and, on top, the upper two of 4..8;
    bytes 12..16 the lower four of both 4..8.
    """
    blocks[..., 2:4] = half_bytes(7.5 * scale)
    blocks[..., 8:12] = blocks[..., 4:8]
    blocks[..., 12:16] = (blocks[..., 12:16] & 15) * 17


SIX_BITS_ROOT_MEAN_SQUARE = (63 * 127 / 6) ** 0.5
LAYOUTS = {
    GGMLQuantizationType.Q4_0: Layout(uniform(16)),
    GGMLQuantizationType.Q5_0: Layout(uniform(32)),
    GGMLQuantizationType.Q8_0: Layout(uniform(256)),
    GGMLQuantizationType.Q4_K: Layout(uniform(16) * SIX_BITS_ROOT_MEAN_SQUARE, tie=tie_minimums),
    GGMLQuantizationType.Q6_K: Layout(uniform(64) * uniform(256), scale_at=208),
}


def half_bytes(value: float) -> np.ndarray:
    """The two bytes of a half-precision number."""
    return np.frombuffer(np.float16(value).tobytes(), dtype=np.uint8)


def random_blocks(rng: np.random.Generator, rows: int, columns: int, kind: GGMLQuantizationType) -> np.ndarray:
    """A matrix of quantized blocks whose values have mean ~0 and deviation 1/sqrt(columns)."""
    values, size = GGML_QUANT_SIZES[kind]
    layout = LAYOUTS[kind]
    scale = 1 / (layout.deviation * columns**0.5)
    blocks = rng.integers(0, 256, (rows, columns // values, size), dtype=np.uint8)
    blocks[..., layout.scale_at : layout.scale_at + 2] = half_bytes(scale)
    if layout.tie:
        layout.tie(blocks, scale)
    return blocks.reshape(rows, -1)
