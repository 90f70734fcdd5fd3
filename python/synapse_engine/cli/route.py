"""``synapse route``: who would answer a request, and why. Needs no server and no model that generates."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.output import json_option, note, print_json, print_table
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synapse_engine.routing import Decision

_NOBODY = "no specialist"
_NEXT = 3
_REASONS = {
    "chosen": "the likeliest; the threshold is {threshold}",
    "chosen by feedback": "your feedback decided it; the threshold is {threshold}",
    "below threshold": "{best} is the likeliest with {share}; the threshold is {threshold}",
    "no specialist fits": "that none fits is likelier than any: {none}",
    "left alone by feedback": "your feedback decided it; the threshold is {threshold}",
    "no specialists": "there are none",
}


@click.command()
@click.argument("text")
@click.option("--explain", is_flag=True, help="Show scores, examples, feedback, and what would change it.")
@json_option
def command(text: str, explain: bool, as_json: bool) -> None:
    """Show which specialist a request would go to.

    TEXT is the request; - reads it from the standard input. `synapse feedback` corrects what is wrong.

    \b
    Examples:
      synapse route "What is 12 * 37?"
      synapse route "List the ten customers with the highest orders" --explain
    """
    from synapse_engine.routing import open_router

    text = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text
    decision = open_router(tell=note).route(text)
    remember(text)
    told = decision.explain() if explain else decision.as_dict()
    if as_json:
        print_json(told)
        return
    _print_decision(decision)
    if explain:
        _print_explanation(told)


def remember(text: str) -> None:
    """For ``synapse feedback --last``."""
    path = home().last_route
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    # The words are the user's.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"text": text}, file)
    fresh.replace(path)


def percent(share: float) -> str:
    """``88 %``; never 0 or 100 for what is neither."""
    if 0 < share < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= share < 1 else f"{share:.0%}".replace("%", " %")


def signed(logits: float) -> str:
    """``+1.20``; zero has no sign."""
    return f"{logits:+.2f}" if round(logits, 2) else "0.00"


def _print_decision(decision: Decision) -> None:
    chances = decision.probabilities
    best, share = next(iter(chances.items()), ("", 0.0))
    reason = _REASONS[decision.reason].format(
        threshold=percent(decision.threshold), best=best, share=percent(share), none=percent(decision.none)
    )
    if decision.specialist is None:
        click.echo(f"{click.style(_NOBODY, bold=True)}: the plain model answers  ({reason})")
    else:
        click.echo(f"{click.style(decision.specialist, bold=True)}  {percent(share)}  ({reason})")
    others = [f"{name} {percent(chance)}" for name, chance in chances.items() if name != decision.specialist][:_NEXT]
    others.append(f"{_NOBODY} {percent(decision.none)}")
    note(f"{'then ' if decision.specialist else ''}{', '.join(others)}; {decision.seconds * 1000:.1f} ms")


def _print_explanation(told: Mapping[str, Any]) -> None:
    chances = {**told["probabilities"], "none": told["none"]}
    rows = [
        [name, percent(chances[name]), f"{told['logits'][name]:.2f}", signed(told["bias"][name])]
        for name in sorted(chances, key=lambda name: -chances[name])
    ]
    click.echo()
    print_table(["SPECIALIST", "PROBABILITY", "SCORE", "FEEDBACK"], rows, right=[1, 2, 3])
    click.echo()
    rows = [[f"{it['similarity']:.2f}", it["specialist"], _one_line(it["example"])] for it in told["nearest_examples"]]
    print_table(["SIMILAR", "SPECIALIST", "EXAMPLE"], rows)
    if told["regions"]:
        click.echo()
        rows = [
            [str(it["region"]), percent(it["weight"]), _one_line(it["label"]), biases(it["bias"])]
            for it in told["regions"]
        ]
        print_table(["REGION", "WEIGHT", "FEEDBACK ON", "BIAS"], rows, right=[0, 1])
    click.echo()
    rows = [[it["specialist"] or "none", f"{it['missing_bias']:.2f}", _corrections(it)] for it in told["changes"]]
    print_table(["INSTEAD", "LACKS", "WOULD TAKE"], rows, right=[1])


def biases(found: Mapping[str, float]) -> str:
    """``code +2.00, sql -1.50``, the strongest first."""
    ordered = sorted(found.items(), key=lambda pair: -abs(pair[1]))
    return ", ".join(f"{name} {signed(bias)}" for name, bias in ordered)


def _corrections(change: Mapping[str, Any]) -> str:
    name, count = change["specialist"] or "none", change["feedbacks"]
    if count is None:
        return "more than feedback can do"
    return f"{count} correction{'s' if count != 1 else ''}: synapse feedback {name} --last"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57].rstrip() + "..."
