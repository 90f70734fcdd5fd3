"""``synapse specialist``: the files that requests are routed to. A running server sees every change at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.output import json_option, note, print_json, print_table

if TYPE_CHECKING:
    from synapse_engine.specialists import Library, Specialist

_LONGEST = 72
_NAME = click.argument("name")


@click.group()
def command() -> None:
    """Look after what requests are routed to.

    \b
    Examples:
      synapse specialist list
      synapse specialist add cooking.toml
      synapse specialist test cooking
    """


@command.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
@json_option
def add(path: Path, as_json: bool) -> None:
    """Add a specialist, or replace the one of its name.

    FILE is a TOML file; FOLDER holds one. It is copied, and so is the adapter that it names.
    """
    library = _library()
    known = {specialist.name for specialist in library.all() if specialist.source}
    specialist = library.add(path)
    if as_json:
        print_json(record(specialist))
        return
    adapter = ", with its adapter" if specialist.adapter else ""
    click.echo(f"{'replaced' if specialist.name in known else 'added'} {specialist.name}{adapter}")
    note(f"synapse specialist test {specialist.name} shows whether requests like its examples come to it")


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the specialists."""
    library = _library()
    specialists = library.all()
    problems = library.problems()
    if as_json:
        broken = [{"file": str(it.file), "error": str(it.error), "hint": it.error.hint} for it in problems]
        print_json({"specialists": [record(specialist) for specialist in specialists], "problems": broken})
        return
    rows = [[it.name, _origin(it), "yes" if it.adapter else "no", _shortened(it.description)] for it in specialists]
    print_table(["NAME", "FROM", "ADAPTER", "ABOUT"], rows)
    for problem in problems:
        click.echo(click.style("not usable:", fg="yellow") + f" {problem.error}", err=True)
        if problem.error.hint:
            click.echo(click.style("hint:", fg="cyan") + f" {problem.error.hint}", err=True)


@command.command()
@_NAME
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one, as its TOML file would be."""
    from synapse_engine.specialists.writing import document

    specialist = _library().find(name)
    if as_json:
        print_json(record(specialist))
        return
    note(str(specialist.source) if specialist.source else "comes with the package")
    click.echo(document(specialist), nl=False)


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove(names: tuple[str, ...], yes: bool) -> None:
    """Remove specialists of your own."""
    library = _library()
    for name in names:
        library.check_removable(name)
    if not yes:
        click.confirm(f"Remove {', '.join(names)}?", abort=True, err=True)
    for name in names:
        library.remove(name)
        back = any(specialist.name == name for specialist in library.all())
        click.echo(f"removed {name}" + ("; the one that comes with the package is back" if back else ""))


@command.command()
@_NAME
@click.option("--model", metavar="MODEL", help="Model that answers the first example.")
@json_option
def test(name: str, model: str | None, as_json: bool) -> None:
    """Route its examples, each as if it were not one, and answer the first.

    Without --model, it is answered if one server is running.
    """
    from synapse_engine.cli.specialist_test import test_specialist

    test_specialist(name, model, as_json=as_json)


def record(specialist: Specialist) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "name": specialist.name,
        "description": specialist.description,
        "examples": list(specialist.examples),
        "system_prompt": specialist.system_prompt,
        "sampling": dict(specialist.sampling),
        "adapter": str(specialist.adapter) if specialist.adapter else None,
        "file": str(specialist.source) if specialist.source else None,
    }


def _library() -> Library:
    from synapse_engine.specialists import Library

    return Library()


def _origin(specialist: Specialist) -> str:
    return "you" if specialist.source else "the package"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3].rsplit(" ", 1)[0] + " ..."
