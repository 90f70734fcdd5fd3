"""Makes tiny bases, PEFT adapters and fine-tuned models, and merges them the slow way. Knows nothing of the merger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tests.oracle import tiny_models
from transformers import AutoModelForCausalLM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LLAMA = tiny_models.TinyModel("base", "llama", tiny_models.shape(60, 5, 1, 90, head_dim=12))
QWEN2 = tiny_models.TinyModel("base", "qwen2", tiny_models.shape(56, 7, 1, 80))
TIED = tiny_models.TinyModel("base", "llama", tiny_models.shape(48, 4, 2, 64, tie_word_embeddings=True))
SHARDED = tiny_models.TinyModel("base", "qwen2", tiny_models.shape(64, 4, 2, 96), shard=60_000)

Deltas = list[dict[str, torch.Tensor]]


def make_base(folder: Path, spec: tiny_models.TinyModel = LLAMA, dtype: torch.dtype = torch.float32) -> Path:
    """A base with its tokenizer."""
    model = tiny_models.build(spec).to(dtype)
    model.save_pretrained(folder, **({} if spec.shard is None else {"max_shard_size": spec.shard}))
    tiny_models.tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def make_adapter(folder: Path, base: Path, seed: int = 0, **settings: Any) -> Path:
    """An adapter whose two matrices are random, as PEFT saves it."""
    made = {"r": 4, "lora_alpha": 6, "target_modules": PROJECTIONS, **settings}
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**made))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.save_pretrained(folder)
    return folder


def make_fine_tuned(folder: Path, base: Path, seed: int = 0) -> Path:
    """All weights moved a little, in one file even if the base has several."""
    generator = torch.Generator().manual_seed(seed)
    moved = {n: (t + 0.02 * torch.randn(t.shape, generator=generator)).to(t.dtype) for n, t in tensors(base).items()}
    folder.mkdir()
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text((base / "config.json").read_text())
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All of a folder's, whichever file they are in."""
    return {n: t for file in sorted(folder.glob("*.safetensors")) for n, t in load_file(file).items()}


def by_peft(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """The base in float32 with one adapter merged by PEFT."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return {name: tensor.detach() for name, tensor in merged.state_dict().items()}


def deltas_of(base: Path, sources: Sequence[Path]) -> Deltas:
    """What each source changes, as PEFT or subtraction has it."""
    before = {name: tensor.float() for name, tensor in tensors(base).items()}
    found = []
    for source in sources:
        is_adapter = (source / "adapter_config.json").exists()
        after = by_peft(base, source) if is_adapter else {n: t.float() for n, t in tensors(source).items()}
        changed = {name: after[name] - tensor for name, tensor in before.items()}
        found.append({name: d for name, d in changed.items() if not is_adapter or d.any()})
    return found


def merged_slowly(
    base: Path, names: Sequence[str], deltas: Deltas, merge_all: Callable[[list[np.ndarray]], np.ndarray]
) -> dict[str, torch.Tensor]:
    """These tensors of the base and what `merge_all` makes of the flat deltas, one vector for each source."""
    before = {name: tensor.float() for name, tensor in tensors(base).items()}
    flat = [
        np.concatenate([each.get(name, torch.zeros_like(before[name])).numpy().ravel() for name in names])
        for each in deltas
    ]
    change = torch.from_numpy(merge_all(flat))
    parts = torch.split(change, [before[name].numel() for name in names])
    return {name: before[name] + part.reshape(before[name].shape) for name, part in zip(names, parts, strict=True)}


def ties_slowly(vectors: list[np.ndarray], keep: Sequence[int]) -> np.ndarray:
    """TIES on vectors, number by number; `keep` is how many of each vector stay."""
    trimmed = []
    for vector, count in zip(vectors, keep, strict=True):
        order = sorted(range(len(vector)), key=lambda at: (-abs(vector[at]), at))
        trimmed.append({at: float(vector[at]) for at in order[:count]})
    result = np.zeros(len(vectors[0]), np.float32)
    for at in range(len(result)):
        values = [kept[at] for kept in trimmed if at in kept]
        votes = sum(values)
        agreeing = [value for value in values if value * votes > 0]
        result[at] = sum(agreeing) / len(agreeing) if agreeing else 0.0
    return result


def change_settings(adapter: Path, **settings: Any) -> None:
    """Writes other settings into an adapter."""
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
