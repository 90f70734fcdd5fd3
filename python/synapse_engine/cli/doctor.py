"""``synapse doctor``: looks at the machine and says what would get in the way. Changes nothing."""

from __future__ import annotations

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.checks import Check, all_checks
from synapse_engine.cli.output import json_option, print_json

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--network", is_flag=True, help="Also ask whether the hub can be reached.")
@json_option
def command(network: bool, as_json: bool) -> None:
    """Check that this machine is fit for the engine.

    The exit code is 1 if a check fails; warnings do not count.
    """
    checks = all_checks(network=network)
    if as_json:
        print_json([{"name": c.name, "state": c.state, "found": c.found, "hint": c.hint} for c in checks])
    else:
        for check in checks:
            _print(check)
    failed = [check.name for check in checks if check.state == "fail"]
    if failed:
        raise Failure(f"not fit: {', '.join(failed)}")


def _print(check: Check) -> None:
    click.echo(f"{click.style(f'{check.state:<4}', fg=_COLORS[check.state])}  {check.name:<10}  {check.found}")
    if check.hint:
        click.echo(f"      {'':<10}  {click.style('hint:', fg='cyan')} {check.hint}")
