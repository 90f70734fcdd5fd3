"""Draws the log of a run: loss, gate entropy and synchrony over the steps, as one PNG. Reads only records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    Records = Sequence[dict[str, Any]]

_RED, _BLUE = "#c0392b", "#2471a3"


def draw_curves(runs: Mapping[str, Records], file: Path) -> None:
    """Writes the picture; several runs share the panel of the loss, the other panels show the first."""
    mpl.use("Agg")
    figure = Figure(figsize=(8, 8), layout="constrained")
    loss, entropy, order = figure.subplots(3, sharex=True, height_ratios=(2, 1, 1))
    for color, (name, records) in enumerate(runs.items()):
        _draw_loss(loss, name, records, f"C{color}")
    first = next(iter(runs.values()))
    _line(entropy, first, "gate_entropy", _BLUE)
    _line(order, first, "synchrony", _BLUE)
    for step in _steps(first, "bend"):
        order.axvline(step, color=_RED, alpha=0.4)
    loss.set_ylabel("loss (nats per token)")
    entropy.set_ylabel("gate entropy (nats)")
    order.set(ylabel="synchrony R", xlabel="step (red: the loss bends, CUSUM)", ylim=(0, 1))
    loss.legend()
    for panel in (loss, entropy, order):
        panel.grid(alpha=0.3)
    figure.savefig(file, dpi=110, format="png")


def _draw_loss(panel: Axes, name: str, records: Records, color: str) -> None:
    training = [r for r in records if r["kind"] == "train"]
    held_out = [r for r in records if r["kind"] == "validation"]
    panel.plot([r["step"] for r in training], [r["loss"] for r in training], color=color, alpha=0.35, linewidth=0.8)
    panel.plot(
        [r["step"] for r in held_out], [r["loss"] for r in held_out], color=color, marker="o", markersize=3, label=name
    )


def _line(panel: Axes, records: Records, name: str, color: str) -> None:
    points = [(r["step"], r[name]) for r in records if r.get(name) is not None]
    panel.plot([step for step, _ in points], [value for _, value in points], color=color, linewidth=0.9)


def _steps(records: Records, flag: str) -> list[int]:
    return [r["step"] for r in records if r.get(flag)]
