"""``synapse.json``: what an installed model consists of and where it came from. Trusts nothing it reads."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import DamagedError

MANIFEST_FILE = "synapse.json"
_VERSION = 1


@dataclass(frozen=True)
class FileRecord:
    """One file of a model, by its name inside the model's folder."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The record beside the files."""

    name: str
    source: str
    licence: str | None
    pulled: str
    """When, as an ISO 8601 date and time in UTC."""
    format: str
    """``gguf`` or ``safetensors``."""
    quant: str
    """The number format of most weights as stored, such as ``Q4_1`` or ``BF16``."""
    load_quant: str
    """What the engine should make of it unless told otherwise: auto, q8, q4, f16 or none."""
    files: tuple[FileRecord, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes it into ``folder``, which is not yet in its final place."""
    record = {"version": _VERSION, **asdict(manifest)}
    (folder / MANIFEST_FILE).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks it; raises DamagedError."""
    path = folder / MANIFEST_FILE
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{path} cannot be read: {_reason(error)}",
            f"remove the folder {folder} and pull the model again",
        ) from error


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _from_json(record: Any) -> Manifest:
    if record["version"] != _VERSION:
        raise ValueError(f"version {record['version']!r} is not {_VERSION}")
    texts = {key: record[key] for key in ("name", "source", "pulled", "format", "quant", "load_quant")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("a field that should be text is not")
    licence = record["licence"]
    if licence is not None and not isinstance(licence, str):
        raise TypeError("licence is not text")
    return Manifest(licence=licence, files=tuple(_file_from_json(entry) for entry in record["files"]), **texts)


def _file_from_json(entry: Any) -> FileRecord:
    name, size, sha256 = entry["name"], entry["size"], entry["sha256"]
    if not isinstance(name, str) or not is_plain_file_name(name):
        raise ValueError(f"{name!r} is not a file name")
    if not isinstance(size, int) or size < 0 or not isinstance(sha256, str):
        raise TypeError(f"the record of {name} is damaged")
    return FileRecord(name, size, sha256)


def is_plain_file_name(name: str) -> bool:
    """True for a name that stays in its folder on every system."""
    return 0 < len(name) <= 255 and name not in {".", ".."} and not any(c in "/\\:\0" or ord(c) < 32 for c in name)
