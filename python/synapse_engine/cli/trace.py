"""``synapse trace``: what was routed where, and whether it would be again. Needs no server."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.options import Number
from synapse_engine.cli.output import json_option, note, print_json, when

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS = 48
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
    rows = [
        [when(it["time"]), words(it), who(it), str(it["decision"].get("reason", "")), chances(it), ending(it)]
        for it in records
    ]
    _print(["time", "request", "answered by", "reason", "probabilities", "end"], rows)


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
            [when(it["time"]), words(it), name_of(it["decision"].get("specialist")), name_of(now["specialist"]),
             chances({"decision": now})]
            for it, now in elsewhere
        ]  # fmt: skip
        _print(["time", "request", "went to", "goes to", "probabilities"], rows)
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
    return "the plain model" if specialist is None else str(specialist)


def who(record: dict[str, Any]) -> str:
    """Who answered; of several, who was chosen."""
    if record.get("mode") != "parallel":
        return name_of(record.get("specialist"))
    names = [name_of(candidate.get("specialist")) for candidate in record.get("candidates") or ()]
    if record.get("choose") == "synthesis":
        return " + ".join(names)
    return f"{name_of(record.get('specialist'))} (of {', '.join(names)})"


def chances(record: dict[str, Any]) -> str:
    """The three likeliest specialists."""
    found = sorted(record["decision"].get("probabilities", {}).items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {chance:.2f}" for name, chance in found[:3])


def ending(record: dict[str, Any]) -> str:
    """How it ended, and after how long."""
    seconds = (record.get("timings") or {}).get("total_seconds")
    finish = str(record.get("finish", ""))
    return finish if seconds is None else f"{finish}, {seconds:.2f} s"


def _print(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
