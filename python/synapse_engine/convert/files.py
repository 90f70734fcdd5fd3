"""Source files, read whole and never without a limit."""

import json
from pathlib import Path
from typing import Any

from .errors import DamagedFileError, MissingFileError, UnsupportedError

# The largest model of the family, with its optimizer's state, has some hundred megabytes.
LARGEST_CHECKPOINT = 4 << 30
_LARGEST_TEXT = 64 << 20


def read_bytes(path: Path, most: int = LARGEST_CHECKPOINT) -> bytes:
    """The file's bytes; raises MissingFileError, or UnsupportedError if there are more than ``most``."""
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file", "check the path")
    size = path.stat().st_size
    if size > most:
        raise UnsupportedError(
            f"{path.name} has {size} bytes; the reader takes at most {most}", "no checkpoint of this family is so large"
        )
    with path.open("rb") as file:
        return file.read(size)


def read_text(path: Path) -> str:
    """A UTF-8 file."""
    try:
        return read_bytes(path, _LARGEST_TEXT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path.name} is not UTF-8: {error}", "get the file again") from error


def read_json(path: Path) -> Any:
    """A JSON file."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path.name} is not JSON: {error}", "get the file again") from error
