"""The zip file that ``torch.save`` writes: entries stored as they are, found and checked without unpacking anything."""

import io
import struct
import zipfile
import zlib

from synapse_engine.convert.errors import DamagedFileError, UnsupportedError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_MOST_ENTRIES = 100_000
_RESAVE = "save it again with a newer PyTorch: torch.save(torch.load(path, weights_only=True), path)"


class Archive:
    """The entries of one file, under their names without the folder that all of them share."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self._data = data
        if not data.startswith(b"PK\x03\x04"):
            raise self._not_a_zip()
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
            raise self.damaged(f"it is not a sound zip file: {error}") from error
        if len(entries) > _MOST_ENTRIES:
            raise self.damaged(f"it has {len(entries)} entries")
        self._entries = {entry.filename.partition("/")[2]: entry for entry in entries}
        self._check_kind()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self._data)

    def read(self, name: str, most: int | None = None) -> memoryview:
        """An entry's bytes, checked against its checksum."""
        entry = self._entries.get(name)
        if entry is None:
            raise self.damaged(f"it has no entry {name}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise UnsupportedError(f"{self.name}: the entry {name} is compressed, which torch.save never does", _RESAVE)
        if most is not None and entry.file_size > most:
            raise self.damaged(f"the entry {name} has {entry.file_size} bytes; at most {most} are read")
        piece = self._stored(entry)
        # PyTorch can be told to save the time for checksums; it then writes zeros.
        if entry.CRC and zlib.crc32(piece) != entry.CRC:
            raise self.damaged(f"the checksum of the entry {name} is wrong")
        return piece

    def damaged(self, reason: str) -> DamagedFileError:
        """The error that says so of this file."""
        return DamagedFileError(f"{self.name}: {reason}", "the file is damaged or not complete; get it again")

    def _stored(self, entry: zipfile.ZipInfo) -> memoryview:
        start = entry.header_offset
        if start < 0 or start + _LOCAL_HEADER.size > len(self._data):
            raise self.damaged(f"the entry {entry.filename} lies outside the file")
        magic, name_length, extra_length = _LOCAL_HEADER.unpack_from(self._data, start)
        start += _LOCAL_HEADER.size + name_length + extra_length
        if magic != b"PK\x03\x04" or start + entry.file_size > len(self._data):
            raise self.damaged(f"the entry {entry.filename} lies outside the file")
        return memoryview(self._data)[start : start + entry.file_size]

    def _check_kind(self) -> None:
        if "constants.pkl" in self._entries:
            raise UnsupportedError(
                f"{self.name} is a TorchScript program, not a list of weights",
                "save the weights alone: torch.save(torch.jit.load(path).state_dict(), path)",
            )
        if "byteorder" in self._entries and bytes(self.read("byteorder", 16)) != b"little":
            raise UnsupportedError(f"{self.name} was written on a big-endian machine", _RESAVE)

    def _not_a_zip(self) -> DamagedFileError | UnsupportedError:
        if _LEGACY_MAGIC in self._data[:32]:
            return UnsupportedError(f"{self.name} is in the format of PyTorch before 1.6", _RESAVE)
        if self._data[:1] == b"\x80":
            return UnsupportedError(f"{self.name} is a bare pickle, which is a program rather than weights", _RESAVE)
        return self.damaged("it is not a file of torch.save")
