"""Weights on disk, read some rows at a time. Knows safetensors and their index, and nothing of models.

Format: the safetensors format description. A file is read only where its header says, after the header was checked.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from synapse_engine.convert.errors import DamagedFileError, MissingFileError, UnsupportedError
from synapse_engine.convert.files import read_json

from .formats import STORED, Floats, Stored, all_finite, to_float32

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
BLOCK = 1 << 22
"""Numbers worked on at a time; of results, at most the last bit of a product of matrices depends on it."""
_LONGEST_HEADER = 100_000_000
_AGAIN = "the file is damaged or not complete; get it again"


@dataclass(frozen=True)
class Tensor:
    """Where a tensor is. To everything here it is a matrix: its first dimension, and all others as one."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    """From the start of the file, in bytes."""

    @property
    def rows(self) -> int:
        """The first dimension."""
        return self.shape[0] if self.shape else 1

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return prod(self.shape[1:])

    @property
    def elements(self) -> int:
        """Numbers in all."""
        return self.rows * self.width

    def stored(self, start: int, stop: int) -> Stored:
        """Rows as they are in the file, (stop - start, width)."""
        dtype = STORED[self.dtype]
        count = (stop - start) * self.width
        found = np.fromfile(self.path, dtype, count, offset=self.offset + start * self.width * dtype.itemsize)
        if found.size != count:
            raise DamagedFileError(f"{self.path.name}: tensor `{self.name}` ends too early", _AGAIN)
        return found.reshape(stop - start, self.width)

    def read(self, start: int, stop: int) -> Floats:
        """Rows in float32; raises DamagedFileError for numbers that are not finite."""
        stored = self.stored(start, stop)
        if not all_finite(stored, self.dtype):
            raise DamagedFileError(f"{self.path.name}: tensor `{self.name}` has numbers that are not finite", _AGAIN)
        return to_float32(stored, self.dtype)

    def whole(self) -> Floats:
        """All of it in float32, in its own shape."""
        return self.read(0, self.rows).reshape(self.shape)


@dataclass(frozen=True)
class Weights:
    """The tensors of one model by name, and by file in the order in which they lie there."""

    tensors: dict[str, Tensor]
    files: dict[str, list[Tensor]]
    sharded: bool


def row_blocks(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """First row and the one after the last of blocks of about ``BLOCK`` numbers."""
    step = max(1, BLOCK // tensor.width)
    for start in range(0, tensor.rows, step):
        yield start, min(start + step, tensor.rows)


def read_weights(folder: Path) -> Weights:
    """``model.safetensors`` of a folder, or the files that its index names; raises ConvertError."""
    if (folder / SINGLE).is_file():
        return read_file(folder / SINGLE)
    if not (folder / INDEX).is_file():
        raise MissingFileError(f"{folder} has no {SINGLE} and no {INDEX}", "name a folder with safetensors weights")
    owners = _owners(folder / INDEX)
    files: dict[str, list[Tensor]] = {}
    for file in sorted(set(owners.values())):
        found = read_file(folder / file).tensors
        mine = {name for name, owner in owners.items() if owner == file}
        if lost := sorted(mine - found.keys()):
            raise DamagedFileError(f"tensor `{lost[0]}` is not in {file}, where the index says it is", _AGAIN)
        files[file] = [tensor for tensor in found.values() if tensor.name in mine]
    return Weights(_by_name(each for tensors in files.values() for each in tensors), files, sharded=True)


def read_file(path: Path) -> Weights:
    """One safetensors file; raises ConvertError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, _LONGEST_HEADER):
                raise ValueError(f"its header claims {length} bytes of {size}")
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        found = [_tensor(path, name, entry, 8 + length) for name, entry in entries.items()]
        found.sort(key=lambda tensor: tensor.offset)
        _check_cover(found, 8 + length, size)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file", "check the path") from error
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f"{path.name} is not a sound safetensors file: {error}", _AGAIN) from error
    return Weights(_by_name(found), {path.name: found}, sharded=False)


def _tensor(path: Path, name: str, entry: dict[str, Any], begin: int) -> Tensor:
    dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype not in STORED:
        raise UnsupportedError(
            f"{path.name}: tensor `{name}` is {dtype}; weights that can be merged are {', '.join(STORED)}",
            "name the model as it was before it was quantized",
        )
    if not all(type(extent) is int and extent > 0 for extent in shape):
        raise ValueError(f"tensor {name} has the shape {list(shape)}")
    if stop - start != prod(shape) * STORED[dtype].itemsize:
        raise ValueError(f"tensor {name} has {stop - start} bytes, which is not what its shape takes")
    return Tensor(name, dtype, shape, path, begin + start)


def _check_cover(tensors: Iterable[Tensor], begin: int, size: int) -> None:
    """Tensors fill the file without gap or overlap."""
    for tensor in tensors:
        if tensor.offset != begin:
            raise ValueError(f"tensor {tensor.name} begins at {tensor.offset}; expected {begin}")
        begin += tensor.elements * STORED[tensor.dtype].itemsize
    if begin != size:
        raise ValueError(f"its tensors end at {begin}; it has {size} bytes")


def _owners(index: Path) -> dict[str, str]:
    content = read_json(index)
    owners = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(owners, dict) or not all(isinstance(file, str) for file in owners.values()):
        raise DamagedFileError(f"{index.name} has no weight_map of names to files", _AGAIN)
    for file in owners.values():
        if PurePath(file).name != file or "\\" in file:
            raise DamagedFileError(f"{index.name}: `{file}` is not the name of a file in this folder", _AGAIN)
    return owners


def _by_name(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in sorted(tensors, key=lambda each: each.name)}
