"""Rounds to medians and ratios, a table for people, a record for later. Knows nothing of how a figure is measured."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

OURS = "synapse"
RECORDS = Path(__file__).parent / "records"


@dataclass
class Figure:
    """One case on one model: what every peer reached in every round."""

    model: str
    case: str
    unit: str
    higher_is_better: bool = True
    rounds: dict[str, list[float]] = field(default_factory=dict)
    # Peers that cannot do it, and why.
    refused: dict[str, str] = field(default_factory=dict)

    def medians(self) -> dict[str, float]:
        """The middle round of each peer."""
        return {peer: median(values) for peer, values in self.rounds.items() if values}

    def ratio(self) -> float | None:
        """How many times better than the best other peer this engine is; None with nothing to compare."""
        middle = self.medians()
        ours = middle.pop(OURS, None)
        if ours is None or not middle:
            return None
        return ours / max(middle.values()) if self.higher_is_better else min(middle.values()) / ours

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "case": self.case,
            "unit": self.unit,
            "medians": {peer: round(value, 3) for peer, value in self.medians().items()},
            "ratio_to_best_peer": None if self.ratio() is None else round(self.ratio() or 0.0, 3),
            "rounds": {peer: [round(value, 3) for value in values] for peer, values in self.rounds.items()},
            "refused": self.refused,
        }


def table(figures: list[Figure], peers: list[str]) -> str:
    """Medians of every peer; the last column compares with the best of the others."""
    rows = [["model", "case", "unit", *peers, "ratio"]]
    for figure in figures:
        middle, ratio = figure.medians(), figure.ratio()
        cells = [f"{middle[peer]:.2f}" if peer in middle else "-" for peer in peers]
        rows.append([figure.model, figure.case, figure.unit, *cells, "-" if ratio is None else f"{ratio:.2f}x"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < 3 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def save(record: dict[str, Any], machine_slug: str, suffix: str = "") -> Path:
    """Writes bench/records/MACHINE/DATE-COMMIT.json."""
    today = dt.datetime.now(tz=dt.timezone.utc).date().isoformat()
    path = RECORDS / machine_slug / f"{today}-{record['commit']}{suffix}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path
