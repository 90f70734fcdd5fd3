"""Writes a LoRA adapter of random numbers for a model of any size, as PEFT has it. What it computes means nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

SPREAD = 0.02
WEIGHTS = "adapter_model.safetensors"
GGUF = "adapter.gguf"
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def write_random_adapter(
    folder: Path,
    info: Mapping[str, Any],
    *,
    rank: int,
    seed: int,
    dtype: str = "float32",
    targets: Collection[str] = (),
    invocation: list[int] | None = None,
) -> Path:
    """For the model that ``Engine.info`` describes: all layers, and of these the projections ``targets`` or all seven.

    ``invocation`` are the tokens of an aLoRA.
    """
    random = np.random.default_rng(seed)
    tensors = {}
    shapes = {name: shape for name, shape in _shapes(info).items() if not targets or _last(name) in targets}
    for layer in range(info["layers"]):
        for module, (rows, columns) in shapes.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = _numbers(random, rank, columns).astype(dtype)
            tensors[f"{name}.lora_B.weight"] = _numbers(random, rows, rank).astype(dtype)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank}
    config["target_modules"] = sorted(map(_last, shapes))
    config["alora_invocation_tokens"] = invocation
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder


def add_gguf(folder: Path, info: Mapping[str, Any]) -> Path:
    """Puts such an adapter into its folder as a GGUF file, too, as llama.cpp reads it.

    Rows of q and k stay as they are: random ones are as good in any order.
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    writer = GGUFWriter(folder / GGUF, info["family"])
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", config["lora_alpha"])
    for name, matrix in load_file(folder / WEIGHTS).items():
        _, _, _, _, layer, block, part, half, _ = name.split(".")
        writer.add_tensor(f"blk.{layer}.{NAMES[f'{block}.{part}']}.weight.{half.lower()}", matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / GGUF


def rank_for(info: Mapping[str, Any], size: int, dtype: str) -> int:
    """The highest rank of an adapter whose matrices have no more than so many bytes."""
    numbers = info["layers"] * sum(sum(shape) for shape in _shapes(info).values())
    return int(size // (np.dtype(dtype).itemsize * numbers))


def _shapes(info: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """(out, in) of each projection."""
    hidden, ffn = info["hidden_size"], info["intermediate_size"]
    queries, keys = info["heads"] * info["head_dim"], info["kv_heads"] * info["head_dim"]
    return {
        "self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries), "mlp.gate_proj": (ffn, hidden), "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }  # fmt: skip


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def _numbers(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return (SPREAD * random.standard_normal((rows, columns))).astype(np.float32)
