"""``synapse bench``: speed of one model here, beside what the machine can do, and where the time goes."""

from __future__ import annotations

from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli import records
from synapse_engine.cli.account import Roofs, measure_roofs
from synapse_engine.cli.choose import choose
from synapse_engine.cli.measure import Case, Result, Round, measure
from synapse_engine.cli.options import LoadOptions, Number, load_options, offline_option
from synapse_engine.cli.output import json_option, note, print_json, print_table

if TYPE_CHECKING:
    from synapse_engine.cli.account import Account

# Tokens of a prompt, where the context has room for them and an answer.
USUAL_PROMPT = 512


@click.command()
@click.argument("model", required=False)
@click.option(
    "--prompt",
    "prompts",
    type=Number(int, 1),
    multiple=True,
    show_default="512, or half of a shorter context",
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
@click.option("--roof", is_flag=True, help="Only measure what the machine can do at most.")
@click.option(
    "--records",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the record goes.",
    show_default="bench/records of a checkout, or the data folder",
)
@click.option("--no-record", is_flag=True, help="Write no record.")
@load_options
@offline_option
@json_option
def command(
    model: str | None,
    prompts: tuple[int, ...],
    tokens: int,
    streams: tuple[int, ...],
    rounds: int,
    roof: bool,
    folder: Path | None,
    no_record: bool,
    offline: bool,
    as_json: bool,
    **load: Any,
) -> None:
    """Measure how fast a model runs here.

    Prompts are random words, different in every request, so that nothing comes from the prefix cache. With several
    requests at once, speeds are totals over all of them. Prefill is held against the peak of 8-bit arithmetic, decode
    against the read bandwidth; both are measured before and after.
    """
    options = LoadOptions.taken_from(load)
    if roof:
        _show_roofs(measure_roofs(options.threads), as_json)
        return
    chosen = choose(model, offline=offline)
    note(f"loading {chosen.name} ...")

    def cases(context_length: int) -> list[Case]:
        lengths = prompts or (min(USUAL_PROMPT, context_length // 2),)
        return [Case(prompt, min(tokens, context_length // 2), count) for count in streams for prompt in lengths]

    info, results = measure(chosen, options, cases, rounds, note)
    roofs = reduce(Roofs.best, [result.roofs for result in results])
    record = {"model": chosen.name, "info": info, "roofs": asdict(roofs), "results": [_record(r) for r in results]}
    if as_json:
        print_json(record)
    else:
        click.echo(f"{chosen.name}: {info['quant']}, {info['kernels']}, {info['threads']} threads")
        _show_roofs(roofs, as_json)
        _show_speeds(results)
        for result in results:
            _show_operations(result)
    if not no_record:
        path = records.save("model", record, folder or records.default_folder(), chosen.name)
        note(f"record: {path}")


def _show_roofs(roofs: Roofs, as_json: bool) -> None:
    if as_json:
        print_json(asdict(roofs))
        return
    read, peak = roofs.read_bytes_per_second / 1e9, roofs.int8_operations_per_second / 1e12
    click.echo(f"at most: {read:.1f} GB/s read, {peak:.2f} TOPS int8 ({roofs.kernels}, {roofs.threads} threads)")


def _show_speeds(results: list[Result]) -> None:
    headings = [
        "PROMPT", "TOKENS", "AT ONCE", "PREFILL tok/s", "OF int8", "DECODE tok/s", "OF READ", "FIRST TOKEN ms"
    ]  # fmt: skip
    click.echo()
    print_table(headings, [_speeds(result) for result in results], right=range(len(headings)))


def _speeds(result: Result) -> list[str]:
    case = result.case
    prefill, decode = result.account(_prefill).total, result.account(_decode).total
    return [
        str(case.prompt), str(case.tokens), str(case.streams),
        f"{result.median(lambda each: each.prefill):.1f}", _percent(prefill.share_of_int8),
        f"{result.median(lambda each: each.decode):.1f}", _percent(decode.share_of_read),
        f"{1000 * result.median(lambda each: each.first_token_seconds):.0f}",
    ]  # fmt: skip


def _show_operations(result: Result) -> None:
    """Share of the time of each operation, and what it makes of its roof."""
    case = result.case
    click.echo(f"\nWhere the time goes, prompt {case.prompt}, {case.streams} at once:")
    prefill, decode = result.account(_prefill), result.account(_decode)
    whole_prefill, whole_decode = prefill.total.seconds, decode.total.seconds
    rows = []
    for name, spent in prefill.operations.items():
        later = decode.operations[name]
        rows.append([
            name,
            _percent(spent.seconds / whole_prefill if whole_prefill else None),
            _percent(spent.share_of_int8 if spent.multiply_adds else None),
            _percent(later.seconds / whole_decode if whole_decode else None),
            _percent(later.share_of_read if later.bytes else None),
        ])  # fmt: skip
    print_table(["OPERATION", "PREFILL", "OF int8", "DECODE", "OF READ"], rows, right=range(1, 5))


def _prefill(round_: Round) -> Account:
    return round_.prefill_account


def _decode(round_: Round) -> Account:
    return round_.decode_account


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _record(result: Result) -> dict[str, Any]:
    medians = {
        "prefill": result.median(lambda each: each.prefill),
        "decode": result.median(lambda each: each.decode),
        "first_token_seconds": result.median(lambda each: each.first_token_seconds),
    }
    return {**asdict(result.case), "median": medians, "rounds": [asdict(each) for each in result.rounds]}
