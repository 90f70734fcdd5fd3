"""A JLD2 file's objects: links from names to addresses, and datasets with type, shape and bytes."""

import struct
from dataclasses import dataclass
from math import prod

from .headers import Headers, Message
from .types import LONGEST_NAME, Datatype, parse_datatype

_DATASPACE, _DATATYPE, _LINK, _LAYOUT, _FILTERS = 1, 3, 6, 8, 11
_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2
_SHARED = 2
_SCALAR, _SIMPLE, _NULL = 0, 1, 2
_MOST_DIMENSIONS = 8
_RESAVE = "save it from Julia without compression: jldsave(path; parameters, step, best_val_loss)"


@dataclass(frozen=True)
class Dataset:
    """Values of one type. ``shape`` is in HDF5's order, the reverse of Julia's; None if there is no value at all."""

    type: Datatype
    shape: tuple[int, ...] | None
    data: memoryview


class Jld2File:
    """A file that has been opened, and its top-level names."""

    def __init__(self, data: bytes, name: str) -> None:
        self.headers = Headers(data, name)
        self._datasets: dict[int, Dataset] = {}
        self.names = self.links(self.headers.root)

    def links(self, address: int) -> dict[str, int]:
        """The names in a group, and the addresses that they stand for."""
        return dict(self._link(message.body) for message in self.headers.messages(address) if message.kind == _LINK)

    def is_group(self, address: int) -> bool:
        """True for an object without data of its own."""
        return not any(message.kind == _DATASPACE for message in self.headers.messages(address))

    def dataset(self, address: int) -> Dataset:
        """The dataset at ``address``; its bytes are as many as its shape and type say."""
        if address not in self._datasets:
            self._datasets[address] = self._read(address)
        return self._datasets[address]

    def _read(self, address: int) -> Dataset:
        messages = {message.kind: message for message in self.headers.messages(address)}
        for kind, what in ((_DATASPACE, "shape"), (_DATATYPE, "type"), (_LAYOUT, "data")):
            if kind not in messages:
                raise self.headers.damaged(f"the object at {address} has no {what}")
        if _FILTERS in messages:
            raise self.headers.unsupported("its arrays are compressed", _RESAVE)
        type_ = self._datatype(messages[_DATATYPE])
        shape = self._shape(messages[_DATASPACE].body)
        length = 0 if shape is None else type_.size * prod(shape)
        return Dataset(type_, shape, self._data(messages[_LAYOUT].body, length))

    def _link(self, body: bytes) -> tuple[str, int]:
        if len(body) < 2 or body[0] != 1:
            raise self.headers.damaged("expected a link of version 1")
        flags, place = body[1], 2
        if flags & 8 and body[place : place + 1] != b"\0":
            raise self.headers.unsupported(
                "it has a link that is not a hard link", "copy the linked data into the file"
            )
        place += (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(body[place : place + width], "little")
        name = body[place + width : place + width + length]
        address = body[place + width + length :]
        if len(name) > LONGEST_NAME:
            raise self.headers.damaged(f"a name has {len(name)} bytes")
        if len(name) != length or len(address) != 8:
            raise self.headers.damaged("a link is shorter than it says")
        return self._text(name), int.from_bytes(address, "little")

    def _text(self, name: bytes) -> str:
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.headers.damaged(f"a name is not UTF-8: {name!r}") from error

    def _datatype(self, message: Message) -> Datatype:
        """Written out here, or committed: shared by several datasets and somewhere else in the file."""
        if message.flags & _SHARED:
            body = message.body
            if len(body) != 10 or body[:2] not in (b"\x02\x02", b"\x03\x02"):
                raise self.headers.damaged("a shared type is not given by its address")
            committed = self.headers.messages(int.from_bytes(body[2:], "little"))
            message = next((each for each in committed if each.kind == _DATATYPE), message)
            if message.flags & _SHARED:
                raise self.headers.damaged("a shared type is not at its address")
        try:
            return parse_datatype(message.body)
        except ValueError as error:
            raise self.headers.damaged(str(error)) from error

    def _shape(self, body: bytes) -> tuple[int, ...] | None:
        """From a dataspace message of version 2; () for a scalar."""
        if len(body) < 4 or body[0] != 2 or body[3] not in (_SCALAR, _SIMPLE, _NULL) or body[1] > _MOST_DIMENSIONS:
            raise self.headers.damaged("expected a dataspace of version 2")
        if body[3] == _NULL:
            return None
        rank = body[1]
        if len(body) < 4 + 8 * rank or (body[3] == _SCALAR and rank):
            raise self.headers.damaged("a shape is shorter than it says")
        return struct.unpack_from(f"<{rank}Q", body, 4)

    def _data(self, body: bytes, length: int) -> memoryview:
        """The bytes behind a layout message of version 3 or 4, which agree on what JLD2 uses."""
        if len(body) < 2 or body[0] not in (3, 4):
            raise self.headers.damaged("expected a data layout of version 3 or 4")
        if body[1] == _COMPACT:
            found, data = int.from_bytes(body[2:4], "little"), memoryview(body)[4:]
        elif body[1] == _CONTIGUOUS and len(body) >= 18:
            address, found = struct.unpack_from("<2Q", body, 2)
            data = self.headers.at(address, found, "an array") if found else memoryview(b"")
        elif body[1] == _CHUNKED:
            raise self.headers.unsupported("its arrays are stored in chunks", _RESAVE)
        else:
            raise self.headers.damaged("a data layout is neither compact nor contiguous")
        if found < length or len(data) < length:
            raise self.headers.damaged(f"an array has {found} bytes where its shape asks for {length}")
        return data[:length]
