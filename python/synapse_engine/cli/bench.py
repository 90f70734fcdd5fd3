"""``synapse bench``: prefill and decode speed of one model on this machine. Medians; every round is in ``--json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from synapse_engine.cli.choose import choose
from synapse_engine.cli.measure import Case, Result, measure
from synapse_engine.cli.options import LoadOptions, Number, load_options, offline_option
from synapse_engine.cli.output import json_option, note, print_json, print_table


@click.command()
@click.argument("model", required=False)
@click.option(
    "--prompt",
    "prompts",
    type=Number(int, 1),
    multiple=True,
    default=(512,),
    show_default=True,
    help="Prompt length in tokens; may be given several times.",
)
@click.option("--tokens", type=Number(int, 2), default=128, show_default=True, help="Tokens to generate.")
@click.option(
    "--concurrency",
    "streams",
    type=Number(int, 1, 256),
    multiple=True,
    default=(1,),
    show_default=True,
    help="Requests at the same time; may be given several times.",
)
@click.option("--rounds", type=Number(int, 1, 100), default=3, show_default=True, help="Rounds; the median counts.")
@load_options
@offline_option
@json_option
def command(
    model: str | None,
    prompts: tuple[int, ...],
    tokens: int,
    streams: tuple[int, ...],
    rounds: int,
    offline: bool,
    as_json: bool,
    **load: Any,
) -> None:
    """Measure how fast a model runs here.

    Prompts are random words, different in every request, so that nothing comes from the prefix cache. With several
    requests at once, speeds are totals over all of them.
    """
    chosen = choose(model, offline=offline)
    options = LoadOptions(**load)
    note(f"loading {chosen.name} ...")
    cases = [Case(prompt, tokens, count) for count in streams for prompt in prompts]
    info, results = measure(chosen, options, cases, rounds, note)
    if as_json:
        print_json({"model": chosen.name, "info": info, "results": [_record(result) for result in results]})
        return
    click.echo(f"{chosen.name}: {info['quant']}, {info['kernels']}, {info['threads']} threads\n")
    headings = ["PROMPT", "TOKENS", "AT ONCE", "PREFILL tok/s", "DECODE tok/s", "FIRST TOKEN ms"]
    print_table(headings, [_row(result) for result in results], right=range(len(headings)))


def _row(result: Result) -> list[str]:
    case, middle = result.case, result.median
    return [
        str(case.prompt), str(case.tokens), str(case.streams), f"{middle.prefill:.1f}", f"{middle.decode:.1f}",
        f"{1000 * middle.first_token_seconds:.0f}",
    ]  # fmt: skip


def _record(result: Result) -> dict[str, Any]:
    return {**asdict(result.case), "median": asdict(result.median), "rounds": [asdict(each) for each in result.rounds]}
