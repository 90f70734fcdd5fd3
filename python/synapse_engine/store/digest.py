"""SHA-256 (and git blob) digests of files, in pieces. Knows nothing of models."""

import hashlib
from collections.abc import Callable
from pathlib import Path

CHUNK = 1 << 20


def sha256_of(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """The hex SHA-256 of a file; ``on_bytes`` hears the length of every piece read."""
    return _feed(hashlib.sha256(), path, on_bytes)


def git_blob_of(path: Path) -> str:
    """The name git gives the file's contents: SHA-1 over a header and the bytes (git-hash-object)."""
    header = f"blob {path.stat().st_size}\0".encode()
    return _feed(hashlib.sha1(header, usedforsecurity=False), path, lambda _: None)


def _feed(digest: "hashlib._Hash", path: Path, on_bytes: Callable[[int], None]) -> str:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest()
