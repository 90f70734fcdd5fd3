"""``synapse show --layers``: what each layer of an organelle model relies on, as a table, JSON or a picture."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.output import note, print_json, print_table
from synapse_engine.gates import LayerGate, mean_entropy, read_gates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_COLORS = {"causal_conv": "#2471a3", "monarch": "#d68910", "long_conv": "#1e8449", "attention": "#7d3c98"}


def show_layers(path: Path, plot: Path | None, *, as_json: bool) -> None:
    """Prints the gates of the model at ``path``, and draws them in the file ``plot``."""
    if plot and importlib.util.find_spec("matplotlib") is None:
        raise Failure("--plot needs matplotlib", "pip install 'synapse-engine[train]'")
    gates = read_gates(path)
    if plot:
        _draw(gates, plot)
        note(f"drew {plot}")
    if as_json:
        print_json({"path": str(path), "mean_gate_entropy": mean_entropy(gates), "layers": list(map(_record, gates))})
    else:
        _print(gates)


def _record(gate: LayerGate) -> dict[str, object]:
    return {
        "organelles": gate.organelles,
        "gate_entropy": gate.entropy,
        "highest_entropy": gate.highest_entropy if gate.entropy is not None else None,
        "weights": dict(zip(gate.organelles, gate.weights, strict=True)),
        "largest_in": dict(zip(gate.organelles, gate.largest, strict=False)),
    }


def _print(gates: Sequence[LayerGate]) -> None:
    organelles = _all_organelles(gates)
    headings = ["LAYER", "GATE ENTROPY", *(name.upper().replace("_", " ") for name in organelles)]
    rows = [[str(index), _entropy(gate), *_cells(gate, organelles)] for index, gate in enumerate(gates)]
    print_table(headings, rows, right=range(len(headings)))
    click.echo()
    mean = mean_entropy(gates)
    if mean is None:
        click.echo("Mean weight over the channels; the gate is one sigmoid for the sum of the organelles.")
    else:
        click.echo("Mean weight over the channels, and in how many of them it is the largest.")
        click.echo(f"Gate entropy in nats, of ln N for N organelles that count alike; its mean is {mean:.4f}.")


def _entropy(gate: LayerGate) -> str:
    return "-" if gate.entropy is None else f"{gate.entropy:.4f} of {gate.highest_entropy:.4f}"


def _cells(gate: LayerGate, organelles: Sequence[str]) -> list[str]:
    weights = dict(zip(gate.organelles, gate.weights, strict=True))
    largest = dict(zip(gate.organelles, gate.largest, strict=False))
    shares = {name: f"{share:5.0%}" for name, share in largest.items()}
    return [f"{weights[name]:.3f} {shares.get(name, '')}".strip() if name in weights else "-" for name in organelles]


def _all_organelles(gates: Sequence[LayerGate]) -> list[str]:
    return list(dict.fromkeys(name for gate in gates for name in gate.organelles))


def _draw(gates: Sequence[LayerGate], file: Path) -> None:
    """Above, the mean weights of each layer on top of each other; below, the entropy, with its highest value dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    weights, entropy = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    layers = list(range(len(gates)))
    below = [0.0] * len(gates)
    for name in _all_organelles(gates):
        heights = [dict(zip(gate.organelles, gate.weights, strict=True)).get(name, 0.0) for gate in gates]
        weights.bar(layers, heights, bottom=below, label=name, color=_COLORS.get(name))
        below = [low + height for low, height in zip(below, heights, strict=True)]
    weights.set(ylabel="mean gate weight", ylim=(0, 1.02 * max(1.0, *below)))
    weights.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    entropies = [float("nan") if gate.entropy is None else gate.entropy for gate in gates]
    entropy.plot(layers, entropies, color="#2471a3", marker="o")
    highest = [gate.highest_entropy for gate in gates]
    entropy.plot(layers, highest, color="grey", linestyle="--", linewidth=0.9)
    entropy.set(ylabel="gate entropy (nats)", xlabel="layer (dashed: all organelles count alike)", xticks=layers)
    entropy.set_ylim(0, 1.15 * max(*highest, 0.1))
    entropy.grid(alpha=0.3)
    figure.savefig(file, dpi=110, format="png")
