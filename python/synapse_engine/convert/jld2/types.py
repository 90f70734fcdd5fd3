"""HDF5 datatypes as JLD2 packs them: numbers, references, and compounds of them. Reads no value.

The version in a datatype's first byte is ignored: old writers leave it 0 where newer ones write 3, and both pack as
version 3 does (a member is its name and a zero byte, the offset in as few bytes as hold the compound's size, its type).
"""

import struct
from dataclasses import dataclass

LONGEST_NAME = 255
_MOST_NESTED = 16
_HEAD = 8

_REFERENCE_SIZE = 8
# Properties of an IEEE number: bit offset, precision, exponent's place and size, mantissa's place and size, bias.
_IEEE = {
    2: struct.pack("<HHBBBBI", 0, 16, 10, 5, 0, 10, 15),
    4: struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 127),
    8: struct.pack("<HHBBBBI", 0, 64, 52, 11, 0, 52, 1023),
}


@dataclass(frozen=True)
class Number:
    """A little-endian integer or IEEE number; ``dtype`` is NumPy's name for it, such as ``<f4``."""

    size: int
    dtype: str


@dataclass(frozen=True)
class Reference:
    """The address of an object."""

    size: int


@dataclass(frozen=True)
class Member:
    """A field of a compound and the byte where it begins."""

    name: str
    offset: int
    type: "Datatype"


@dataclass(frozen=True)
class Compound:
    """A struct or a named tuple."""

    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Other:
    """A type that no parameter has: text, bit fields, numbers of unusual layout."""

    size: int
    what: str


Datatype = Number | Reference | Compound | Other


def parse_datatype(body: bytes) -> Datatype:
    """The type in a datatype message; raises ValueError."""
    return _Parser(body).read(0)


class _Parser:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._place = 0

    def read(self, depth: int) -> Datatype:
        if depth > _MOST_NESTED:
            raise ValueError(f"a type is nested more than {_MOST_NESTED} deep")
        head = self._take(_HEAD)
        kind, bits, size = head[0] & 15, int.from_bytes(head[1:4], "little"), int.from_bytes(head[4:], "little")
        if size == 0:
            raise ValueError("a type has no bytes")
        match kind:
            case 0:
                return self._fixed_point(bits, size)
            case 1:
                return self._float(bits, size)
            case 6:
                return self._compound(bits & 0xFFFF, size, depth)
            case 7 if size == _REFERENCE_SIZE and bits == 0:
                return Reference(size)
        return self._other(kind, bits, size, depth)

    def _fixed_point(self, bits: int, size: int) -> Datatype:
        offset, precision = struct.unpack("<HH", self._take(4))
        if bits & ~8 or size not in (1, 2, 4, 8) or (offset, precision) != (0, 8 * size):
            return Other(size, "an integer of unusual layout")
        return Number(size, f"<{'i' if bits & 8 else 'u'}{size}")

    def _float(self, bits: int, size: int) -> Datatype:
        properties = self._take(12)
        # Bits: little endian, zero padding, the leading bit of the mantissa implied, and where the sign is.
        if bits != 0x20 | (8 * size - 1) << 8 or properties != _IEEE.get(size):
            return Other(size, "a floating-point number that is not IEEE, little endian")
        return Number(size, f"<f{size}")

    def _compound(self, count: int, size: int, depth: int) -> Datatype:
        width = (size.bit_length() + 7) // 8
        members = []
        for _ in range(count):
            name = self._name()
            offset = int.from_bytes(self._take(width), "little")
            type_ = self.read(depth + 1)
            if offset + type_.size > size:
                raise ValueError(f"the field {name} lies outside its struct")
            members.append(Member(name, offset, type_))
        if len({member.name for member in members}) != count:
            raise ValueError("two fields of a struct have one name")
        return Compound(size, tuple(members))

    def _other(self, kind: int, bits: int, size: int, depth: int) -> Datatype:
        """Types that are only stepped over, so that the fields after them can be read."""
        match kind:
            case 3 | 7:
                return Other(size, "text of fixed length" if kind == 3 else "a reference of unusual layout")
            case 4:
                self._take(4)
                return Other(size, "bits")
            case 5:
                self._take(bits & 0xFF)
                return Other(size, "opaque bytes")
            case 9:
                self.read(depth + 1)
                return Other(size, "text or a list of variable length")
        raise ValueError(f"a type is of class {kind}, which the reader does not follow")

    def _name(self) -> str:
        end = self._body.find(b"\0", self._place, self._place + LONGEST_NAME + 1)
        if end < 0:
            raise ValueError("the name of a field does not end")
        name = self._take(end - self._place).decode("utf-8")
        self._place += 1
        return name

    def _take(self, length: int) -> bytes:
        piece = self._body[self._place : self._place + length]
        if len(piece) != length:
            raise ValueError("a type ends too early")
        self._place += length
        return piece
