"""Figures of routing against values worked out by hand, and a run of the bench without a model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bench import routing, routing_measures
from bench.routing_plot import draw
from bench.routing_scorers import KEYWORDS, NAMES, Centroids, Keywords, Majority
from numpy.typing import NDArray

from synapse_engine import Engine
from synapse_engine.specialists import built_in
from synapse_engine.train.routing.requests import Request, read_requests

# Four requests of specialists 0, 0, 1, 1 and one of none.
TRUTH = np.array([0, 0, 1, 1, -1])
PROBABILITIES = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.1, 0.6], [0.5, 0.5]])


def test_figures_by_hand() -> None:
    assert routing_measures.accuracy(PROBABILITIES, TRUTH) == 0.75
    # Specialist 0: 1 hit, 1 given, 2 wanted: 2/3. Specialist 1: 2 hits, 3 given, 2 wanted: 4/5.
    assert routing_measures.macro_f1(PROBABILITIES, TRUTH) == pytest.approx((2 / 3 + 4 / 5) / 2)
    # Bins of 1/15 hold 0.9, 0.7, 0.8 and 0.6 one by one.
    assert routing_measures.calibration_error(PROBABILITIES, TRUTH) == pytest.approx((0.1 + 0.7 + 0.2 + 0.4) / 4)
    assert routing_measures.none_found(PROBABILITIES, TRUTH) == 1.0
    assert routing_measures.confusion(PROBABILITIES, TRUTH).tolist() == [[1, 1], [0, 2], [1, 0]]


def test_none_is_found_half_of_the_time_by_chance() -> None:
    assert routing_measures.none_found(np.full((5, 2), 0.5), TRUTH) == 0.5


def test_abstaining() -> None:
    points = {point.threshold: point for point in routing_measures.abstain_curve(PROBABILITIES, TRUTH)}
    assert (points[0.0].answered, points[0.0].right, points[0.0].none_refused) == (1.0, 0.75, 0.0)
    assert (points[0.75].answered, points[0.75].right, points[0.75].none_refused) == (0.5, 1.0, 1.0)
    assert np.isnan(points[0.95].right)


def test_intervals_hold_the_figure_and_shrink() -> None:
    few = routing_measures.with_interval(routing_measures.accuracy, PROBABILITIES, TRUTH)
    many = routing_measures.with_interval(
        routing_measures.accuracy, np.tile(PROBABILITIES, (50, 1)), np.tile(TRUTH, 50)
    )
    assert few.low <= 0.75 <= few.high
    assert many.value == 0.75
    assert many.high - many.low < (few.high - few.low) / 3


def test_a_difference_counts_the_same_draws() -> None:
    same = routing_measures.difference(PROBABILITIES, PROBABILITIES, TRUTH)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    assert routing_measures.difference(PROBABILITIES, 1 - PROBABILITIES, TRUTH).value == 0.5


def requests(*pairs: tuple[str, str]) -> list[Request]:
    return [Request((text,), label, "test") for text, label in pairs]


def test_majority_and_keywords() -> None:
    training = requests(("a", "code"), ("b", "code"), ("c", "sql"))
    assert NAMES[Majority(training).score(training)[0].argmax()] == "code"
    found = Keywords().score(requests(("Translate this poem, please", "language"), ("qqq", "none")))
    assert NAMES[found[0].argmax()] in ("language", "writing")
    assert np.allclose(found[1], 1 / len(NAMES))
    assert tuple(KEYWORDS) == NAMES


class Fake:
    """Embeds a text as the number of its specialist, so that centroids are exact."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(text.startswith(name)) for name in NAMES] for text in texts]


def test_centroids_find_what_is_near() -> None:
    shown = requests(*((f"{name} {number}", name) for number in range(30) for name in NAMES))
    scorer = Centroids("test", Fake(), shown)  # type: ignore[arg-type]
    found = scorer.score(requests(*((f"{name} asked", name) for name in NAMES)))
    assert [NAMES[at] for at in found.argmax(1)] == list(NAMES)
    assert np.allclose(found.sum(1), 1)


def test_centroids_need_every_specialist() -> None:
    with pytest.raises(ValueError, match="no training request of general, math, code, writing, language, grammar"):
        Centroids("test", Fake(), requests(("sql", "sql")))  # type: ignore[arg-type]


def test_centroids_of_a_real_model_know_the_examples(engine: Engine) -> None:
    shown = [Request((text,), s.name, "example") for s in built_in() for text in s.examples[:3]]
    found = Centroids("test", engine, shown).score(shown)
    assert routing_measures.accuracy(found, routing.truth_of(shown)) > 0.8


def test_the_bench_runs_without_a_model(tmp_path: Path) -> None:
    held_out = list(read_requests(routing.HELD_OUT))
    truth = routing.truth_of(held_out)
    judged = [routing.judge(scorer, held_out, truth) for scorer in routing.baselines(None, 20)]
    assert [one.name for one in judged] == ["majority", "keywords"]
    majority, keywords = (one.figures["accuracy"] for one in judged)
    assert majority.high < 0.25 < keywords.low
    text = routing.table(judged, truth)
    assert "keywords" in text
    assert "none refused" in text
    draw(judged, truth, tmp_path / "routing.png")
    assert (tmp_path / "routing.png").read_bytes().startswith(b"\x89PNG")
    assert set(routing.record(judged, truth)["keywords"]) == {"figures", "by_trait", "confusion", "abstain"}


class Wrong:
    name = "wrong"

    def __init__(self, probabilities: NDArray[np.float64]) -> None:
        self._probabilities = probabilities

    def score(self, requests: Sequence[Request]) -> NDArray[np.float64]:
        return self._probabilities


def test_a_scorer_that_gives_no_probabilities_is_refused() -> None:
    asked = requests(("a", "code"))
    with pytest.raises(ValueError, match=r"expected \(1, 7\), found \(1, 3\)"):
        routing.judge(Wrong(np.ones((1, 3))), asked, routing.truth_of(asked))
    with pytest.raises(ValueError, match="add up to at most 1"):
        routing.judge(Wrong(np.ones((1, 7))), asked, routing.truth_of(asked))


def test_a_scorer_is_found_by_name() -> None:
    assert isinstance(routing.load_scorer("bench.routing_scorers:Keywords"), Keywords)
