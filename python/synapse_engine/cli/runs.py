"""Which servers run on this machine: one small file each. A file whose process is gone is removed when it is met."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from synapse_engine.cli import processes
from synapse_engine.cli.output import note
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Run:
    """A running server. ``born`` tells its process from a later one with the same pid."""

    pid: int
    born: str
    host: str
    port: int
    model: str
    started: str
    auth: bool
    """Whether requests need an API key; the key itself is never written."""
    others: tuple[str, ...] = ()
    """Models served besides ``model``."""

    @property
    def models(self) -> tuple[str, ...]:
        """All models served, in the order in which they were named."""
        return (self.model, *self.others)

    @property
    def url(self) -> str:
        """Where clients of this machine find it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def seconds_up(self) -> float:
        """Since it was started."""
        return (datetime.now(timezone.utc) - datetime.fromisoformat(self.started)).total_seconds()


def running() -> list[Run]:
    """All servers that are alive, by port."""
    return sorted(_alive(), key=lambda run: run.port)


def run_of(model: str) -> Run | None:
    """A server of that model, if there is one."""
    return next((run for run in running() if model in run.models), None)


@contextmanager
def registered(host: str, port: int, models: Sequence[str], *, auth: bool) -> Iterator[Run]:
    """This process is a server while the block runs."""
    pid = os.getpid()
    born = processes.identity(pid) or ""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    run = Run(pid, born, host, port, models[0], started, auth, tuple(models[1:]))
    path = home().runs / f"{pid}.json"
    try:
        _write(run, path)
    except OSError as error:  # a disk that is full or may not be written is no reason not to serve
        note(f"synapse ps and synapse stop will not find this server: {path}: {error.strerror}")
    try:
        yield run
    finally:
        with suppress(OSError):
            path.unlink()


def _write(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.new")
    fresh.write_text(json.dumps(asdict(run)) + "\n", encoding="utf-8")
    fresh.replace(path)


def _alive() -> Iterator[Run]:
    folder = home().runs
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            run = Run(**{**record, "others": tuple(record.get("others", ()))})
        except (OSError, ValueError, TypeError, AttributeError):
            run = None
        if run is not None and processes.identity(run.pid) == run.born:
            yield run
        else:
            path.unlink(missing_ok=True)
