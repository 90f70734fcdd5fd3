"""What moved between two records of the same kind of machine. Knows nothing of how they were measured."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.report import OURS

# Less than this is noise, however alike the rounds were: page placement differs from process to process.
LEAST_NOISE = 0.03
# Deviations of the rounds from their median beyond which a change counts.
DEVIATIONS = 2


@dataclass(frozen=True)
class Move:
    """One figure of this engine, before and now."""

    model: str
    case: str
    unit: str
    before: float
    now: float
    # Better by this factor, above or below 1: the figure, and beside the best peer of both records.
    gain: float
    ratio_gain: float | None
    # Share of the roof, before and now.
    shares: tuple[float, float] | None
    # Relative change that rounds alone may make.
    noise: float

    @property
    def moved(self) -> bool:
        """Whether the figure, or its ratio to the peers, changed by more than noise."""
        return any(abs(gain - 1) > self.noise for gain in (self.gain, self.ratio_gain or 1.0))

    def line(self) -> str:
        """For people."""
        verdict = "better" if self.gain >= 1 else "worse"
        parts = [f"{self.before:.2f} -> {self.now:.2f} {self.unit} ({self.gain:.2f}x, {verdict})"]
        if self.ratio_gain is not None:
            parts.append(f"beside the best peer {self.ratio_gain:.2f}x")
        if self.shares:
            parts.append(f"of its roof {100 * self.shares[0]:.0f} -> {100 * self.shares[1]:.0f} %")
        return f"{self.model}, {self.case}: {'; '.join(parts)}; noise {100 * self.noise:.0f} %"


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Move]:
    """All figures that both records have, the largest change first."""
    before = {(figure["model"], figure["case"]): figure for figure in old["figures"]}
    pairs = ((before.get((figure["model"], figure["case"])), figure) for figure in new["figures"])
    moves = [move(was, now) for was, now in pairs if was and OURS in was["medians"] and OURS in now["medians"]]
    return sorted(moves, key=lambda each: -abs(each.gain - 1))


def move(was: dict[str, Any], now: dict[str, Any]) -> Move:
    """One figure in two records."""
    before, after = was["medians"][OURS], now["medians"][OURS]
    shares = was.get("share_of_roof", {}).get(OURS), now.get("share_of_roof", {}).get(OURS)
    gain = after / before if now.get("higher_is_better", True) else before / after
    return Move(
        model=now["model"],
        case=now["case"],
        unit=now["unit"],
        before=before,
        now=after,
        gain=gain,
        ratio_gain=gain / peers if (peers := peers_gain(was, now)) else None,
        shares=(shares[0], shares[1]) if shares[0] and shares[1] else None,
        noise=max(LEAST_NOISE, DEVIATIONS * max(deviation(was), deviation(now))),
    )


def peers_gain(was: dict[str, Any], now: dict[str, Any]) -> float | None:
    """By what factor the best of the peers that both records have became better; None if they share none."""
    common = (was["medians"].keys() & now["medians"].keys()) - {OURS}
    if not common:
        return None
    higher = now.get("higher_is_better", True)
    before, after = ((max if higher else min)(figure["medians"][peer] for peer in common) for figure in (was, now))
    return float(after / before if higher else before / after)


def deviation(figure: dict[str, Any]) -> float:
    """Of the rounds of the peer that wavered most from its median, relative to it; half of its rounds were closer."""
    relative = [0.0]
    for values in figure["rounds"].values():
        middle = median(values)
        relative.append(median(abs(value - middle) for value in values) / abs(middle) if middle else 0.0)
    return max(relative)


def summary(old: dict[str, Any], new: dict[str, Any], name: str) -> str:
    """What moved, for people."""
    moves = compare(old, new)
    if not moves:
        return f"nothing to compare with {name}"
    moved = [each.line() for each in moves if each.moved]
    heading = f"{len(moved)} of {len(moves)} figures moved since {name}"
    return "\n".join([f"{heading}:" if moved else heading, *moved])
