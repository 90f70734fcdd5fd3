"""``synapse ls``: what is installed, and what could be."""

from __future__ import annotations

import click

from synapse_engine.cli.output import human_size, json_option, note, print_json, print_table, when
from synapse_engine.store import Entry, Installed, Store, catalogue

_LONGEST_SOURCE = 40


@click.command()
@click.option("--all", "-a", "everything", is_flag=True, help="Also list the models that can be pulled by name.")
@json_option
def command(everything: bool, as_json: bool) -> None:
    """List the models on this machine."""
    store = Store()
    installed = store.installed()
    names = {model.name for model in installed}
    available = [entry for entry in catalogue().entries if entry.name not in names] if everything else []
    if as_json:
        print_json(
            [_installed_record(model) for model in installed] + [_available_record(entry) for entry in available]
        )
        return
    for folder in store.damaged():
        note(f"{folder} has no readable synapse.json; remove it and pull the model again")
    _print_installed(installed)
    if everything:
        _print_available(available)


def _print_installed(installed: list[Installed]) -> None:
    if not installed:
        click.echo("no models yet; synapse ls --all shows what can be pulled, synapse pull NAME gets one")
        return
    rows = []
    for model in installed:
        it = model.manifest
        rows.append([it.name, human_size(it.size), it.format, it.quant, _shortened(it.source), when(it.pulled)])
    print_table(["NAME", "SIZE", "FORMAT", "QUANT", "SOURCE", "PULLED"], rows, right=[1])


def _print_available(available: list[Entry]) -> None:
    click.echo()
    rows = [[entry.name, human_size(entry.size), entry.licence, entry.description] for entry in available]
    print_table(["TO PULL", "SIZE", "LICENCE", "ABOUT"], rows, right=[1])


def _shortened(source: str) -> str:
    """The end of a long path says more than its beginning."""
    return source if len(source) <= _LONGEST_SOURCE else "..." + source[3 - _LONGEST_SOURCE :]


def _installed_record(model: Installed) -> dict[str, object]:
    it = model.manifest
    return {
        "name": it.name,
        "installed": True,
        "size": it.size,
        "format": it.format,
        "quant": it.quant,
        "source": it.source,
        "licence": it.licence,
        "pulled": it.pulled,
        "path": str(model.load_path),
    }


def _available_record(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "installed": False,
        "size": entry.size,
        "licence": entry.licence,
        "about": entry.description,
    }
