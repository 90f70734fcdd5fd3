"""``synapse rm``: asks, then removes. Refuses what a running server is using."""

from __future__ import annotations

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.output import human_size
from synapse_engine.cli.runs import running
from synapse_engine.store import Store


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def command(models: tuple[str, ...], yes: bool) -> None:
    """Remove models from this machine."""
    store = Store()
    found = [store.find(model) for model in models]
    in_use = {model: run for run in running() for model in run.models}
    for model in found:
        if model.name in in_use:
            run = in_use[model.name]
            raise Failure(f"{model.name} is being served on port {run.port}", f"synapse stop {run.port}")
    total = human_size(sum(model.manifest.size for model in found))
    if not yes:
        click.confirm(f"Remove {', '.join(model.name for model in found)} ({total})?", abort=True, err=True)
    for model in found:
        store.remove(model.name)
        click.echo(f"removed {model.name}")
