"""Writes tiny models as GGUF files in any number format, and gives `transformers` exactly the numbers in the file."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import gguf_layout
import numpy as np
import tiny_models
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, RopeScalingType, TokenType, quants

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from transformers import PreTrainedModel


def save(spec: tiny_models.TinyModel, path: Path, kind: str) -> PreTrainedModel:
    """Writes `spec` with all matrices in `kind` and returns the model with the values that the file holds."""
    model = tiny_models.build(spec)
    writer = GGUFWriter(path, spec.family)
    add_metadata(writer, model.config)
    add_tokenizer(writer, tiny_models.tokenizer(), model.config.vocab_size)
    add_tensors(writer, spec, model, GGMLQuantizationType[kind])
    if factors := rope_factors(model.config):
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def head_dim(config: Any) -> int:
    """Width of a head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def add_metadata(writer: GGUFWriter, config: Any) -> None:
    """The shape and the RoPE settings."""
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer, size: int) -> None:
    """The tokenizer, padded with unused tokens to the model's vocabulary."""
    vocabulary = tokenizer.get_vocab()
    known = sorted(vocabulary, key=vocabulary.__getitem__)
    padding = [f"[PAD{token}]" for token in range(len(known), size)]
    types = [TokenType.CONTROL] + [TokenType.NORMAL] * (len(known) - 1) + [TokenType.UNUSED] * len(padding)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(known + padding)
    writer.add_token_types([int(kind) for kind in types])
    writer.add_token_merges(merge_list(tokenizer))
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def merge_list(tokenizer: Tokenizer) -> list[str]:
    """The merges as `left right`."""
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def add_tensors(
    writer: GGUFWriter, spec: tiny_models.TinyModel, model: PreTrainedModel, kind: GGMLQuantizationType
) -> None:
    """Every tensor, vectors in float32; puts what was written back into `model`."""
    rng = np.random.default_rng(spec.seed)
    heads = model.config.num_attention_heads, model.config.num_key_value_heads
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        if rotated := gguf_layout.rotated_heads(spec.family, name, *heads):
            values = gguf_layout.interleave(values, rotated)
        if values.ndim == 1:
            writer.add_tensor(gguf_layout.gguf_name(name), np.ascontiguousarray(values))
            continue
        blocks = gguf_layout.encode(values, kind, rng)
        writer.add_tensor(gguf_layout.gguf_name(name), blocks, raw_dtype=kind)
        stored = quants.dequantize(blocks, kind)
        if rotated:
            stored = gguf_layout.deinterleave(stored, rotated)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(stored)))


def rope_factors(config: Any) -> list[float]:
    """Llama 3.1's stretch as divisors of the frequencies, which is how GGUF files carry it; empty for other models."""
    rope = config.rope_parameters
    if rope["rope_type"] != "llama3":
        return []
    dim, context = head_dim(config), rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    factors = []
    for pair in range(dim // 2):
        turns = context / (2 * math.pi * rope["rope_theta"] ** (2 * pair / dim))
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return factors


def fits(spec: tiny_models.TinyModel, kind: str) -> bool:
    """Whether every row of every matrix is whole blocks."""
    values, _ = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    settings = spec.settings
    heads_width = settings["num_attention_heads"] * (
        settings.get("head_dim") or settings["hidden_size"] // settings["num_attention_heads"]
    )
    return all(width % values == 0 for width in (settings["hidden_size"], settings["intermediate_size"], heads_width))
