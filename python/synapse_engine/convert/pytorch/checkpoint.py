"""From ``data.pkl`` and the storages beside it to plain data with NumPy arrays in the place of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from synapse_engine.convert.errors import UnsupportedError

from .archive import Archive
from .machine import Builder, ForbiddenNameError, Machine, PickleError

_LARGEST_PICKLE = 16 << 20
_MOST_DIMENSIONS = 8
# Tensors may share a storage, as tied weights do; without a limit a small file could fill memory so.
_MOST_SHARED = 4

# bfloat16 is read as the upper half of a float32.
_BFLOAT16 = "bfloat16"
_STORAGES = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}  # fmt: skip


def read_checkpoint(data: bytes, name: str) -> Any:
    """What ``torch.load`` would give, with arrays for tensors (bfloat16 as float32). Raises ConvertError."""
    archive = Archive(data, name)
    tensors = _Tensors(archive)
    try:
        return Machine(tensors.builders, tensors.storage).run(bytes(archive.read("data.pkl", _LARGEST_PICKLE)))
    except ForbiddenNameError as error:
        raise UnsupportedError(
            f"{name}: its pickle asks for `{error}`, which no list of weights needs; nothing was run",
            "save the weights alone: torch.save(model.state_dict(), path)",
        ) from error
    except PickleError as error:
        raise archive.damaged(f"its pickle is broken: {error}") from error


@dataclass(frozen=True)
class _Storage:
    values: np.ndarray
    dtype: str


class _Tensors:
    """Makes arrays of an archive's storages."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._storages: dict[str, _Storage] = {}
        self._bytes_left = _MOST_SHARED * archive.size
        self.builders: dict[str, Builder] = {
            "collections.OrderedDict": _ordered_dictionary,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch.Size": lambda extents=(): tuple(extents),
            **{f"torch.{kind}": _not_callable for kind in _STORAGES},
        }

    def storage(self, identity: Any) -> _Storage:
        """The storage of a persistent id: ``("storage", its class, the entry's key, where it was, its length)``."""
        word, kind, key, _, length = identity
        dtype = _STORAGES.get(kind.text.removeprefix("torch."))
        if word != "storage" or dtype is None or not isinstance(key, str) or not isinstance(length, int):
            raise PickleError("a storage is not described as PyTorch does")
        if key not in self._storages:
            self._storages[key] = _Storage(_values(self._archive.read(f"data/{key}"), dtype), dtype)
        stored = self._storages[key]
        if stored.dtype != dtype or stored.values.size != length:
            raise PickleError(f"storage {key}: expected {length} numbers of {dtype}, found {stored.values.size}")
        return stored

    def _tensor(self, storage: _Storage, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any) -> Any:
        values = storage.values
        numbers = [offset, *shape, *strides]
        if any(type(number) is not int or number < 0 for number in numbers) or len(shape) != len(strides):
            raise PickleError("a tensor's shape, strides and offset are not counts")
        if len(shape) > _MOST_DIMENSIONS:
            raise PickleError(f"a tensor has {len(shape)} dimensions")
        count = prod(shape)
        self._bytes_left -= count * values.itemsize
        if self._bytes_left < 0:
            raise PickleError("its tensors share their numbers too often")
        last = offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True))
        if count and last >= values.size:
            raise PickleError(f"a tensor of shape {tuple(shape)} reaches past the end of its storage")
        if not count:
            return np.zeros(shape, values.dtype)
        view = np.lib.stride_tricks.as_strided(
            values[offset:], tuple(shape), [stride * values.itemsize for stride in strides], writeable=False
        )
        return _widened(view, storage.dtype)


def _values(data: memoryview, dtype: str) -> np.ndarray:
    return np.frombuffer(data, "<u2" if dtype == _BFLOAT16 else dtype)


def _widened(view: np.ndarray, dtype: str) -> np.ndarray:
    return (view.astype("<u4") << 16).view("<f4") if dtype == _BFLOAT16 else view


def _ordered_dictionary(*items: Any) -> dict[Any, Any]:
    if items:
        raise PickleError("an ordered dictionary is not built empty")
    return {}


def _not_callable(*_: Any) -> Any:
    raise PickleError("it calls a storage's class")
