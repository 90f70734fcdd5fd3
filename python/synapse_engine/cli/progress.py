"""Draws the store's progress: a live bar on a terminal, a line now and then in a log. Always on stderr."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from synapse_engine.cli.output import human_size, note, short_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from synapse_engine.store import Progress

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress_display() -> Iterator[Progress]:
    """The display that suits where stderr goes."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"),
        DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    """One bar for each task; finished ones stay on the screen."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def start(self, task: str, total: int | None, done: int = 0) -> None:
        self._task = self._bars.add_task(task, total=total, completed=done)

    def update(self, done: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done)

    def note(self, text: str) -> None:
        self._bars.console.print(text, style="yellow", highlight=False, markup=False)

    def finish(self) -> None:
        self._task = None


class _Lines:
    """For logs and pipes: the start, a line every few seconds, the end."""

    def __init__(self) -> None:
        self._task = ""
        self._total: int | None = None
        self._begun = self._told = 0.0
        self._first = self._done = 0

    def start(self, task: str, total: int | None, done: int = 0) -> None:
        self._task, self._total, self._first, self._done = task, total, done, done
        self._begun = self._told = time.monotonic()
        size = f" ({human_size(total)})" if total is not None else ""
        resumed = f", {human_size(done)} of it here already" if done else ""
        click.echo(f"{task}{size}{resumed}", err=True)

    def update(self, done: int) -> None:
        self._done = done
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            click.echo(f"  {self._state(now - self._begun)}", err=True)

    def note(self, text: str) -> None:
        note(text)

    def finish(self) -> None:
        if self._total is not None and self._done >= self._total:
            click.echo(f"  done in {time.monotonic() - self._begun:.1f} s", err=True)

    def _state(self, seconds: float) -> str:
        speed = max(self._done - self._first, 0) / seconds
        parts = [human_size(self._done), f"{human_size(speed)}/s"]
        if self._total:
            parts.insert(0, f"{100 * self._done // self._total}%")
            if speed > 0:
                parts.append(f"{short_time((self._total - self._done) / speed)} left")
        return ", ".join(parts)
