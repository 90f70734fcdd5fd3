"""Writes GGUF files with the shape of Qwen2.5-0.5B and random weights: a real size to measure, nothing to download.

Blocks are drawn at random instead of quantizing random floats: same layout, same cost, made in seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType

if TYPE_CHECKING:
    from collections.abc import Iterator

TYPES = {
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
# Standard deviation of one quant drawn uniformly from all its values.
QUANT_DEVIATION = {GGMLQuantizationType.Q8_0: 256 / 12**0.5, GGMLQuantizationType.Q4_0: 16 / 12**0.5}
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Shape:
    """A Qwen2 model's sizes; the defaults are those of Qwen2.5-0.5B."""

    hidden: int = 896
    layers: int = 24
    heads: int = 14
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 4864
    vocab: int = 151936
    context: int = 32768


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a GPT-2 vocabulary, in vocabulary order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + at) for at in range(256 - len(printable))]


def vocabulary(size: int) -> tuple[list[str], list[int], list[str]]:
    """Tokens, their types and the merges of a byte-level BPE: the bytes, then pairs of bytes, then pairs and a byte."""
    characters = byte_characters()
    pairs = list(product(characters, repeat=2))
    triples = ((first + second, third) for (first, second), third in product(pairs, characters))
    wanted = size - len(characters) - len(SPECIAL_TOKENS)
    merges = [*pairs, *islice(triples, max(wanted - len(pairs), 0))][:wanted]
    tokens = characters + [left + right for left, right in merges] + list(SPECIAL_TOKENS)
    types = [TokenType.NORMAL] * (size - len(SPECIAL_TOKENS)) + [TokenType.CONTROL] * len(SPECIAL_TOKENS)
    return tokens, [int(kind) for kind in types], [f"{left} {right}" for left, right in merges]


def random_blocks(rng: np.random.Generator, rows: int, columns: int, kind: GGMLQuantizationType) -> np.ndarray:
    """A matrix of quantized blocks whose values have mean ~0 and deviation 1/sqrt(columns)."""
    values, size = GGML_QUANT_SIZES[kind]
    per_row = columns // values
    blocks = rng.integers(0, 256, (rows, per_row, size), dtype=np.uint8)
    scale = np.float16(1 / (QUANT_DEVIATION[kind] * columns**0.5))
    blocks[..., :2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    return blocks.reshape(rows, per_row * size)


def matrices(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Name, rows and columns of every quantized tensor of a layer, without its prefix."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield "attn_q.weight", queries, shape.hidden
    yield "attn_k.weight", keys, shape.hidden
    yield "attn_v.weight", keys, shape.hidden
    yield "attn_output.weight", shape.hidden, queries
    yield "ffn_gate.weight", shape.ffn, shape.hidden
    yield "ffn_up.weight", shape.ffn, shape.hidden
    yield "ffn_down.weight", shape.hidden, shape.ffn


def add_metadata(writer: GGUFWriter, shape: Shape, file_type: LlamaFileType) -> None:
    """The keys that give the shape and the tokenizer."""
    writer.add_name("random weights, shape of Qwen2.5-0.5B")
    writer.add_file_type(file_type)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    tokens, types, merges = vocabulary(shape.vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(shape.vocab - 1)
    writer.add_pad_token_id(shape.vocab - 3)
    writer.add_add_bos_token(False)


def add_tensors(writer: GGUFWriter, shape: Shape, kind: GGMLQuantizationType, rng: np.random.Generator) -> None:
    """Tied embeddings in Q8_0, as llama.cpp's own quantizer keeps them, and the layers in `kind`."""
    head = random_blocks(rng, shape.vocab, shape.hidden, GGMLQuantizationType.Q8_0)
    writer.add_tensor("token_embd.weight", head, raw_dtype=GGMLQuantizationType.Q8_0)
    ones = np.ones(shape.hidden, dtype=np.float32)
    for layer in range(shape.layers):
        for name, rows, columns in matrices(shape):
            writer.add_tensor(f"blk.{layer}.{name}", random_blocks(rng, rows, columns, kind), raw_dtype=kind)
        for name, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            bias = rng.standard_normal(heads * shape.head_dim, dtype=np.float32) * np.float32(0.1)
            writer.add_tensor(f"blk.{layer}.attn_{name}.bias", bias)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
    writer.add_tensor("output_norm.weight", ones)


def write_random_gguf(path: Path, kind: str, shape: Shape | None = None) -> None:
    """Writes the file whole or not at all. `kind` is a key of `TYPES`."""
    shape = shape or Shape()
    quantization, file_type = TYPES[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, "qwen2")
    add_metadata(writer, shape, file_type)
    add_tensors(writer, shape, quantization, np.random.default_rng(6900))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def main() -> None:
    """`python -m bench.make_random_gguf q4_0 FILE`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(TYPES))
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    write_random_gguf(arguments.path, arguments.kind)


if __name__ == "__main__":
    main()
