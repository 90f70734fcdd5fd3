"""``synapse verify``: compares every file with the digest taken when it was installed."""

from __future__ import annotations

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.output import json_option, print_json
from synapse_engine.cli.progress import progress_display
from synapse_engine.store import FileCheck, Store


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@json_option
def command(models: tuple[str, ...], as_json: bool) -> None:
    """Check every byte of models against their digests.

    Without MODEL, all installed models are checked. The exit code is 1 if anything is wrong.
    """
    store = Store()
    chosen = [store.find(model) for model in models] if models else store.installed()
    with progress_display() as progress:
        checks = {model.name: store.verify(model, progress) for model in chosen}
    if as_json:
        print_json([_record(name, check) for name, found in checks.items() for check in found])
    else:
        for name, found in checks.items():
            for check in found:
                color = "green" if check.state == "ok" else "red"
                click.echo(f"{click.style(check.state, fg=color)}  {name}  {check.file.name}")
    damaged = [name for name, found in checks.items() if any(check.state != "ok" for check in found)]
    if damaged:
        raise Failure(f"damaged: {', '.join(damaged)}", f"synapse pull --force {damaged[0]}")


def _record(model: str, check: FileCheck) -> dict[str, object]:
    return {
        "model": model,
        "file": check.file.name,
        "size": check.file.size,
        "sha256": check.file.sha256,
        "state": check.state,
    }
