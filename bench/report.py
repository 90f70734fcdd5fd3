"""Rounds to medians, ratios and shares, and a table for people. Knows nothing of how a figure is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.cases import Roof

OURS = "synapse"
# Digits after the point, and of every figure in a record.
SHOWN, KEPT = 2, 4


@dataclass
class Figure:
    """One case on one model: what every peer reached in every round."""

    model: str
    case: str
    unit: str
    higher_is_better: bool = True
    # What bounds it.
    roof: Roof | None = None
    rounds: dict[str, list[float]] = field(default_factory=dict)
    # How much of the roof each peer used in every round, as measured just before and after.
    shares: dict[str, list[float]] = field(default_factory=dict)
    # Peers that cannot do it, and why.
    refused: dict[str, str] = field(default_factory=dict)

    def medians(self) -> dict[str, float]:
        """The middle round of each peer."""
        return {peer: median(values) for peer, values in self.rounds.items() if values}

    def share(self) -> dict[str, float]:
        """The middle one of each peer's shares of the roof."""
        return {peer: median(values) for peer, values in self.shares.items() if values}

    def ratio(self) -> float | None:
        """How many times better than the best other peer this engine is; None with nothing to compare.

        The median of what each round says: its measurements are neighbours in time, and a machine's speed can change.
        """
        others = {peer: value for peer, value in self.medians().items() if peer != OURS}
        if OURS not in self.medians() or not others:
            return None
        best = max(others, key=lambda peer: others[peer] if self.higher_is_better else -others[peer])
        pairs = zip(self.rounds[OURS], self.rounds[best], strict=False)
        return median(ours / its if self.higher_is_better else its / ours for ours, its in pairs)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        ratio = self.ratio()
        return {
            "model": self.model,
            "case": self.case,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "medians": rounded(self.medians()),
            "ratio_to_best_peer": None if ratio is None else round(ratio, KEPT),
            "roof": self.roof,
            "share_of_roof": rounded(self.share()),
            "rounds": {peer: [round(value, KEPT) for value in values] for peer, values in self.rounds.items()},
            "refused": self.refused,
        }


def rounded(values: dict[str, float]) -> dict[str, float]:
    """As many digits as a record keeps."""
    return {name: round(value, KEPT) for name, value in values.items()}


def relative(figure: Figure, one: Figure, name: str) -> Figure:
    """What each peer's rounds cost beside those of its own simplest case."""
    pairs = {peer: zip(values, one.rounds.get(peer, []), strict=False) for peer, values in figure.rounds.items()}
    rounds = {peer: [value / simple for value, simple in both] for peer, both in pairs.items()}
    return Figure(figure.model, name, "x", higher_is_better=False, rounds=rounds)


def table(figures: list[Figure], peers: list[str]) -> str:
    """Medians of every peer, how this engine compares with the best of the others, and its share of the roof."""
    rows = [["model", "case", "unit", *peers, "ratio", "of roof"]]
    for figure in figures:
        middle, ratio = figure.medians(), figure.ratio()
        cells = [f"{middle[peer]:.{SHOWN}f}" if peer in middle else "-" for peer in peers]
        used = figure.share().get(OURS)
        share = "-" if used is None else f"{100 * used:.0f} % {figure.roof}"
        rows.append([figure.model, figure.case, figure.unit, *cells, "-" if ratio is None else f"{ratio:.2f}x", share])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < 3 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
