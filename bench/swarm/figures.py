"""From answers to a table: shares with Wilson's intervals, perplexity with a bootstrap. Runs nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_engine.evolve.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.perplexity import Losses

RESAMPLES, SEED = 10_000, 1


@dataclass(frozen=True)
class Figure:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One way to answer."""

    name: str
    right: Mapping[str, Figure]
    """Share of right answers by kind of task, of those kinds that it was asked."""
    perplexity: Figure | None = None
    """Of plain text; None where requests are routed, which text is not."""

    def record(self) -> dict[str, Any]:
        """What is kept."""
        right = {kind: asdict(figure) for kind, figure in self.right.items()}
        return {"name": self.name, "right": right, "perplexity": self.perplexity and asdict(self.perplexity)}


def share(hits: Sequence[bool]) -> Figure:
    """Of right answers."""
    return Figure(sum(hits) / len(hits), *wilson(sum(hits), len(hits)))


def perplexity(losses: Losses) -> Figure:
    """Windows are drawn anew, with replacement."""
    sums, counts = np.array(losses.sums), np.array(losses.counts)
    draws = np.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums[draws].sum(1) / counts[draws].sum(1), [2.5, 97.5])
    return Figure(losses.perplexity, exp(low), exp(high))


def table(rows: Sequence[Row], counts: Mapping[str, int]) -> str:
    """Markdown; shares in per cent."""
    heads = [f"{kind} (of {count})" for kind, count in counts.items()]
    lines = [["", *heads, "perplexity of plain text"], ["---"] * (len(heads) + 2)]
    for row in rows:
        shares = [_percent(row.right[kind]) if kind in row.right else "" for kind in counts]
        text = row.perplexity
        lines.append(
            [row.name, *shares, "" if text is None else f"{text.value:.2f} ({text.low:.2f} to {text.high:.2f})"]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
