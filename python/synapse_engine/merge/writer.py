"""Writes a model's safetensors files piece by piece, in any order: their layout is fixed before the first number."""

import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from synapse_engine.convert.target import write_json

from .formats import STORED, Stored
from .weights import INDEX, Tensor, Weights


def lay_out(folder: Path, weights: Weights, dtype: str | None) -> dict[str, Tensor]:
    """Makes files like those of ``weights``, with room for every tensor; in ``dtype`` or each in its own.

    Returns the new tensors by name; ``write_rows`` fills them.
    """
    made: dict[str, Tensor] = {}
    for file, tensors in weights.files.items():
        made |= _lay_out_file(folder / file, tensors, dtype)
    if weights.sharded:
        total = sum(_bytes(tensor) for tensor in made.values())
        owners = {name: tensor.path.name for name, tensor in sorted(made.items())}
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": owners})
    return made


def write_rows(tensor: Tensor, start: int, stored: Stored) -> None:
    """Rows from ``start`` on, in the tensor's format."""
    with tensor.path.open("r+b") as file:
        file.seek(tensor.offset + start * tensor.width * stored.itemsize)
        file.write(np.ascontiguousarray(stored).data)


def flush(files: Iterable[Path]) -> None:
    """Onto the disk."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _lay_out_file(path: Path, tensors: list[Tensor], dtype: str | None) -> dict[str, Tensor]:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        kind = dtype or tensor.dtype
        begin, end = end, end + tensor.elements * STORED[kind].itemsize
        header[tensor.name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    # Padded, so that numbers begin at a multiple of eight.
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    made, offset = {}, 8 + len(text)
    for tensor in tensors:
        made[tensor.name] = Tensor(tensor.name, dtype or tensor.dtype, tensor.shape, path, offset)
        offset += _bytes(made[tensor.name])
    return made


def _bytes(tensor: Tensor) -> int:
    return tensor.elements * STORED[tensor.dtype].itemsize
