"""Writes a trained model as the folder that `synapse up` serves. Knows the format, not how the model came to be."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from synapse_engine.train.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from synapse_engine.train.symbio_config import SymbioConfig

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
