"""Reads what a model file says about itself: metadata, and the name, type and shape of each tensor. Never a weight.

Formats: the GGUF specification (ggml-org/ggml, docs/gguf.md), versions 2 and 3; safetensors (huggingface/safetensors).
"""

import json
import struct
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DamagedError

_LONGEST_JSON = 100 << 20
_LONGEST_STRING = 16 << 20
_MOST_DIMENSIONS = 8
_SHORT_LIST = 16

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_GGML_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16",
}  # fmt: skip


@dataclass(frozen=True)
class TensorHeader:
    """A tensor's name, number format and shape (outermost dimension first)."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


@dataclass
class ModelHeader:
    """What one or several files of one model say. Long lists in the metadata are given as ``[N values]``."""

    format: str
    metadata: dict[str, Any] = field(default_factory=dict)
    tensors: list[TensorHeader] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """How many numbers all tensors have together."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def quant(self) -> str:
        """The number format of most weights."""
        weight_of: Counter[str] = Counter()
        for tensor in self.tensors:
            weight_of[tensor.dtype] += tensor.elements
        return weight_of.most_common(1)[0][0] if weight_of else "-"


def read_header(path: Path) -> ModelHeader:
    """Reads a ``.gguf`` or ``.safetensors`` file, or a folder of them; raises DamagedError."""
    if path.is_dir():
        return _read_folder(path)
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".gguf":
                return _Gguf(file, size).read()
            return _read_safetensors(file, size)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(
            f"{path.name} is not a sound {path.suffix.lstrip('.').lower()} file: {error}",
            "the file is damaged or not complete; get it again",
        ) from error


def is_packed(name: str) -> bool:
    """True for the engine's own packed weights, which it keeps beside a model and makes anew when they are gone."""
    return ".synapse-" in name and name.endswith(".safetensors")


def _read_folder(folder: Path) -> ModelHeader:
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        return read_header(ggufs[0])
    header = ModelHeader("safetensors")
    for file in sorted(folder.glob("*.safetensors")):
        if not is_packed(file.name):
            header.tensors += read_header(file).tensors
    config = folder / "config.json"
    if config.is_file():
        try:
            header.metadata = json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DamagedError(f"{config} is not JSON: {error}") from error
    return header


def _read_safetensors(file: BinaryIO, size: int) -> ModelHeader:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size - 8, _LONGEST_JSON):
        raise ValueError(f"its header claims {length} bytes of {size}")
    entries = json.loads(file.read(length))
    header = ModelHeader("safetensors", entries.pop("__metadata__", None) or {})
    for name, entry in entries.items():
        header.tensors.append(TensorHeader(name, str(entry["dtype"]), tuple(int(extent) for extent in entry["shape"])))
        if entry["data_offsets"][1] > size - 8 - length:
            raise ValueError(f"tensor {name} ends after the end of the file")
    return header


class _Gguf:
    """A cursor over the head of a GGUF file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def read(self) -> ModelHeader:
        if self._file.read(4) != b"GGUF":
            raise ValueError("it does not begin with the letters GGUF")
        version = self._scalar("<I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not 2 or 3")
        tensors, entries = self._count(), self._count()
        header = ModelHeader("gguf")
        for _ in range(entries):
            key = self._string()
            header.metadata[key] = self._value(self._scalar("<I"))
        for _ in range(tensors):
            header.tensors.append(self._tensor())
        return header

    def _tensor(self) -> TensorHeader:
        name, dimensions = self._string(), self._scalar("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name} claims {dimensions} dimensions")
        shape = tuple(self._scalar("<Q") for _ in range(dimensions))
        kind = self._scalar("<I")
        self._scalar("<Q")
        return TensorHeader(name, _GGML_TYPES.get(kind, f"type {kind}"), shape[::-1])

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        return self._scalar(_SCALARS[kind])

    def _array(self) -> Any:
        """Short lists are read, long ones (the vocabulary) only counted."""
        kind, length = self._scalar("<I"), self._count()
        if kind != _ARRAY and length <= _SHORT_LIST:
            return [self._value(kind) for _ in range(length)]
        self._skip_values(kind, length)
        return f"[{length} values]"

    def _skip_values(self, kind: int, length: int) -> None:
        if kind == _STRING:
            for _ in range(length):
                self._skip(self._string_length())
        elif kind == _ARRAY:
            raise ValueError("it has a list of lists")
        else:
            self._skip(length * struct.calcsize(_SCALARS[kind]))

    def _string(self) -> str:
        return self._exactly(self._string_length()).decode("utf-8", errors="replace")

    def _string_length(self) -> int:
        length = self._scalar("<Q")
        if length > _LONGEST_STRING:
            raise ValueError(f"a string claims {length} bytes")
        return int(length)

    def _count(self) -> int:
        count = self._scalar("<Q")
        if count > self._size:
            raise ValueError(f"it claims {count} entries in {self._size} bytes")
        return int(count)

    def _scalar(self, layout: str) -> Any:
        return struct.unpack(layout, self._exactly(struct.calcsize(layout)))[0]

    def _skip(self, length: int) -> None:
        if length > self._size - self._file.tell():
            raise ValueError("it ends too early")
        self._file.seek(length, 1)

    def _exactly(self, length: int) -> bytes:
        piece = self._file.read(length)
        if len(piece) != length:
            raise ValueError("it ends too early")
        return piece
