"""``synapse evolve``: breeds an adapter for a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.options import Number
from synapse_engine.cli.output import json_option, note, print_json, print_table

if TYPE_CHECKING:
    from synapse_engine.evolve.population import Generation, Unit
    from synapse_engine.evolve.session import Plan, Report

_PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.argument("model", type=_PATH)
@click.option("--data", type=_PATH, required=True, metavar="FILE|FOLDER", help="Prose to take sentences from.")
@click.option("--out", type=_PATH, required=True, metavar="FOLDER", help="Where the run lies; run again to continue.")
@click.option("--held-out", type=Number(float, 0.001, 0.9), default=0.02, help="Share of the text to judge by.")
@click.option("--population", type=Number(int, 3), default=8, help="Adapters that live at the same time.")
@click.option("--generations", type=Number(int, 0), default=24, help="At most; ends ten after gelation.")
@click.option("--children", type=Number(int, 1), default=2, help="New adapters in a generation.")
@click.option(
    "--mode", type=click.Choice(["sequential", "parallel", "hybrid"]), default="hybrid", help="How two become one."
)
@click.option("--targets", default="", metavar="NAMES", help="Layers to adapt, with commas; all by default.")
@click.option("--steps", type=Number(int, 1), default=200, help="Training steps of an adapter.")
@click.option("--batch-size", type=Number(int, 1), default=16, help="Sentences in a step.")
@click.option("--lr", type=Number(float, 0), default=2e-4, help="Highest learning rate.")
@click.option("--precision", type=click.Choice(["f32", "bf16"]), default="f32", help="Of products; weights are f32.")
@click.option("--sentences", type=Number(int, 1), default=20_000, help="To learn from, at most.")
@click.option(
    "--compress", type=Number(float, 0.01, 1), metavar="SHARE", help="Also keep this share of the rank, by SVD."
)
@click.option("--seed", type=Number(int, 0), default=0, help="Same seed, same run.")
@click.option("--threads", type=Number(int, 1), help="CPU threads.")
@json_option
def command(as_json: bool, **given: Any) -> None:
    """Breed an adapter that tells good sentences from spoiled ones.

    MODEL is a folder that `synapse export` or `synapse convert` made. Half of the sentences are spoiled. The result is
    shown beside the majority baseline, with 95 % intervals, on sentences that played no part before.
    """
    from synapse_engine.cli.train import needs_training_packages

    needs_training_packages()
    import torch

    from synapse_engine.evolve.session import run

    if given["threads"]:
        torch.set_num_threads(given["threads"])
    report = run(_plan(given), _tell, _tell_unit)
    if as_json:
        import json

        print_json(json.loads((given["out"] / "report.json").read_text()))
    else:
        _show(report)
    note(f"the adapter lies in {given['out'] / 'adapter'}")


def _plan(given: dict[str, Any]) -> Plan:
    from synapse_engine.evolve.judge import Schooling
    from synapse_engine.evolve.session import Plan

    return Plan(
        model=given["model"],
        data=given["data"],
        out=given["out"],
        schooling=Schooling(given["steps"], given["batch_size"], given["lr"], given["precision"] == "bf16"),
        population=given["population"],
        generations=given["generations"],
        children=given["children"],
        mode=given["mode"],
        targets=tuple(sorted(name.strip() for name in given["targets"].split(",") if name.strip())),
        held_out=given["held_out"],
        most_sentences=given["sentences"],
        compression=given["compress"],
        seed=given["seed"],
    )


def _tell_unit(unit: Unit) -> None:
    shape = f"rank {unit.genome.rank} on {', '.join(unit.genome.targets)}"
    note(f"  adapter {unit.number}: {shape}, {unit.parameters:,} parameters, accuracy {unit.accuracy:.3f}")


def _tell(generation: Generation) -> None:
    best = generation.best
    text = f"generation {generation.number}: best accuracy {best.accuracy:.3f}, fitness {best.fitness:.3f}, "
    text += f"mean rank {generation.mean_rank:.1f}, mean targets {generation.mean_targets:.2f}, "
    text += f"diversity {generation.diversity:.2f}, CUSUM {max(generation.sums):.2f}"
    if generation.gelled_at is not None:
        text += f", gelled at {generation.gelled_at}"
    click.echo(text, err=True)


def _show(report: Report) -> None:
    rows = []
    for finding in report.findings:
        low, high = finding.counted.interval()
        rows.append(
            [finding.name, f"{finding.counted.accuracy:.3f}", f"{low:.3f} to {high:.3f}", f"{finding.parameters:,}"]
        )
    print_table(["judge", "accuracy", "95 %", "parameters"], rows, right=(1, 3))
    best = report.best.genome
    click.echo(f"best shape: rank {best.rank} on {', '.join(best.targets)}, dropout {best.dropout}")
    rows = [[name, f"{counted.accuracy:.3f}", str(counted.count)] for name, counted in report.changes.items()]
    print_table(["change", "found", "sentences"], rows, right=(1, 2))
