"""From probabilities and labels to figures: accuracy, F1, calibration, abstaining. Knows neither scorers nor texts.

``probabilities`` is (requests, specialists); rows add up to at most 1, and what is missing is the chance of none of
them. ``truth`` is (requests,), the number of the specialist, or -1 for a request that belongs to none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Measure = Callable[[Floats, Integers], float]

BINS, RESAMPLES, SEED = 15, 1000, 1


@dataclass(frozen=True)
class Interval:
    """A figure on all requests, and the middle 95 % of what it is on requests drawn anew, with replacement."""

    value: float
    low: float
    high: float


def accuracy(probabilities: Floats, truth: Integers) -> float:
    """Share of requests of a specialist that go to it, if there is no abstaining."""
    known = truth >= 0
    if not known.any():
        return float("nan")  # a small draw may hold none
    return float(np.mean(probabilities[known].argmax(1) == truth[known]))


def macro_f1(probabilities: Floats, truth: Integers) -> float:
    """Mean over specialists of the harmonic mean of precision and recall, without abstaining."""
    known = truth >= 0
    matrix = confusion(probabilities[known], truth[known])[:-1]
    hits, given, wanted = np.diag(matrix), matrix.sum(0), matrix.sum(1)
    return float(np.mean(2 * hits / np.maximum(given + wanted, 1)))


def calibration_error(probabilities: Floats, truth: Integers) -> float:
    """Expected calibration error of the greatest probability, 15 bins of equal width (Naeini et al. 2015)."""
    known = truth >= 0
    sure, right = probabilities[known].max(1), probabilities[known].argmax(1) == truth[known]
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == at].mean() - sure[bins == at].mean()) * np.sum(bins == at) for at in np.unique(bins)]
    return float(sum(gaps) / len(sure))


def none_found(probabilities: Floats, truth: Integers) -> float:
    """How often a request of none gets a smaller greatest probability than one of a specialist (area under the ROC)."""
    sure = probabilities.max(1)
    none, some = sure[truth < 0], sure[truth >= 0]
    if not len(none) or not len(some):
        return float("nan")
    below = (none[:, None] < some[None]).mean() + 0.5 * (none[:, None] == some[None]).mean()
    return float(below)


def confusion(probabilities: Floats, truth: Integers) -> Integers:
    """(specialists + 1, specialists): how many requests of each row, the last one none, go to each column."""
    count = probabilities.shape[1]
    matrix = np.zeros((count + 1, count), dtype=np.int64)
    np.add.at(matrix, (np.where(truth < 0, count, truth), probabilities.argmax(1)), 1)
    return matrix


@dataclass(frozen=True)
class AbstainPoint:
    """What a threshold on the greatest probability does."""

    threshold: float
    answered: float
    """Share of requests of a specialist that are routed at all."""
    right: float
    """Share of these that go to the right one."""
    none_refused: float
    """Share of requests of none that are not routed."""


def abstain_curve(probabilities: Floats, truth: Integers) -> list[AbstainPoint]:
    """One point each for thresholds from 0 to 0.95."""
    sure, known = probabilities.max(1), truth >= 0
    right = probabilities.argmax(1) == truth
    points = []
    for threshold in np.arange(0, 1, 0.05):
        routed = sure >= threshold
        some = routed & known
        points.append(
            AbstainPoint(
                threshold=float(round(threshold, 2)),
                answered=float(some.sum() / max(known.sum(), 1)),
                right=float(right[some].mean()) if some.any() else float("nan"),
                none_refused=float((~routed[~known]).mean()) if (~known).any() else float("nan"),
            )
        )
    return points


def with_interval(measure: Measure, probabilities: Floats, truth: Integers) -> Interval:
    """A figure with its bootstrap interval (percentiles, 1,000 draws, always the same)."""
    random = np.random.default_rng(SEED)
    draws = random.integers(0, len(truth), (RESAMPLES, len(truth)))
    low, high = np.nanpercentile([measure(probabilities[draw], truth[draw]) for draw in draws], [2.5, 97.5])
    return Interval(measure(probabilities, truth), float(low), float(high))


def difference(first: Floats, second: Floats, truth: Integers) -> Interval:
    """By how much the first one's accuracy is above the second's, on the same draws for both."""
    both = np.concatenate([first, second], axis=1)
    count = first.shape[1]
    return with_interval(lambda p, t: accuracy(p[:, :count], t) - accuracy(p[:, count:], t), both, truth)
