"""Makes tiny random models of every shape the engine must handle, in the layouts users have. Knows no engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
TOKENIZER_TEXT = [
    "The quick brown fox jumps over the lazy dog.",
    "Pack my box with five dozen liquor jugs, 0123456789!",
]
TOKENIZER_SIZE = 300
# Larger than the tokenizer, as checkpoints pad theirs, and no multiple of any tile.
VOCABULARY = 387


@dataclass(frozen=True)
class TinyModel:
    """A shape. `settings` are fields of the family's `transformers` configuration."""

    name: str
    family: str
    settings: dict[str, Any]
    # Bytes per safetensors file; None: one file.
    shard: int | None = None
    # config.json as transformers wrote it before version 5: rope_theta and rope_scaling instead of rope_parameters.
    old_config: bool = False
    seed: int = field(default=6900)


def shape(hidden: int, heads: int, kv_heads: int, ffn: int, **more: Any) -> dict[str, Any]:
    """Configuration fields of a model with two layers."""
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "num_hidden_layers": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        **more,
    }


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}

TINY_MODELS = [
    TinyModel("qwen2-gqa7", "qwen2", shape(112, 7, 1, 160)),
    TinyModel("qwen2-896-tied", "qwen2", shape(896, 14, 2, 1216, tie_word_embeddings=True)),
    TinyModel("qwen2-sharded", "qwen2", shape(160, 5, 5, 224), shard=200_000),
    TinyModel("qwen2-old-config", "qwen2", shape(64, 4, 2, 96), old_config=True),
    TinyModel("llama-odd-heads-tied", "llama", shape(144, 9, 3, 200, tie_word_embeddings=True)),
    TinyModel("llama-own-head-dim", "llama", shape(160, 4, 2, 320, head_dim=32)),
    TinyModel("llama-no-multiple-of-32", "llama", shape(100, 5, 1, 172, head_dim=20)),
    TinyModel("llama-attention-bias", "llama", shape(96, 6, 2, 128, attention_bias=True)),
    TinyModel("llama-linear-rope", "llama", shape(128, 4, 2, 192, rope_parameters=LINEAR_ROPE)),
    TinyModel("llama-llama3-rope", "llama", shape(128, 4, 2, 192, rope_parameters=LLAMA3_ROPE)),
    TinyModel("llama-llama3-old-config", "llama", shape(64, 2, 1, 96, rope_parameters=LLAMA3_ROPE), old_config=True),
]


def build(spec: TinyModel) -> PreTrainedModel:
    """The model in float32, weights scaled so that logits spread over a few units and no norm or bias is trivial."""
    configuration, model_class = FAMILIES[spec.family]
    model = model_class(configuration(**spec.settings, attn_implementation="eager")).eval()
    generator = torch.Generator().manual_seed(spec.seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.copy_(noise * 0.3 + (0.0 if name.endswith("bias") else 1.0))
            else:
                gain = 3.0 if "embed" in name or "lm_head" in name else 1.0
                parameter.copy_(noise * gain / parameter.shape[1] ** 0.5)
    return model


def save(spec: TinyModel, folder: Path) -> PreTrainedModel:
    """Writes the model as a Hugging Face folder and returns it."""
    model = build(spec)
    limits = {} if spec.shard is None else {"max_shard_size": spec.shard}
    write(model, folder, **limits)
    if spec.old_config:
        rewrite_config(folder / "config.json")
    return model


def write(model: PreTrainedModel, folder: Path, **limits: Any) -> None:
    """A Hugging Face folder with the tokenizer of all these models."""
    model.save_pretrained(folder, **limits)
    tokenizer().save(str(folder / "tokenizer.json"))


def rewrite_config(path: Path) -> None:
    """Moves the RoPE settings to where transformers 4 kept them."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2))


def tokenizer() -> Tokenizer:
    """A small byte-level BPE."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_SIZE,
        special_tokens=["<|end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(TOKENIZER_TEXT, trainer)
    return made
