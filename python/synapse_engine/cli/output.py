"""How results look: aligned tables, JSON, sizes and times. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.store.space import human_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["human_size", "json_option", "note", "print_json", "print_table", "short_time", "when"]


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def print_json(value: Any) -> None:
    """One value on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """Something to read that is not the result."""
    click.echo(click.style(text, dim=True), err=True)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Columns as wide as their contents; those in ``right`` are set flush right. The last is never padded."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    for index, row in enumerate([headings, *rows]):
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        click.echo(click.style(line, bold=True) if index == 0 else line)


def when(moment: str) -> str:
    """An ISO time as ``2026-11-23 06:26`` in local time; what is no time stays as it is."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return moment


def short_time(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
