"""``synapse merge``: names what to merge and how; the merger does it."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.output import json_option, print_json
from synapse_engine.cli.progress import progress_display

if TYPE_CHECKING:
    from synapse_engine.merge import Merged

_PATH = click.Path(path_type=Path)
_SHARE = click.FloatRange(0, 1, max_open=True)
# The options that only some methods have.
_OF_METHODS = {"trim": ("ties",), "trim_over": ("ties",), "drop": ("dare", "dare-ties"), "seed": ("dare", "dare-ties")}


def _weighted(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[Path, float], ...]:
    """Each ``PATH`` or ``PATH=WEIGHT``."""
    found = []
    for value in values:
        path, sign, weight = value.rpartition("=")
        if not sign or Path(value).exists():
            path, weight = value, "1"
        found.append((Path(path), _number(weight, context, option)))
    return tuple(found)


def _number(weight: str, context: click.Context, option: click.Parameter) -> float:
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise click.BadParameter(f"{weight!r} is not a weight; write PATH=0.5", context, option)
    return number


@click.command()
@click.argument("base", metavar="BASE")
@click.option(
    "--with",
    "sources",
    callback=_weighted,
    multiple=True,
    required=True,
    metavar="PATH[=WEIGHT]",
    help="A PEFT LoRA folder, or a fine-tuned model's. Weight: 1 unless given. Give it again for each.",
)
@click.option("--out", "target", type=_PATH, required=True, metavar="TARGET", help="The folder to make.")
@click.option("--method", type=click.Choice(["ties", "linear", "dare", "dare-ties"]), default="ties", show_default=True)
@click.option("--lambda", "strength", type=float, default=1.0, show_default=True, help="Times the merged change.")
@click.option("--trim", type=_SHARE, default=0.8, show_default=True, help="ties: share of the changes to drop.")
@click.option(
    "--trim-over",
    type=click.Choice(["model", "tensor"]),
    default="model",
    show_default=True,
    help="ties: keep the largest of all, or of each tensor.",
)
@click.option("--drop", type=_SHARE, default=0.9, show_default=True, help="dare: probability to drop a change.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="dare: which changes are dropped.")
@click.option("--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), help="Else that of BASE.")
@click.option(
    "--eval",
    "evaluation",
    type=_PATH,
    metavar="FILE",
    help='Merge only if not worse than BASE on this text or .jsonl of {"prompt", "answer"}.',
)
@click.option("--force", is_flag=True, help="Replace a model in TARGET.")
@json_option
@click.pass_context
def command(context: click.Context, /, base: str, as_json: bool, **options: Any) -> None:
    """Merge adapters and fine-tuned models into one model.

    BASE is a safetensors model: a folder, or an installed model's name. TARGET appears whole or not at all.

    \b
    Examples:
      synapse merge ./base --with ./math --with ./sql=0.5 --out ./merged
      synapse merge ./base --with ./math --with ./sql --method linear --eval held-out.jsonl --out ./merged
      synapse up --model ./merged
    """
    # Before NumPy is there. The products are small: on a busy machine, threads of BLAS took six times as long as one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from synapse_engine.engine import find_model
    from synapse_engine.merge import MergeRequest, merge

    _check(context, options["method"])
    with progress_display() as progress:
        merged = merge(MergeRequest(find_model(base)[0], **options), progress)
    if as_json:
        print_json(_record(merged))
    else:
        _print(merged)


def _check(context: click.Context, method: str) -> None:
    """An option that does nothing is a misunderstanding."""
    for name, methods in _OF_METHODS.items():
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and method not in methods:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is for --method {' and '.join(methods)}, not for {method}", context)


def _print(merged: Merged) -> None:
    click.echo(f"{merged.target}: {merged.tensors} tensors changed, {merged.dtype}")
    for name, weight, what in merged.sources:
        click.echo(f"  {name} ({weight:g}): {what}")
    if merged.evaluation:
        click.echo(f"  {merged.evaluation}")


def _record(merged: Merged) -> dict[str, object]:
    found = merged.evaluation
    return {
        "path": str(merged.target),
        "tensors_changed": merged.tensors,
        "dtype": merged.dtype,
        "sources": [{"name": name, "weight": weight, "what": what} for name, weight, what in merged.sources],
        "evaluation": found and {
            "base": found.base, "merged": found.merged, "difference_95": [found.low, found.high],
            "tokens": found.tokens, "pieces": found.pieces,
        },
    }  # fmt: skip
