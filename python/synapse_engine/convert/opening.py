"""Finds out what a source is, and reads it: a checkpoint's arrays under the names that it gave them."""

from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DamagedFileError, MissingFileError, UnsupportedError
from .files import read_bytes
from .jld2 import Jld2File, flatten
from .npz import read_npz
from .pytorch import read_checkpoint
from .sources.state_dict import unwrap

_SUFFIXES = (".jld2", ".pt", ".pth", ".bin", ".ckpt", ".npz")
# Facts worth keeping, of all that stands in a checkpoint beside its weights.
_FACTS = ("step", "best_val_loss", "val_loss", "val_ppl", "epoch", "n_params")


@dataclass
class Opened:
    """What a file holds, before any name is understood."""

    path: Path
    format: str
    """``jld2``, ``pytorch`` or ``npz``."""
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    """A configuration inside the file, if it has one."""


def open_source(source: Path) -> Opened:
    """``source`` is a checkpoint, or a folder with one. Raises ConvertError."""
    path = _only_checkpoint(source) if source.is_dir() else source
    data = read_bytes(path)
    if data.startswith(b"HDF5-based Julia") or path.suffix == ".jld2":
        return _jld2(path, data)
    if path.suffix == ".npz":
        return _npz(path, data)
    if path.suffix == ".safetensors":
        raise UnsupportedError(f"{path.name} is safetensors already", "synapse up FOLDER serves it")
    tensors, facts, config = unwrap(read_checkpoint(data, path.name), path.name)
    return Opened(path, "pytorch", tensors, _kept(facts), config)


def _only_checkpoint(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise MissingFileError(f"{folder} has no checkpoint ({', '.join(_SUFFIXES)})", "name the file itself")
    names = ", ".join(path.name for path in found)
    raise UnsupportedError(f"{folder} has several checkpoints: {names}", "name the file itself")


def _jld2(path: Path, data: bytes) -> Opened:
    file = Jld2File(data, path.name)
    leaves = flatten(file, "parameters")
    facts = {}
    for name in _FACTS:
        # Facts are for the card; one that is not a number is no reason to refuse the weights.
        with suppress(UnsupportedError):
            if name in file.names and (leaf := flatten(file, name).get("")) is not None and leaf.ndim == 0:
                facts[name] = leaf.item()
    return Opened(path, "jld2", leaves, _kept(facts))


def _npz(path: Path, data: bytes) -> Opened:
    """Arrays under PyTorch's names, and settings of one number each whose names begin with ``_hp_``."""
    arrays = read_npz(data, path.name)
    settings = {name.removeprefix("_hp_"): array for name, array in arrays.items() if name.startswith("_hp_")}
    for name, array in settings.items():
        if array.size != 1:
            raise DamagedFileError(f"{path.name}: _hp_{name} has {array.size} numbers; expected one", "get it again")
    config = {name: array.reshape(()).item() for name, array in settings.items()}
    tensors = {name: array for name, array in arrays.items() if not name.startswith("_hp_")}
    return Opened(path, "npz", {_with_weight(name): array for name, array in tensors.items()}, {}, config)


def _with_weight(name: str) -> str:
    """JuliaSLM's arrays may lack the last word of a linear layer's name."""
    return f"{name}.weight" if name.rsplit(".", 1)[-1] in ("wq", "wk", "wv", "wo", "w1", "v", "w2") else name


def _kept(facts: dict[str, Any]) -> dict[str, Any]:
    """Those that a card shows: finite numbers."""
    kept = {key: facts[key] for key in _FACTS if key in facts}
    return {key: value for key, value in kept.items() if isinstance(value, int | float) and isfinite(value)}
