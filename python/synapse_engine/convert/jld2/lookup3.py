"""Bob Jenkins' lookup3 hash ("hashlittle", 2006), the checksum of HDF5's headers."""

_MASK = 0xFFFFFFFF


def lookup3(data: bytes) -> int:
    """The 32-bit hash of ``data`` with the initial value 0."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    # All but the last one to twelve bytes, twelve at a time; the rest is padded with zeros.
    whole = (len(data) - 1) // 12 * 12
    for start in range(0, whole, 12):
        x, y, z = _words(data[start : start + 12])
        a, b, c = _mixed((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    x, y, z = _words(data[whole:].ljust(12, b"\0"))
    return _last((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _words(twelve: bytes) -> tuple[int, int, int]:
    value = int.from_bytes(twelve, "little")
    return value & _MASK, value >> 32 & _MASK, value >> 64


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for first, second, third in ((4, 6, 8), (16, 19, 4)):
        a = (a - c & _MASK) ^ _rotated(c, first)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ _rotated(a, second)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ _rotated(b, third)
        b = b + a & _MASK
    return a, b, c


def _last(a: int, b: int, c: int) -> int:
    for first, second, third in ((14, 11, 25), (16, 4, 14)):
        c = (c ^ b) - _rotated(b, first) & _MASK
        a = (a ^ c) - _rotated(c, second) & _MASK
        b = (b ^ a) - _rotated(a, third) & _MASK
    return (c ^ b) - _rotated(b, 24) & _MASK
