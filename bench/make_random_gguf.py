"""Writes GGUF files with random weights in the shapes of Qwen2.5 models: real sizes to measure, nothing to download."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gguf import GGUFWriter, TokenType

from bench.quant_mix import MIXES, Mix
from bench.random_blocks import random_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Shape:
    """A Qwen2 model's sizes; its embeddings are tied."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int = 151936
    context: int = 32768


SHAPES = {
    "qwen2.5-0.5b": Shape(hidden=896, layers=24, heads=14, kv_heads=2, head_dim=64, ffn=4864),
    "qwen2.5-1.5b": Shape(hidden=1536, layers=28, heads=12, kv_heads=2, head_dim=128, ffn=8960),
}


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


def add_metadata(writer: GGUFWriter, shape: Shape, mix: Mix) -> None:
    """The keys that give the shape and the tokenizer."""
    writer.add_name(f"random weights, Qwen2 with {shape.layers} layers of {shape.hidden}")
    writer.add_file_type(mix.file_type)
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


def add_tensors(writer: GGUFWriter, shape: Shape, mix: Mix, rng: np.random.Generator) -> None:
    """Tied embeddings and the layers in the formats of `mix`; norms and biases as floats."""
    kind = mix.of_head(shape.hidden)
    head = random_blocks(rng, shape.vocab, shape.hidden, kind)
    writer.add_tensor("token_embd.weight", head, raw_dtype=kind)
    ones = np.ones(shape.hidden, dtype=np.float32)
    for layer in range(shape.layers):
        for name, rows, columns in matrices(shape):
            kind = mix.of_layer(name, layer, shape.layers, columns)
            writer.add_tensor(f"blk.{layer}.{name}", random_blocks(rng, rows, columns, kind), raw_dtype=kind)
        for name, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            bias = rng.standard_normal(heads * shape.head_dim, dtype=np.float32) * np.float32(0.1)
            writer.add_tensor(f"blk.{layer}.attn_{name}.bias", bias)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
    writer.add_tensor("output_norm.weight", ones)


def write_random_gguf(path: Path, shape: Shape, mix: Mix) -> None:
    """Writes the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, "qwen2")
    add_metadata(writer, shape, mix)
    add_tensors(writer, shape, mix, np.random.default_rng(6900))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def main() -> None:
    """`python -m bench.make_random_gguf qwen2.5-1.5b q4_k_m FILE`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("mix", choices=list(MIXES), help="as llama.cpp's quantizer names it")
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    write_random_gguf(arguments.path, SHAPES[arguments.shape], MIXES[arguments.mix])


if __name__ == "__main__":
    main()
