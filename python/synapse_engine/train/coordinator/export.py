"""Writes a coordinator as the folder that the engine loads, and reads it back. Knows nothing of training runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save

from synapse_engine.convert.target import new_folder, write_bytes, write_json, write_text
from synapse_engine.train.coordinator.grams import Grams
from synapse_engine.train.coordinator.model import STORED, WANT, Coordinator, Kin
from synapse_engine.train.coordinator.vocabulary import read_vocabulary
from synapse_engine.train.errors import CheckpointError, ConfigError
from synapse_engine.train.symbio_config import SymbioConfig

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor

VERSION = 3
_GRAMS, _TOKENS = "coordinator.grams", "tok_emb.weight"
SETTINGS = "coordinator.json"
# Tensors that are not the encoder's: in the file, and in the module.
_OWN = (
    "query",
    "project.weight",
    "project.bias",
    "families.weight",
    "families.bias",
    "telling",
)


@dataclass(frozen=True)
class Calibration:
    """What turns scores into decisions."""

    temperature: float = 1.0
    threshold: float = 0.5
    """Below this probability nobody is chosen."""
    source: dict[str, Any] = field(default_factory=dict)
    """Where the model comes from."""


def write_coordinator(
    target: Path,
    model: Coordinator,
    tokenizer: Tokenizer,
    calibration: Calibration,
    card: str,
    dtype: torch.dtype = torch.float16,
    *,
    force: bool = False,
) -> None:
    """Writes a folder, whole or not at all."""
    state = model.state_dict()
    tensors = {
        name.removeprefix("encoder."): _converted(tensor, dtype)
        for name, tensor in state.items()
        if name.startswith("encoder.")
    }
    tensors[_TOKENS] = _converted(tensors[_TOKENS], STORED)
    tensors |= {f"coordinator.{name}": _converted(state[name], torch.float32) for name in _OWN}
    if model.kin is None:
        raise ConfigError("this coordinator has no n-grams", "set `kin` first")
    tensors[_GRAMS] = _converted(model.kin.table, STORED)
    numbers = {name: number.item() for name, number in model.comparison.named_parameters()}
    names = {torch.float16: "float16", torch.float32: "float32"}
    settings = {"version": VERSION, "want": WANT} | numbers | asdict(calibration)
    with new_folder(target, force=force) as folder:
        write_bytes(folder / "model.safetensors", save(tensors, {"format": "pt"}))
        write_json(folder / "config.json", model.config.to_json() | {"dtype": names[dtype]})
        write_json(folder / SETTINGS, settings)
        write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=False))
        write_text(folder / "README.md", card)


def read_coordinator(folder: Path) -> tuple[Coordinator, Tokenizer, dict[str, Any]]:
    """The model in 32 bits, its tokenizer and what ``coordinator.json`` says."""
    try:
        settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text())
        model = Coordinator(SymbioConfig.from_json(json.loads((folder / "config.json").read_text())))
        tensors = load_file(folder / "model.safetensors")
        table = tensors.pop(_GRAMS).float()
        state = {
            name.removeprefix("coordinator.") if name.startswith("coordinator.") else f"encoder.{name}": tensor.float()
            for name, tensor in tensors.items()
        }
        for name, _ in model.comparison.named_parameters():
            state[f"comparison.{name}"] = torch.tensor(settings[name])
        model.load_state_dict(state)
        tokenizer = read_vocabulary((folder / "tokenizer.json").read_text("utf-8"))
        model.kin = Kin(Grams(tokenizer), table)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder}: no coordinator lies here", "export one: docs/routing.md") from error
    except Exception as error:
        raise CheckpointError(f"{folder}: not a coordinator: {error}", "export it again") from error
    return model.eval(), tokenizer, settings


def _converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    converted = tensor.detach().to(dtype).contiguous().clone()
    if not torch.isfinite(converted.float()).all():
        raise CheckpointError(f"the model has numbers that {dtype} cannot hold", "train with a lower rate")
    return converted
