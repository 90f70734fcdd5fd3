"""Draws a run of ``bench.routing``: the last scorer's confusion matrix, and everyone's abstain curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bench import routing_measures as measures
from bench.routing_scorers import NAMES
from synapse_engine.train.routing.requests import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.routing import Judged
    from bench.routing_measures import Integers


def draw(judged: Sequence[Judged], truth: Integers, file: Path) -> None:
    """Writes the picture as PNG."""
    mpl.use("Agg")
    figure = Figure(figsize=(14, 6), layout="constrained")
    matrix, curves = figure.subplots(1, 2)
    _matrix(matrix, judged[-1], truth)
    for one in judged:
        points = measures.abstain_curve(one.probabilities, truth)
        curves.plot([p.answered for p in points], [p.right for p in points], marker="o", markersize=3, label=one.name)
    curves.set(xlabel="share of requests that are routed", ylabel="share of these that go right", ylim=(0, 1.02))
    curves.grid(alpha=0.3)
    curves.legend()
    figure.savefig(file, dpi=110, format="png")


def _matrix(panel: Axes, judged: Judged, truth: Integers) -> None:
    matrix = measures.confusion(judged.probabilities, truth)
    panel.imshow(matrix / np.maximum(matrix.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        if matrix[row, column]:
            shade = "white" if matrix[row, column] > matrix[row].sum() / 2 else "black"
            panel.text(column, row, str(matrix[row, column]), ha="center", va="center", color=shade)
    panel.set_xticks(range(len(NAMES)), NAMES, rotation=45)
    panel.set_yticks(range(len(NAMES) + 1), [*NAMES, NONE])
    panel.set(title=judged.name, xlabel="goes to", ylabel="belongs to")
