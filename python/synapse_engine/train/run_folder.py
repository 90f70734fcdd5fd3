"""A run on disk: what was asked for, the checkpoint, the log. Every file appears whole or not at all."""

from __future__ import annotations

import io
import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from synapse_engine.store.lock import locked_if_free
from synapse_engine.train.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Folders that this process trains in, until it ends.
_held: dict[Path, ExitStack] = {}


class RunFolder:
    """Names the files of one run and reads and writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = folder / "tokenizer.json"
        self.settings = folder / "run.json"
        self.checkpoint = folder / "checkpoint.pt"
        self.best = folder / "best.pt"
        self.log = folder / "log.jsonl"
        self.curves = folder / "curves.png"

    def begin(self, settings: dict[str, Any]) -> None:
        """Writes down what the run is, or checks that it is the one that lies here; keeps other processes from it."""
        self._hold()
        if not self.settings.exists():
            self.write(self.settings, lambda file: file.write_text(json.dumps(settings, indent=2) + "\n"))
            return
        before = self.read_settings()
        for part, wanted in settings.items():
            for name, value in wanted.items():
                found = before.get(part, {}).get(name, value)  # older runs wrote down less
                if found != value:
                    raise CheckpointError(
                        f"{self.folder}: this run has {part}.{name} = {found}, not {value}",
                        "continue it with the same options, or choose another --out",
                    )

    def _hold(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder.resolve()
        if place in _held:
            return
        with ExitStack() as stack:
            if not stack.enter_context(locked_if_free(place / ".lock")):
                raise CheckpointError(
                    f"{self.folder}: another process is at work on this run", "wait for it, or choose another --out"
                )
            _held[place] = stack.pop_all()

    def read_settings(self) -> dict[str, Any]:
        """What ``begin`` wrote."""
        try:
            settings: dict[str, Any] = json.loads(self.settings.read_text())
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.folder}: no run lies here", "synapse train symbio --out FOLDER") from error
        except json.JSONDecodeError as error:
            raise CheckpointError(
                f"{self.settings}: not JSON: {error}", "the folder is damaged; train again"
            ) from error
        return settings

    def save(self, file: Path, state: dict[str, Any]) -> None:
        """Writes tensors and plain values."""
        # Through memory, as PyTorch's own writer does not say that a disk is full.
        content = io.BytesIO()
        torch.save(state, content)
        self.write(file, lambda fresh: fresh.write_bytes(content.getbuffer()))

    def load(self, file: Path) -> dict[str, Any]:
        """Reads what ``save`` wrote; nothing in the file is ever executed."""
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise CheckpointError(f"{file}: no such checkpoint", "train first: synapse train symbio") from error
        except Exception as error:
            raise CheckpointError(f"{file}: not a checkpoint: {error}", "delete it; training starts again") from error
        return state

    @staticmethod
    def write(file: Path, writer: Callable[[Path], object]) -> None:
        """Writes beside the place, then moves; a crash leaves the old file."""
        fresh = file.with_name(file.name + ".new")
        try:
            writer(fresh)
            with fresh.open("rb") as written:
                os.fsync(written.fileno())
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)

    def records(self) -> Iterator[dict[str, Any]]:
        """The log, line by line; a line that a crash cut off ends it."""
        if not self.log.exists():
            return
        for line in self.log.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return

    def forget_after(self, step: int) -> None:
        """Drops records of steps that will be done again."""
        kept = [record for record in self.records() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        self.write(self.log, lambda file: file.write_text(text))

    def append(self, record: dict[str, Any]) -> None:
        """Adds a line to the log."""
        with self.log.open("a") as log:
            log.write(json.dumps(record) + "\n")
