"""Makes tests/goldens/dequantize/*.bin: random valid blocks of each format, then their values by the `gguf` package.

F8_E4M3, which GGUF does not have, is every code but the two that are no number, and their values by PyTorch.
Written with gguf 0.19.0, numpy 2.4.6 and torch 2.15.0: `python tests/goldens/dequantize.py`. A file is the blocks,
then their values as float32, little-endian.
"""

from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

# Where a block keeps its f16 numbers; they must be finite, everything else may be any bits.
HALVES = {
    "F32": [],
    "F16": [0],
    "BF16": [],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
}
# Zeros of both signs, the smallest subnormal, the largest: products and sums must keep even the sign of a zero.
CORNERS = np.array([0x0000, 0x8000, 0x0001, 0x7BFF], dtype="<u2")


def finite_halves(rng: np.random.Generator, count: int) -> np.ndarray:
    halves = rng.integers(0, 0x7C00, count, dtype=np.uint16) | (rng.integers(0, 2, count, dtype=np.uint16) << 15)
    halves[: len(CORNERS)] = rng.permutation(CORNERS)
    return halves.astype("<u2")


def blocks_of(name: str, rng: np.random.Generator) -> np.ndarray:
    values, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    count = 6 if values == 256 else 16 if values == 32 else 256
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in HALVES[name]:
        blocks[:, at : at + 2] = finite_halves(rng, count).view(np.uint8).reshape(-1, 2)
    if name in ("F32", "BF16"):
        blocks[:, -1] &= 0xBF  # not the exponent of infinities and NaN
    return blocks


def f8_e4m3() -> bytes:
    codes = torch.tensor([code for code in range(256) if code & 0x7F != 0x7F], dtype=torch.uint8)
    return codes.numpy().tobytes() + codes.view(torch.float8_e4m3fn).float().numpy().tobytes()


def main() -> None:
    folder = Path(__file__).with_suffix("")
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(6900)
    for name in HALVES:
        blocks = blocks_of(name, rng)
        values = quants.dequantize(blocks, GGMLQuantizationType[name])
        (folder / f"{name}.bin").write_bytes(blocks.tobytes() + values.astype("<f4").tobytes())
    (folder / "F8_E4M3.bin").write_bytes(f8_e4m3())


if __name__ == "__main__":
    main()
