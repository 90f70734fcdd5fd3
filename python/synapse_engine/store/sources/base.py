"""What every source can do, and the checks they share."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from synapse_engine.store.digest import CHUNK
from synapse_engine.store.errors import DamagedError
from synapse_engine.store.manifest import FileRecord
from synapse_engine.store.progress import Progress


@dataclass(frozen=True)
class Workplace:
    """Where a source puts its files, and what it may use there."""

    folder: Path
    """Files of an earlier, interrupted attempt at the same thing may lie here."""
    lock: int
    """The model's lock; a child process that outlives us should inherit it."""
    progress: Progress


class Source(Protocol):
    """Fetches the files of one model. After an interruption ``fetch`` goes on or starts anew."""

    @property
    def label(self) -> str:
        """How messages and the manifest call it."""

    @property
    def licence(self) -> str | None:
        """The licence, where the source knows it (perhaps only after ``prepare``)."""

    def prepare(self) -> str:
        """Asks what there is; returns a key that changes when the content does. Raises SourceUnavailableError."""

    def space_needed(self, folder: Path) -> int:
        """Bytes still to be written for a fetch into ``folder``."""

    def fetch(self, place: Workplace) -> list[FileRecord]:
        """Leaves the model's files, whole and checked, in ``place.folder``."""


@contextmanager
def reported(progress: Progress, task: str, total: int | None, done: int = 0) -> Iterator[None]:
    """Starts a task of ``progress`` and finishes it whatever happens."""
    progress.start(task, total, done)
    try:
        yield
    finally:
        progress.finish()


def copy_stream(source: IO[bytes], target: Path, size: int, progress: Progress) -> str:
    """Appends the rest of ``source`` to what is in ``target`` already; returns the SHA-256 of the whole.

    ``source`` must be at its start and be able to seek. The target gets its own bytes read again for the digest.
    """
    digest, done = hashlib.sha256(), 0
    with target.open("a+b") as file:
        file.seek(0)
        while piece := file.read(CHUNK):
            digest.update(piece)
            done += len(piece)
        source.seek(done)
        with reported(progress, target.name.removesuffix(".part"), size, done):
            while piece := source.read(CHUNK):
                file.write(piece)
                digest.update(piece)
                done += len(piece)
                progress.update(done)
    return digest.hexdigest()


def settle(part: Path, target: Path, size: int, sha256: str | None, found: str) -> FileRecord:
    """Gives a finished part its name if it is what was promised; deletes it if not."""
    actual = part.stat().st_size
    if actual != size or (sha256 is not None and found != sha256):
        part.unlink()
        wanted = f"{size} bytes" if actual != size else f"sha256 {sha256}"
        got = f"{actual} bytes" if actual != size else f"sha256 {found}"
        raise DamagedError(
            f"{target.name}: expected {wanted}, found {got}",
            "the file was damaged on its way; run the same command again",
        )
    part.replace(target)
    return FileRecord(target.name, size, found)
