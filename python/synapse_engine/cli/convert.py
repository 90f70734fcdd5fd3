"""``synapse convert``: names what to convert; the converter does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synapse_engine.cli.output import json_option, note, print_json, print_table

if TYPE_CHECKING:
    from synapse_engine.convert import Converted

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("source", type=_PATH)
@click.argument("target", type=_PATH)
@click.option("--config", type=_PATH, help="The model's config.toml or config.json; else the one beside SOURCE.")
@click.option("--tokenizer", type=_PATH, help="A folder with vocab.json and merges.txt, or a tokenizer.json.")
@click.option("--monarch-layout", type=click.Choice(["julia", "torch"]), help="Instead of what the weights tell.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@click.option("--base", help="For an adapter: the model that it belongs to.")
@click.option("--force", is_flag=True, help="Replace a model in TARGET.")
@json_option
def command(
    source: Path,
    target: Path,
    config: Path | None,
    tokenizer: Path | None,
    monarch_layout: str | None,
    dtype: str,
    base: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Turn a checkpoint of the organelle family into a model.

    SOURCE is a final.jld2, a PyTorch state dict (.pt) or an .npz, or a folder with one; TARGET is the folder to make.
    Nothing in SOURCE is executed. A lora_state.pt becomes a PEFT adapter.

    \b
    Examples:
      synapse convert ./SymbioSLM/final.jld2 ./symbio
      synapse convert symbio_best.pt ./symbio --tokenizer ./tokenizer --dtype float16
      synapse up ./symbio
    """
    from synapse_engine.convert import ConvertRequest, convert

    request = ConvertRequest(
        source,
        target,
        config=config,
        tokenizer=tokenizer,
        monarch_layout=monarch_layout,
        dtype=dtype,
        base=base,
        force=force,
    )
    converted = convert(request)
    if as_json:
        print_json(_record(converted))
    else:
        _print(converted)


def _print(converted: Converted) -> None:
    click.echo(f"{converted.target}: {converted.kind} of {converted.parameters:,} parameters")
    for name, value in converted.facts.items():
        click.echo(f"  {name.replace('_', ' ')}: {value}")
    for text in converted.notes:
        note(f"note: {text}")
    if converted.gates:
        click.echo()
        rows = [
            [
                str(index),
                "-" if gate.entropy is None else f"{gate.entropy:.4f}",
                _weights(gate.organelles, gate.weights),
            ]
            for index, gate in enumerate(converted.gates)
        ]
        print_table(["LAYER", "GATE ENTROPY", "MEAN WEIGHTS"], rows)


def _weights(organelles: tuple[str, ...], weights: tuple[float, ...]) -> str:
    return ", ".join(f"{name} {weight:.3f}" for name, weight in zip(organelles, weights, strict=True))


def _record(converted: Converted) -> dict[str, object]:
    return {
        "path": str(converted.target),
        "kind": converted.kind,
        "parameters": converted.parameters,
        "facts": converted.facts,
        "notes": converted.notes,
        "layers": [
            {"organelles": gate.organelles, "gate_entropy": gate.entropy, "weights": gate.weights}
            for gate in converted.gates
        ],
    }
