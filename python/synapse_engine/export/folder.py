"""Writes a trained model as the folder that `synapse up` serves, and reads it back. Knows nothing of training runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from synapse_engine.train.errors import CheckpointError, ConfigError
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

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
) -> None:
    """Writes a new folder, whole or not at all. ``source`` goes into config.json, ``extra`` are further files."""
    if target.exists():
        raise ConfigError(f"{target} exists", "name another folder, or remove this one")
    tensors = {name: _converted(name, tensor, dtype) for name, tensor in state.items()}
    record = config.to_json() | {"dtype": dtype} | ({"source": dict(source)} if source else {})
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        save_file(tensors, fresh / "model.safetensors", metadata={"format": "pt"})
        _write_json(fresh / "config.json", record)
        (fresh / "tokenizer.json").write_bytes(tokenizer)
        _write_json(fresh / "tokenizer_config.json", _tokenizer_config(config.max_position_embeddings))
        for name, content in (extra or {}).items():
            (fresh / name).write_bytes(content)
        _make_readable(fresh)
        fresh.replace(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


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


def _make_readable(folder: Path) -> None:
    # Temporary folders, and the files of safetensors, are for their owner only.
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _converted(name: str, tensor: Tensor, dtype: str) -> Tensor:
    converted = tensor.detach().to(TYPES[dtype]).contiguous().clone()
    if not torch.isfinite(converted).all():
        if torch.isfinite(tensor).all():
            raise ConfigError(f"tensor `{name}` has numbers that {dtype} cannot hold", "export with --dtype float32")
        raise CheckpointError(f"tensor `{name}` has numbers that are not finite", "the run diverged; lower --lr")
    return converted


def _tokenizer_config(window: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": window,
        "clean_up_tokenization_spaces": False,
    }


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")
