"""How a GGUF file arranges what a Hugging Face folder holds: names, order of rows, numbers in blocks; both ways.

The files' authors use llama.cpp, whose RoPE for the architecture `llama` turns neighbouring rows (2i, 2i + 1) of a head
together, where Hugging Face turns rows (i, i + head_dim / 2). The rows of q and k are stored accordingly.
"""

from __future__ import annotations

import re

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
LAYER = re.compile(r"(?:model\.layers|blk)\.(\d+)\.(.+)")

# Formats that the gguf package reads but does not write: where a block keeps its f16 scales, and the ratio of the scale
# of minimums to that of quants that centres random blocks on zero.
SCALES = {
    "Q2_K": ((80, 1.0), (82, 1.5)),
    "Q3_K": ((108, 1.0),),
    "Q4_K": ((0, 1.0), (2, 7.5)),
    "Q5_K": ((0, 1.0), (2, 15.5)),
    "Q6_K": ((208, 1.0),),
    "IQ4_NL": ((0, 1.0),),
    "IQ4_XS": ((0, 1.0),),
}


def gguf_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`."""
    stem, kind = name.rsplit(".", 1)
    if layer := LAYER.match(stem):
        return f"blk.{layer[1]}.{NAMES[layer[2]]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def hugging_face_name(name: str) -> str:
    """The inverse of `gguf_name`."""
    inverse = {short: long for long, short in NAMES.items()}
    stem, kind = name.rsplit(".", 1)
    if layer := LAYER.match(stem):
        return f"model.layers.{layer[1]}.{inverse[layer[2]]}.{kind}"
    return f"{inverse[stem]}.{kind}"


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """From halves to neighbours: row (head, half, i) becomes (head, i, half)."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `interleave`."""
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def rotated_heads(family: str, name: str, heads: int, kv_heads: int) -> int | None:
    """Heads of a tensor (by either name) whose rows the file interleaves; None: stored as they are."""
    if family != "llama":
        return None
    if "q_proj" in name or "attn_q." in name:
        return heads
    return kv_heads if "k_proj" in name or "attn_k." in name else None


def encode(matrix: np.ndarray, kind: GGMLQuantizationType, rng: np.random.Generator) -> np.ndarray:
    """`matrix` in blocks of `kind`; for formats that cannot be written, random blocks of the same shape and spread."""
    if kind.name in SCALES:
        return random_blocks(matrix.shape, kind, rng)
    return quants.quantize(np.ascontiguousarray(matrix), kind)


def random_blocks(shape: tuple[int, ...], kind: GGMLQuantizationType, rng: np.random.Generator) -> np.ndarray:
    """Random quants whose values have mean near 0 and deviation near 1/sqrt(columns)."""
    values, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (shape[0], shape[1] // values, size), dtype=np.uint8)
    set_scales(blocks, kind, 1.0)
    spread = quants.dequantize(blocks.reshape(shape[0], -1), kind).std()
    set_scales(blocks, kind, 1 / (spread * shape[1] ** 0.5))
    return blocks.reshape(shape[0], -1)


def set_scales(blocks: np.ndarray, kind: GGMLQuantizationType, scale: float) -> None:
    """Gives every block the same scale."""
    for at, ratio in SCALES[kind.name]:
        blocks[..., at : at + 2] = np.frombuffer(np.float16(scale * ratio).tobytes(), dtype=np.uint8)
