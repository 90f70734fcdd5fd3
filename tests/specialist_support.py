"""Specialists as users write them, for several test files."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

COOKING = """\
name = "cooking"
description = "Recipes and kitchen techniques."
examples = ["how long do eggs take", "pie without butter", "what goes with leeks"]
system_prompt = "You are a cook."

[sampling]
temperature = 0.6
"""


def write_specialist(folder: Path, name: str = "cooking", *, adapter: str | None = None, text: str = COOKING) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = text.replace("cooking", name)
    if adapter is not None:
        text = text.replace("[sampling]", f'adapter = "{adapter}"\n[sampling]')
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def write_adapter(folder: Path, weights: bytes = b"weights") -> Path:
    """What looks like a PEFT folder from outside, with more in it than belongs to an adapter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 8}))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "optimizer.pt").write_bytes(b"of the training")
    return folder


def write_smollm2_adapter(folder: Path, seed: int, scale: float = 0.5) -> Path:
    """Random numbers that SmolLM2-135M (30 layers, 576 wide) can add to its queries; answers change with them."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(30):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = random.normal(0, scale / 24, (4, 576)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = random.normal(0, 1, (576, 4)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder
