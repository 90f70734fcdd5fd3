"""``synapse stop``: asks servers to finish, and ends those that do not."""

from __future__ import annotations

import click

from synapse_engine.cli import processes
from synapse_engine.cli.app import Failure
from synapse_engine.cli.runs import Run, running

_PATIENCE_SECONDS = 10.0


@click.command()
@click.argument("which", required=False, metavar="[PORT or MODEL]")
@click.option("--all", "everything", is_flag=True, help="Stop all servers.")
def command(which: str | None, everything: bool) -> None:
    """Stop running servers.

    Without PORT or MODEL, the only running server is stopped. Requests in progress get ten seconds to finish.
    """
    for run in _chosen(which, everything):
        if not processes.stop(run.pid, run.born, _PATIENCE_SECONDS):
            processes.kill(run.pid, run.born, _PATIENCE_SECONDS)
        click.echo(f"stopped {', '.join(run.models)} on port {run.port}")


def _chosen(which: str | None, everything: bool) -> list[Run]:
    runs = running()
    if not runs and which is None:
        raise Failure("no server is running")
    if everything:
        return runs
    if which is None and len(runs) == 1:
        return runs
    listing = ", ".join(f"{run.port} ({', '.join(run.models)})" for run in runs) or "none"
    if which is None:
        raise Failure(f"several servers are running: {listing}", "synapse stop PORT, or synapse stop --all")
    chosen = [run for run in runs if which in (str(run.port), *run.models)]
    if not chosen:
        raise Failure(f"no server runs on {which!r}", f"running: {listing}")
    return chosen
