"""From an object to a flat table of its leaves, through structs inside structs, references and groups."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synapse_engine.convert.errors import UnsupportedError

from .file import Dataset, Jld2File
from .types import Compound, Datatype, Number, Other, Reference

_MOST_NESTED = 16
# Objects, fields and elements that the walk may meet: a group of links to groups of links grows with every level.
_MOST_STEPS = 100_000
_NOWHERE = (0, 2**64 - 1)

Leaf = np.ndarray
"""An array in Julia's order of indices: ``leaf[i, j]`` is Julia's ``leaf[i + 1, j + 1]``. Scalars have no index."""


def flatten(file: Jld2File, name: str) -> dict[str, Leaf]:
    """The leaves below the top-level ``name``, under their names joined by dots; the object itself is named ``""``.

    Fields that hold nothing are left out; something other than numbers is an error that names it. Raises ConvertError.
    """
    if name not in file.names:
        raise file.headers.damaged(f"it has no entry {name!r}, only {', '.join(sorted(file.names)[:20])}")
    return dict(_Walk(file).object(file.names[name], _Path()))


@dataclass(frozen=True)
class _Path:
    """Where the walk is: the names so far, and the addresses on the way, to see circles."""

    names: tuple[str, ...] = ()
    addresses: tuple[int, ...] = ()

    def named(self, name: str) -> "_Path":
        return _Path((*self.names, name), self.addresses)

    def at(self, address: int) -> "_Path":
        return _Path(self.names, (*self.addresses, address))

    @property
    def text(self) -> str:
        return ".".join(self.names)


class _Walk:
    def __init__(self, file: Jld2File) -> None:
        self._file = file
        self._steps_left = _MOST_STEPS
        # No leaf is larger than the file, and all together are not: otherwise one array could be a thousand leaves.
        self._bytes_left = file.headers.size

    def object(self, address: int, path: _Path) -> Iterator[tuple[str, Leaf]]:
        if address in path.addresses or len(path.addresses) > _MOST_NESTED or len(path.names) > _MOST_NESTED:
            raise self._file.headers.damaged(f"{path.text or 'the tree'} refers to itself or is nested too deep")
        self._count(path, 0)
        path = path.at(address)
        if self._file.is_group(address):
            for name, below in self._file.links(address).items():
                yield from self.object(below, path.named(name))
        else:
            yield from self._dataset(self._file.dataset(address), path)

    def _dataset(self, dataset: Dataset, path: _Path) -> Iterator[tuple[str, Leaf]]:
        if dataset.shape is None:
            return
        if dataset.shape == ():
            yield from self._scalar(dataset.type, dataset.data, path)
        elif isinstance(dataset.type, Number):
            self._count(path, len(dataset.data))
            yield path.text, np.frombuffer(dataset.data, dataset.type.dtype).reshape(dataset.shape).T
        else:
            raise self._unsupported(dataset.type, path)

    def _scalar(self, type_: Datatype, data: memoryview, path: _Path) -> Iterator[tuple[str, Leaf]]:
        match type_:
            case Compound():
                for member in type_.members:
                    self._count(path, 0)
                    piece = data[member.offset : member.offset + member.type.size]
                    yield from self._scalar(member.type, piece, path.named(member.name))
            case Reference():
                address = int.from_bytes(data, "little")
                if address not in _NOWHERE:
                    yield from self.object(address, path)
            case Number():
                self._count(path, type_.size)
                yield path.text, np.frombuffer(data, type_.dtype).reshape(())
            case Other():
                raise self._unsupported(type_, path)

    def _unsupported(self, type_: Datatype, path: _Path) -> UnsupportedError:
        what = type_.what if isinstance(type_, Other) else "an array of structs or references"
        return self._file.headers.unsupported(f"`{path.text}` is {what}", "save plain arrays of floating-point numbers")

    def _count(self, path: _Path, length: int) -> None:
        self._steps_left -= 1
        self._bytes_left -= length
        if self._steps_left < 0:
            raise self._file.headers.damaged(f"its parameters are more than {_MOST_STEPS} things, at {path.text}")
        if self._bytes_left < 0:
            raise self._file.headers.damaged(f"its parameters claim more than the file holds, at {path.text}")
