"""Writes a trained model as the folder that `synapse up` serves, and reads it back. Knows nothing of training runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from synapse_engine.base_model import companions
from synapse_engine.convert.target import new_folder, write_bytes, write_json, write_text
from synapse_engine.train.errors import CheckpointError, ConfigError
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

TYPES = {"float32": torch.float32, "float16": torch.float16}


def write_model(
    target: Path,
    config: SymbioConfig,
    state: Mapping[str, Tensor],
    tokenizer: bytes,
    dtype: str = "float32",
    source: Mapping[str, Any] | None = None,
    extra: Mapping[str, bytes] | None = None,
    *,
    force: bool = False,
) -> None:
    """Writes a folder, whole or not at all. ``source`` goes into config.json, ``extra`` are further files."""
    tensors = {name: _converted(name, tensor, dtype) for name, tensor in state.items()}
    record = config.to_json() | {"dtype": dtype} | ({"source": dict(source)} if source else {})
    with new_folder(target, force=force) as folder:
        write_bytes(folder / "model.safetensors", save(tensors, {"format": "pt"}))
        write_json(folder / "config.json", record)
        write_bytes(folder / "tokenizer.json", tokenizer)
        for name, text in companions(config.max_position_embeddings).items():
            write_text(folder / name, text)
        for name, content in (extra or {}).items():
            write_bytes(folder / name, content)


def read_model(folder: Path) -> tuple[SymbioModel, Tokenizer]:
    """The model and the tokenizer of such a folder, in 32 bits."""
    try:
        config = SymbioConfig.from_json(json.loads((folder / "config.json").read_text()))
        state = load_file(folder / "model.safetensors")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        model = SymbioModel(config)
        model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder}: no such model folder", "synapse export RUN FOLDER makes one") from error
    except Exception as error:
        raise CheckpointError(f"{folder}: not an organelle model: {error}", "export it again") from error
    return model.eval(), tokenizer


def _converted(name: str, tensor: Tensor, dtype: str) -> Tensor:
    converted = tensor.detach().to(TYPES[dtype]).contiguous().clone()
    if not torch.isfinite(converted).all():
        if torch.isfinite(tensor).all():
            raise ConfigError(f"tensor `{name}` has numbers that {dtype} cannot hold", "export with --dtype float32")
        raise CheckpointError(f"tensor `{name}` has numbers that are not finite", "the run diverged; lower --lr")
    return converted
