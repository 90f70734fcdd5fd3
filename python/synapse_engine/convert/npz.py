"""Reads NumPy's ``.npz``: a zip of arrays. Never a pickle, and never more bytes than an entry's own header asks for."""

import io
import struct
import tokenize
import zipfile
import zlib
from math import prod

import numpy as np

from .errors import DamagedFileError, UnsupportedError

_MOST_ENTRIES = 20_000
_MOST_BYTES = 4 << 30
_LONGEST_NAME = 300
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LONGEST_HEADER = 10_000
_BROKEN = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, OSError, EOFError, struct.error, NotImplementedError,
    RuntimeError, RecursionError, tokenize.TokenError, MemoryError, SyntaxError, TypeError,
)  # fmt: skip


def read_npz(data: bytes, name: str) -> dict[str, np.ndarray]:
    """All arrays under their names. Raises ConvertError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive, name)
    except _BROKEN as error:
        raise DamagedFileError(
            f"{name} is not a sound .npz file: {error}", "the file is damaged or not complete; get it again"
        ) from error


def _read(archive: zipfile.ZipFile, name: str) -> dict[str, np.ndarray]:
    entries = archive.infolist()
    claimed = sum(entry.file_size for entry in entries)
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise ValueError("it is compressed in a way that NumPy does not use")
    if any(len(entry.filename) > _LONGEST_NAME for entry in entries):
        raise ValueError(f"it has names of more than {_LONGEST_NAME} letters")
    if len(entries) > _MOST_ENTRIES or claimed > _MOST_BYTES:
        raise UnsupportedError(
            f"{name} claims {len(entries)} arrays with {claimed} bytes, more than {_MOST_ENTRIES} or {_MOST_BYTES}",
            "no checkpoint of this family is so large",
        )
    return {entry.filename.removesuffix(".npy"): _array(archive, entry, name) for entry in entries}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{entry.filename} has version {version}")
        shape, fortran, dtype = _HEADERS[version](file, max_header_size=_LONGEST_HEADER)
        if dtype.hasobject:
            raise UnsupportedError(
                f"{name}: {entry.filename} holds Python objects, which only a pickle could bring back; nothing was run",
                "save plain arrays: numpy.savez(path, **arrays)",
            )
        if dtype.kind not in "fiub":
            raise ValueError(f"{entry.filename} holds {dtype} and not numbers")
        length = prod(shape) * dtype.itemsize
        # The entry's size is checked before anything of that size is asked for.
        if length != entry.file_size - file.tell():
            raise ValueError(f"{entry.filename}: its shape {shape} asks for {length} bytes, it has {entry.file_size}")
        values = np.frombuffer(file.read(), dtype)
    if values.nbytes != length:
        raise ValueError(f"{entry.filename} ends too early")
    return values.reshape(shape, order="F" if fortran else "C")
