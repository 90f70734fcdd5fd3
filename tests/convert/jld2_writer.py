"""Writes JLD2 files as Julia's package lays them out, as far as checkpoints need: the reader's counterpart.

Trees are nested dictionaries with arrays indexed as in Julia. A struct of up to ``inline_limit`` bytes lies inside the
struct that holds it, a larger one is an object of its own behind a reference. ``nibble`` is the version that stands in
every datatype: 0 in files of old writers, 3 in those of newer ones.
"""

import struct
from dataclasses import dataclass, field

import numpy as np

from synapse_engine.convert.jld2.lookup3 import lookup3

BASE = 512
_FLOATS = {2: (15, 10, 5, 0, 10, 15), 4: (31, 23, 8, 0, 23, 127), 8: (63, 52, 11, 0, 52, 1023)}
Tree = dict[str, "Tree | np.ndarray"]


@dataclass
class Jld2Writer:
    nibble: int = 3
    inline_limit: int = 1024
    committed: bool = True
    """Datatypes of structs stand under ``_types``, where datasets refer to them."""
    data: bytearray = field(default_factory=lambda: bytearray(48))
    """From the superblock on."""
    headers: list[tuple[int, int]] = field(default_factory=list)
    """Where each header block begins in the file, and its length with the checksum."""
    arrays: list[tuple[str, int, int]] = field(default_factory=list)
    """Each array's name, and where its bytes begin and end in the file."""

    def file(self, entries: Tree) -> bytes:
        links = {name: self._object(value, name) for name, value in entries.items()}
        root = self._group(links)
        end = BASE + len(self.data)
        block = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00" + struct.pack("<4Q", BASE, 2**64 - 1, end, root)
        self.data[:48] = block + struct.pack("<I", lookup3(block))
        self.headers.append((BASE, 48))
        preamble = b"HDF5-based Julia Data Format, version 0.2.0\0 (Julia 1.10.4 64-bit little endian)"
        return preamble.ljust(BASE, b"\0") + bytes(self.data)

    def _object(self, value: "Tree | np.ndarray", name: str) -> int:
        if isinstance(value, dict):
            return self._struct_object(*self._struct(value, name))
        space = struct.pack(f"<BBBB{value.ndim}Q", 2, value.ndim, 0, int(value.ndim > 0), *value.shape[::-1])
        raw = value.tobytes(order="F")
        type_message = (3, 0, self._number(value.dtype))
        if value.ndim == 0:
            return self._dataset(type_message, space, _compact(raw))
        address = self._append(raw)
        self.arrays.append((name, BASE + address, BASE + address + len(raw)))
        return self._dataset(type_message, space, struct.pack("<BBQQ", 4, 1, address, len(raw)))

    def _struct(self, tree: Tree, name: str) -> tuple[bytes, bytes]:
        """Its datatype and its bytes."""
        members = [(key, *self._member(value, f"{name}.{key}")) for key, value in tree.items()]
        raw = b"".join(value for _, _, value in members)
        width = (len(raw).bit_length() + 7) // 8
        type_, offset = self._head(6, len(members), len(raw)), 0
        for key, member_type, value in members:
            type_ += key.encode() + b"\0" + offset.to_bytes(width, "little") + member_type
            offset += len(value)
        return type_, raw

    def _member(self, value: "Tree | np.ndarray", name: str) -> tuple[bytes, bytes]:
        if isinstance(value, dict):
            type_, raw = self._struct(value, name)
            if len(raw) <= self.inline_limit:
                return type_, raw
            address = self._struct_object(type_, raw)
        elif value.ndim == 0:
            return self._number(value.dtype), value.tobytes()
        else:
            address = self._object(value, name)
        return self._head(7, 0, 8), struct.pack("<Q", address)

    def _struct_object(self, type_: bytes, raw: bytes) -> int:
        return self._dataset(self._datatype_message(type_), b"\x02\x00\x00\x00", _compact(raw))

    def _number(self, dtype: np.dtype) -> bytes:
        size = dtype.itemsize
        if dtype.kind != "f":
            return self._head(0, 8 if dtype.kind == "i" else 0, size) + struct.pack("<HH", 0, 8 * size)
        sign, *places, bias = _FLOATS[size]
        return self._head(1, 0x20 | sign << 8, size) + struct.pack("<HHBBBBI", 0, 8 * size, *places, bias)

    def _head(self, kind: int, bits: int, size: int) -> bytes:
        return bytes([self.nibble << 4 | kind]) + bits.to_bytes(3, "little") + struct.pack("<I", size)

    def _datatype_message(self, type_: bytes) -> tuple[int, int, bytes]:
        if not self.committed:
            return 3, 0, type_
        return 3, 2, b"\x03\x02" + struct.pack("<Q", self._header([(3, 0, type_)]))

    def _dataset(self, type_message: tuple[int, int, bytes], space: bytes, layout: bytes) -> int:
        fill, reserved = (5, 1, b"\x03\x09"), (0, 0, bytes(16))
        return self._header([fill, (1, 0, space), type_message, (8, 0, layout), reserved])

    def _group(self, links: dict[str, int]) -> int:
        """The first half of the links in the header itself, the others in a block that continues it."""
        messages = [
            (6, 0, b"\x01\x10\x01" + bytes([len(name.encode())]) + name.encode() + struct.pack("<Q", address))
            for name, address in links.items()
        ]
        half = len(messages) // 2
        rest = b"OCHK" + _messages(messages[half:])
        rest += struct.pack("<I", lookup3(rest))
        address = self._append(rest)
        self.headers.append((BASE + address, len(rest)))
        infos = [(2, 0, b"\x00\x00" + b"\xff" * 16), (10, 0, b"\x00\x00")]
        return self._header([*infos, *messages[:half], (16, 0, struct.pack("<QQ", address, len(rest)))])

    def _header(self, messages: list[tuple[int, int, bytes]]) -> int:
        body = _messages(messages)
        block = b"OHDR\x02\x02" + struct.pack("<I", len(body)) + body
        address = self._append(block + struct.pack("<I", lookup3(block)))
        self.headers.append((BASE + address, len(block) + 4))
        return address

    def _append(self, piece: bytes) -> int:
        address = len(self.data)
        self.data += piece
        return address


def repaired(file: bytes, headers: list[tuple[int, int]]) -> bytes:
    """The file with right checksums, whatever was done to its headers."""
    fixed = bytearray(file)
    for start, length in headers:
        block = bytes(fixed[start : start + length - 4])
        fixed[start + length - 4 : start + length] = struct.pack("<I", lookup3(block))
    return bytes(fixed)


def _compact(raw: bytes) -> bytes:
    return struct.pack("<BBH", 4, 0, len(raw)) + raw


def _messages(messages: list[tuple[int, int, bytes]]) -> bytes:
    return b"".join(struct.pack("<BHB", kind, len(body), flags) + body for kind, flags, body in messages)
