"""Traces of routing: one line of JSON for each decision, appended as it falls, read back later. Knows no HTTP."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger("synapse_engine.traces")

VERSION = 1
ROUTED = "synapse"
_NEEDED = {"id": str, "time": str, "asked": str, "decision": dict}


class TraceError(Exception):
    """A trace that cannot be read or written; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class TraceFile:
    """Takes in decisions. Others may append to the same file: a line goes out in one write.

    ``text``: whether requests are kept word for word, which replaying them needs, or as hashes only.
    """

    def __init__(self, path: Path, *, text: bool = True) -> None:
        self.path = path
        self._text = text
        self._lock = threading.Lock()
        self._failed = False
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._end_line()
        except OSError as error:
            raise TraceError(f"{path}: {error.strerror}", "name a file that can be written") from error

    def add(self, record: dict[str, Any]) -> None:
        """Appends a decision. What goes wrong with the disk is logged, once, and no reason not to answer."""
        line = {"version": VERSION, **(record if self._text else without_text(record))}
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str) + "\n"
        with self._lock:
            try:
                os.write(self._descriptor, data.encode("utf-8", errors="replace"))
            except OSError as error:
                if not self._failed:
                    log.error("the trace %s cannot be written: %s", self.path, error.strerror)
                self._failed = True

    def close(self) -> None:
        """No more comes."""
        os.close(self._descriptor)

    def _end_line(self) -> None:
        """A line that a killed process left half must not spoil the next."""
        if not os.fstat(self._descriptor).st_size:
            return
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                os.write(self._descriptor, b"\n")


def without_text(record: dict[str, Any]) -> dict[str, Any]:
    """The same with hashes for what was said."""
    turns = json.dumps(record["turns"], ensure_ascii=False)
    digest = hashlib.sha256(turns.encode("utf-8", errors="replace")).hexdigest()
    kept = {name: value for name, value in record.items() if name != "turns"}
    candidates = [
        {name: value for name, value in candidate.items() if name != "content"}
        for candidate in record.get("candidates", ())
    ]
    return {**kept, "turns_sha256": digest, **({"candidates": candidates} if candidates else {})}


def read_trace(path: Path, broken: list[int]) -> Iterator[dict[str, Any]]:
    """The decisions of a file, oldest first; ``broken`` takes the numbers of lines that are none."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                record = _record(line)
                if record is not None:
                    yield record
                elif line.strip():
                    broken.append(number)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}", "name a file that synapse up --trace wrote") from error


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and _is_sound(record) else None


def _is_sound(record: dict[str, Any]) -> bool:
    """Whether every part that readers look into is of its kind."""
    if record.get("version") != VERSION or not all(isinstance(record.get(key), kind) for key, kind in _NEEDED.items()):
        return False
    numbers = [record["decision"].get("probabilities", {}), record.get("timings", {})]
    turns, candidates = record.get("turns", []), record.get("candidates", [])
    return (
        all(isinstance(found, dict) and all(map(_is_number, found.values())) for found in numbers)
        and isinstance(turns, list)
        and all(isinstance(turn, list) and list(map(type, turn)) == [str, str] for turn in turns)
        and isinstance(candidates, list)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def turns_of(record: dict[str, Any]) -> list[tuple[str, str]] | None:
    """What the router saw; None where the trace keeps hashes only."""
    return [(role, text) for role, text in record.get("turns", ())] or None
