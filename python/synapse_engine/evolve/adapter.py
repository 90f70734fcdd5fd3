"""Low-rank changes of a model's linear layers: put on, taken off, saved for PEFT, compressed. Trains nothing."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from synapse_engine.train.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from synapse_engine.evolve.genome import Genome
    from synapse_engine.train.symbio import SymbioModel

EFFECTIVE = 0.01  # of the largest singular value


class LoraLinear(nn.Module):
    """``W x + (alpha / rank) B A x`` around a frozen layer; B starts at zero."""

    def __init__(self, layer: nn.Linear, genome: Genome) -> None:
        super().__init__()
        self.layer = layer
        self.scale = genome.alpha / genome.rank
        self.dropout = nn.Dropout(genome.dropout)
        self.lora_A = nn.Parameter(torch.empty(genome.rank, layer.in_features))
        self.lora_B = nn.Parameter(torch.zeros(layer.out_features, genome.rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        low = functional.linear(self.dropout(x), self.lora_A)
        result: Tensor = self.layer(x) + self.scale * functional.linear(low, self.lora_B)
        return result


@dataclass(frozen=True)
class Factors:
    """One layer's change: ``scale * B A``, with A (rank, in) and B (out, rank)."""

    a: Tensor
    b: Tensor
    scale: float

    def delta(self) -> Tensor:
        """The change of the weight, (out, in)."""
        return self.scale * self.b @ self.a


def target_pool(model: SymbioModel) -> list[str]:
    """Names of the linear layers inside blocks."""
    return sorted({name.rsplit(".", 1)[1] for name, _ in _linears(model)})


def attach(model: SymbioModel, genome: Genome) -> list[nn.Parameter]:
    """Puts fresh adapters on the genome's targets, freezes all else and returns what learns."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    learned: list[nn.Parameter] = []
    for name, layer in _linears(model):
        if name.rsplit(".", 1)[1] in genome.targets:
            wrapped = LoraLinear(layer, genome)
            _replace(model, name, wrapped)
            learned += [wrapped.lora_A, wrapped.lora_B]
    return learned


def detach(model: SymbioModel) -> dict[str, Factors]:
    """Takes all adapters off and returns them by the names of their layers."""
    found: dict[str, Factors] = {}
    wrapped = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLinear)]
    for name, module in wrapped:
        found[name] = Factors(module.lora_A.detach(), module.lora_B.detach(), module.scale)
        _replace(model, name, module.layer)
    return found


def merge(model: SymbioModel, factors: dict[str, Factors]) -> None:
    """Adds the changes to the weights for good."""
    with torch.no_grad():
        for name, change in factors.items():
            layer = model.get_submodule(name)
            if not isinstance(layer, nn.Linear):
                raise ConfigError(f"the model has no linear layer {name}")
            layer.weight += change.delta()


def parameter_count(factors: dict[str, Factors]) -> int:
    """Numbers in all factors."""
    return sum(change.a.numel() + change.b.numel() for change in factors.values())


def compress(factors: dict[str, Factors], share: float) -> dict[str, Factors]:
    """The best approximation of each change with ``share`` of its effective rank, by singular values.

    The effective rank counts the singular values above a hundredth of the largest. The highest of all layers decides,
    as PEFT's format has one rank; the scale becomes 1.
    """
    parts = {name: torch.linalg.svd(change.delta().double(), full_matrices=False) for name, change in factors.items()}
    effective = max(int((values > EFFECTIVE * values.max()).sum()) for _, values, _ in parts.values())
    rank = max(1, math.ceil(share * effective))
    kept: dict[str, Factors] = {}
    for name, (left, values, right) in parts.items():
        root = values[:rank].sqrt()
        kept[name] = Factors((root[:, None] * right[:rank]).float(), (left[:, :rank] * root).float(), 1.0)
    return kept


def save_peft(folder: Path, factors: dict[str, Factors], settings: dict[str, Any], others: dict[str, Tensor]) -> None:
    """Writes adapter_config.json and adapter_model.safetensors; ``others`` are modules saved whole, such as a head."""
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(factors.values()))
    rank = first.a.shape[0]
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": first.scale * rank,
        "target_modules": sorted({name.rsplit(".", 1)[1] for name in factors}),
        "bias": "none",
        "use_rslora": False,
        "fan_in_fan_out": False,
        "inference_mode": True,
        **settings,
    }
    tensors = {f"base_model.model.{name}.lora_A.weight": change.a.contiguous() for name, change in factors.items()}
    tensors |= {f"base_model.model.{name}.lora_B.weight": change.b.contiguous() for name, change in factors.items()}
    tensors |= {f"base_model.model.{name}": tensor.contiguous() for name, tensor in others.items()}
    weights = folder / "adapter_model.safetensors"
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors leaves it to its owner only
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def _linears(model: SymbioModel) -> list[tuple[str, nn.Linear]]:
    return [(n, m) for n, m in model.named_modules() if n.startswith("blocks.") and isinstance(m, nn.Linear)]


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
