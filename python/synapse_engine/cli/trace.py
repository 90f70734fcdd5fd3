"""``synapse trace``: what was routed where, and whether it would be again. Needs no server."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.options import Number
from synapse_engine.cli.output import json_option, note, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS, _LEAST_LETTERS = 80, 16
# Narrower terminals have no room for the likeliest two.
_WIDE = 100
_FILE = click.argument("file", type=click.Path(path_type=Path))
_LAST = click.option("--last", type=Number(int, 1), metavar="N", help="Only the last N decisions.")


@click.group()
def command() -> None:
    """Read what was routed where, and route it again.

    `synapse up --trace FILE` writes the trace.
    """


@command.command()
@_FILE
@_LAST
@json_option
def show(file: Path, last: int | None, as_json: bool) -> None:
    """Show the decisions of a trace, oldest first."""
    records = _read(file, last)
    if as_json:
        print_json(records)
        return
    wide = _width() >= _WIDE
    rows = [[moment(it["time"]), words(it), who(it), why(it["decision"], wide=wide), ending(it)] for it in records]
    _print(["TIME", "REQUEST", "ANSWERED BY", "WHY", "END"], rows)


@command.command()
@_FILE
@_LAST
@json_option
def replay(file: Path, last: int | None, as_json: bool) -> None:
    """Route the requests of a trace again, and say what goes elsewhere now.

    Routes as a server would that started now: between the specialists there are, with the feedback there is.
    """
    from synapse_engine.traces import ROUTED, turns_of

    routed = [record for record in _read(file, last) if record["asked"] == ROUTED]
    known = [(record, turns) for record in routed if (turns := turns_of(record)) is not None]
    decisions = _route([turns for _, turns in known])
    elsewhere = [
        (record, now)
        for (record, _), now in zip(known, decisions, strict=True)
        if now["specialist"] != record["decision"].get("specialist")
    ]
    if as_json:
        differences = [{"id": record["id"], "then": record["decision"], "now": now} for record, now in elsewhere]
        print_json({"routed": len(routed), "replayed": len(known), "elsewhere": differences})
        return
    if elsewhere:
        rows = [
            [
                moment(it["time"]),
                words(it),
                name_of(it["decision"].get("specialist")),
                name_of(now["specialist"]),
                why(now),
            ]
            for it, now in elsewhere
        ]
        _print(["TIME", "REQUEST", "WENT TO", "GOES TO", "WHY"], rows)
    click.echo(f"{len(known) - len(elsewhere)} of {len(known)} requests go where they went")
    if len(known) < len(routed):
        note(f"{len(routed) - len(known)} more cannot be routed again: the trace has hashes of them only")


def _read(file: Path, last: int | None) -> list[dict[str, Any]]:
    from synapse_engine.traces import read_trace

    broken: list[int] = []
    records = list(deque(read_trace(file, broken), last))
    if broken and not records:
        raise Failure(f"{file} is no trace", "name a file that synapse up --trace wrote")
    if broken:
        lines = ", ".join(map(str, broken[:5])) + (", ..." if len(broken) > 5 else "")
        note(f"not read: line{'s' if len(broken) > 1 else ''} {lines} of {file}")
    return records


def _route(requests: Sequence[list[tuple[str, str]]]) -> list[dict[str, Any]]:
    if not requests:
        return []
    from synapse_engine import routing
    from synapse_engine.specialists import Library

    router = routing.open_router(Library().all())
    return [router.route(turns).as_dict() for turns in requests]


def words(record: dict[str, Any]) -> str:
    """The user's last words, or the hash that stands for them; nothing in it moves a terminal's cursor."""
    turns = record.get("turns") or [["", f"#{str(record.get('turns_sha256'))[:12]}"]]
    text = "".join(letter if letter.isprintable() else " " for letter in str(turns[-1][-1])[: 4 * _LETTERS])
    text = " ".join(text.split())
    return text if len(text) <= _LETTERS else text[: _LETTERS - 3] + "..."


def name_of(specialist: object) -> str:
    """A specialist's name; the plain model has none."""
    return "the model" if specialist is None else str(specialist)


def who(record: dict[str, Any]) -> str:
    """Who answered; of several, who was chosen."""
    if record.get("mode") != "parallel":
        return name_of(record.get("specialist"))
    candidates = record.get("candidates") or ()
    if record.get("choose") == "synthesis":
        return f"{len(candidates)} together"
    return f"{name_of(record.get('specialist'))} (of {len(candidates)})"


def why(decision: dict[str, Any], *, wide: bool = True) -> str:
    """The reason, and the likeliest specialists; where there is little room, only the chance of the one chosen."""
    reason, chances = str(decision.get("reason", "")), decision.get("probabilities", {})
    if not wide:
        chance = chances.get(decision.get("specialist"))
        return reason if chance is None else f"{reason} {chance:.2f}"
    found = sorted(chances.items(), key=lambda pair: -pair[1])
    likeliest = ", ".join(f"{name} {chance:.2f}" for name, chance in found[:2])
    return f"{reason}: {likeliest}" if likeliest else reason


def ending(record: dict[str, Any]) -> str:
    """How it ended, and after how long."""
    seconds = (record.get("timings") or {}).get("total_seconds")
    finish = str(record.get("finish", ""))
    return finish if seconds is None else f"{finish}, {seconds:.2f} s"


def moment(time: str) -> str:
    """An ISO time as ``11-23 06:26:09`` in local time."""
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%m-%d %H:%M:%S")
    except ValueError:
        return time[:14]


def _width() -> int:
    """Letters in a line of the terminal."""
    import shutil

    return shutil.get_terminal_size().columns


def _print(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One line for each row; what is too long for the terminal ends in an ellipsis."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=_width())
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=14 if heading == "TIME" else None)
    others = sum(max(len(row[column]) for row in [headings, *rows]) + 2 for column in (0, 2, 3, 4))
    room = max(console.width - others, _LEAST_LETTERS)
    for time, request, *rest in rows:
        table.add_row(*map(Text, [time, request if len(request) <= room else request[: room - 1] + "…", *rest]))
    console.print(table)
