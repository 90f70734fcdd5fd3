"""Makes LoRA adapters with `peft` that change a tiny model's answers; writes PEFT folders and GGUF. Knows no engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gguf_layout
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants
from peft import LoraConfig, PeftModel, get_peft_model

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAIN = {"r": 4, "lora_alpha": 6, "target_modules": PROJECTIONS}


@dataclass(frozen=True)
class TinyAdapter:
    """Settings of a `LoraConfig`, and the numbers' format in the file."""

    name: str
    settings: dict[str, Any] = field(default_factory=lambda: PLAIN)
    dtype: torch.dtype = torch.float32


TINY_ADAPTERS = [
    TinyAdapter("plain"),
    TinyAdapter("saved-as-f16", dtype=torch.float16),
    TinyAdapter("saved-as-bf16", dtype=torch.bfloat16),
    TinyAdapter("rank-one", {**PLAIN, "r": 1}),
    TinyAdapter("stabilised", {**PLAIN, "r": 9, "use_rslora": True}),
    TinyAdapter(
        "patterns",
        {
            **PLAIN,
            "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.(gate|up)_proj": 17, "up_proj": 3},
            "alpha_pattern": {"model.layers.0.self_attn.v_proj": 16, "_proj": 100, ".*down_proj": 3},
        },
    ),
    TinyAdapter("stabilised-patterns", {**PLAIN, "use_rslora": True, "rank_pattern": {"k_proj": 8}}),
    TinyAdapter("one-layer", {**PLAIN, "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1]}),
    TinyAdapter("expression", {**PLAIN, "target_modules": r".*\.(k|down)_proj"}),
]


def attach(model: PreTrainedModel, adapters: list[TinyAdapter], folder: Path, seed: int = 3800) -> PeftModel:
    """Writes each adapter into a folder of its name; the model with all of them, as `peft` reads them from there."""
    generator = torch.Generator().manual_seed(seed)
    for adapter in adapters:
        made = get_peft_model(model, LoraConfig(**adapter.settings), adapter.name)
        fill(made, adapter, generator)
        made.save_pretrained(str(folder), selected_adapters=[adapter.name])
        made.unload()
    loaded = PeftModel.from_pretrained(model, str(folder / adapters[0].name), adapters[0].name)
    for adapter in adapters[1:]:
        loaded.load_adapter(str(folder / adapter.name), adapter.name)
    return loaded.eval()


def fill(made: PeftModel, adapter: TinyAdapter, generator: torch.Generator) -> None:
    """Random numbers; what a layer adds is about a tenth of what it gives."""
    for name, parameter in made.named_parameters():
        if f".{adapter.name}." in name:
            noise = torch.randn(parameter.shape, generator=generator) * (0.3 / parameter.shape[1] ** 0.5)
            parameter.data = noise.to(adapter.dtype)


def save_gguf(made: PeftModel, adapter: TinyAdapter, path: Path, kind: str, tokens: list[int] | None = None) -> None:
    """Writes an adapter as llama.cpp's converter does: GGUF's names, and its order of the rows of q and k.

    A is in `kind`, B in float32. What the file holds is put back into the model.
    """
    writer = GGUFWriter(path, made.config.model_type)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(made.peft_config[adapter.name].lora_alpha))
    if tokens:
        writer.add_array("adapter.alora.invocation_tokens", tokens)
    for name, module in made.base_model.model.named_modules():
        if adapter.name in getattr(module, "lora_A", {}):
            a, b = (getattr(module, part)[adapter.name].weight for part in ("lora_A", "lora_B"))
            add_pair(writer, made.config, f"{name}.weight", a, b, GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_pair(
    writer: GGUFWriter, config: Any, weight: str, a: torch.Tensor, b: torch.Tensor, kind: GGMLQuantizationType
) -> None:
    """One module's matrices."""
    heads = config.num_attention_heads, config.num_key_value_heads
    name = gguf_layout.gguf_name(weight)
    blocks = quants.quantize(a.detach().numpy(), kind)
    writer.add_tensor(f"{name}.lora_a", blocks, raw_dtype=kind)
    rows = b.detach().numpy()
    if rotated := gguf_layout.rotated_heads(config.model_type, weight, *heads):
        rows = np.ascontiguousarray(gguf_layout.interleave(rows, rotated))
    writer.add_tensor(f"{name}.lora_b", rows)
    with torch.no_grad():
        a.copy_(torch.from_numpy(np.ascontiguousarray(quants.dequantize(blocks, kind))))
