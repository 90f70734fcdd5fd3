"""``synapse ps``: the servers that run now."""

from __future__ import annotations

from dataclasses import asdict

import click

from synapse_engine.cli.output import json_option, print_json, print_table, short_time
from synapse_engine.cli.runs import running


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the running servers."""
    runs = running()
    if as_json:
        print_json([{**asdict(run), "url": run.url} for run in runs])
    elif runs:
        rows = [
            [", ".join(r.models), r.url, "yes" if r.auth else "no", short_time(r.seconds_up), str(r.pid)] for r in runs
        ]
        print_table(["MODEL", "URL", "KEY", "UP", "PID"], rows, right=[4])
    else:
        click.echo("no server is running; synapse up starts one")
