"""Shows a run while it goes on: a live panel on a terminal, a line now and then in a log. Always on stderr."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.output import short_time

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from rich.console import RenderableType

SECONDS_BETWEEN_LINES = 10.0


class Display:
    """A watcher for ``Trainer.train``. The first interrupt ends the run after its step, the second one at once."""

    def __init__(self, steps: int, seconds: float = math.inf) -> None:
        self._steps = steps
        self._end = time.monotonic() + seconds
        self._stopping = False
        self._last: dict[str, Any] = {}
        self._held_out = math.nan
        self._told = -math.inf
        self._live: Any = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Display:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._stop)
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._stopping = True
        signal.signal(number, self._handlers[number])

    def wants_stop(self) -> bool:
        """True after an interrupt, or when the time is up."""
        return self._stopping or time.monotonic() >= self._end

    def record(self, record: dict[str, Any]) -> None:
        """Shows the newest numbers."""
        if record["kind"] == "validation":
            self._held_out = record["loss"]
        else:
            self._last = record
        if self._live is not None:
            self._live.update(self._panel())
        elif time.monotonic() - self._told >= SECONDS_BETWEEN_LINES or self._is_last(record):
            self._told = time.monotonic()
            click.echo(self._line(), err=True)

    def _is_last(self, record: dict[str, Any]) -> bool:
        return bool(record["kind"] == "validation" and record["step"] >= self._steps)

    def _line(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._facts())

    def _panel(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for name, value in self._facts():
            table.add_row(name, value)
        return Group(ProgressBar(total=self._steps, completed=self._last.get("step", 0), width=60), table)

    def _facts(self) -> list[tuple[str, str]]:
        last = self._last
        if not last:
            return [("step", f"0/{self._steps}")]
        facts = [
            ("step", f"{last['step']}/{self._steps}"),
            ("loss", f"{last['loss']:.3f}"),
            ("perplexity", f"{math.exp(min(last['loss'], 50)):.1f}"),
        ]
        if not math.isnan(self._held_out):
            facts.append(("held out", f"{self._held_out:.3f} (perplexity {math.exp(min(self._held_out, 50)):.1f})"))
        if last.get("gate_entropy"):
            facts.append(("gate entropy", f"{last['gate_entropy']:.3f}"))
        if last.get("synchrony") is not None:
            facts.append(("synchrony", f"{last['synchrony']:.2f}{' (gelled)' if last['gelled'] else ''}"))
        left = (self._steps - last["step"]) * last["seconds"] / last["step"]
        return [*facts, ("tok/s", f"{last['tokens_per_second']:.0f}"), ("left", short_time(left))]
