"""The bytes of a JLD2 file and its object headers: a list of checked messages for an address. Never their meaning.

All addresses in the file count from the superblock, which follows Julia's preamble of 512 bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from synapse_engine.convert.errors import DamagedFileError, UnsupportedError

from .lookup3 import lookup3

_PREAMBLE = b"HDF5-based Julia Data Format, version "
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n"
_BASE = 512
_SUPERBLOCK_LENGTH = 48
_CONTINUATION = 16
_NIL = 0
# Bytes of headers in one file. A checkpoint's optimizer state needs some hundred kilobytes.
_MOST_HEADER_BYTES = 8 << 20


@dataclass(frozen=True)
class Message:
    """One message of an object header: its number in the specification, its flags, its bytes."""

    kind: int
    flags: int
    body: bytes


class Headers:
    """A file's bytes, and the object headers in them; each is read and checked once."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._known: dict[int, list[Message]] = {}
        self._bytes_left = _MOST_HEADER_BYTES
        self.root = self._read_superblock()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self._data)

    def at(self, address: int, length: int, what: str) -> memoryview:
        """``length`` bytes from ``address`` on."""
        if length < 0 or address < 0 or _BASE + address + length > len(self._data):
            raise self.damaged(f"{what} lies outside the file: {length} bytes at {address}")
        return memoryview(self._data)[_BASE + address : _BASE + address + length]

    def messages(self, address: int) -> list[Message]:
        """The messages of the object header at ``address``, without padding."""
        if address not in self._known:
            self._known[address] = list(self._read(address))
        return self._known[address]

    def damaged(self, reason: str) -> DamagedFileError:
        """The error that says so of this file."""
        return DamagedFileError(f"{self._name}: {reason}", "the file is damaged or not complete; get it again")

    def unsupported(self, reason: str, hint: str) -> UnsupportedError:
        """The error that says so of this file."""
        return UnsupportedError(f"{self._name}: {reason}", hint)

    def _read_superblock(self) -> int:
        block = self._data[_BASE : _BASE + _SUPERBLOCK_LENGTH]
        if not self._data.startswith(_PREAMBLE) or len(block) < _SUPERBLOCK_LENGTH:
            raise self.damaged("it does not begin as a JLD2 file does")
        if block[:12] != _SUPERBLOCK + b"\x02\x08\x08\x00":
            raise self.damaged("expected an HDF5 superblock of version 2 with 8-byte addresses at byte 512")
        base, _extension, end, root, checksum = struct.unpack("<4QI", block[12:])
        if checksum != lookup3(block[:-4]):
            raise self.damaged("the checksum of its superblock is wrong")
        # Alone among the addresses, the end of the file counts from the preamble.
        if base != _BASE or end > len(self._data):
            raise self.damaged(f"it claims {end} bytes, with addresses from {base} on, and has {len(self._data)}")
        return int(root)

    def _read(self, address: int) -> Iterator[Message]:
        flags, block, prefix = self._first_block(address)
        todo, seen = [block[prefix:-4]], {address}
        while todo:
            for message in self._split(todo.pop(0), address, tracked=bool(flags & 4)):
                if message.kind == _CONTINUATION:
                    todo.append(self._continuation(message.body, address, seen))
                elif message.kind != _NIL:
                    yield message

    def _first_block(self, address: int) -> tuple[int, bytes, int]:
        """The header's flags, its first block up to and with the checksum, and where the messages begin in it."""
        head = bytes(self.at(address, 6, "an object header"))
        if head[:5] != b"OHDR\x02":
            raise self.damaged(f"expected an object header of version 2 at {address}")
        flags = head[5]
        prefix = 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(self.at(address + prefix, width, "an object header"), "little")
        prefix += width
        return flags, self._checked(address, prefix + size + 4), prefix

    def _continuation(self, body: bytes, address: int, seen: set[int]) -> bytes:
        if len(body) != 16:
            raise self.damaged(f"the header at {address} continues nowhere")
        start, length = struct.unpack("<2Q", body)
        if start in seen or length < 8:
            raise self.damaged(f"the header at {address} continues in a circle")
        seen.add(start)
        block = self._checked(start, length)
        if block[:4] != b"OCHK":
            raise self.damaged(f"expected the rest of a header at {start}")
        return block[4:-4]

    def _checked(self, address: int, length: int) -> bytes:
        self._bytes_left -= length
        if self._bytes_left < 0:
            raise self.damaged(f"its headers claim more than {_MOST_HEADER_BYTES} bytes")
        block = bytes(self.at(address, length, "an object header"))
        if int.from_bytes(block[-4:], "little") != lookup3(block[:-4]):
            raise self.damaged(f"the checksum of the header at {address} is wrong")
        return block

    def _split(self, block: bytes, address: int, *, tracked: bool) -> Iterator[Message]:
        head = 6 if tracked else 4
        place = 0
        # What is left over at the end and too short for a message is a gap.
        while place + head <= len(block):
            kind, length, flags = struct.unpack_from("<BHB", block, place)
            place += head
            if place + length > len(block):
                raise self.damaged(f"a message in the header at {address} is longer than the header")
            yield Message(kind, flags, block[place : place + length])
            place += length
