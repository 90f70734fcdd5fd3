"""Writes a LoRA adapter of random numbers for a model of any size, as PEFT has it. What it computes means nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SPREAD = 0.02


def write_random_adapter(folder: Path, info: Mapping[str, Any], *, rank: int, seed: int) -> Path:
    """For the model that ``Engine.info`` describes: all seven projections of all layers, in f32."""
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(info["layers"]):
        for module, (rows, columns) in _shapes(info).items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = _numbers(random, rank, columns)
            tensors[f"{name}.lora_B.weight"] = _numbers(random, rows, rank)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    targets = sorted(module.rpartition(".")[2] for module in _shapes(info))
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder


def _shapes(info: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """(out, in) of each projection."""
    hidden, ffn = info["hidden_size"], info["intermediate_size"]
    queries, keys = info["heads"] * info["head_dim"], info["kv_heads"] * info["head_dim"]
    return {
        "self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries), "mlp.gate_proj": (ffn, hidden), "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }  # fmt: skip


def _numbers(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return (SPREAD * random.standard_normal((rows, columns))).astype(np.float32)
