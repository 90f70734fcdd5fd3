"""The coordinator that comes with the package: small, with its card, and far better than keywords."""

from __future__ import annotations

import numpy as np
import pytest
from bench import routing, routing_measures, routing_own
from bench.routing_scorers import Coordinator, Keywords

from synapse_engine.routing.opening import FOLDER
from synapse_engine.specialists import built_in
from synapse_engine.train.routing.requests import Request, read_requests


@pytest.fixture(scope="module")
def coordinator() -> Coordinator:
    return Coordinator(FOLDER, built_in())


def test_it_is_small_and_has_a_card() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 8_000_000
    card = (FOLDER / "README.md").read_text("utf-8")
    assert all(word in card for word in ("## Recipe", "## Data", "Seed", "license:"))


def test_it_is_better_than_keywords_by_far(coordinator: Coordinator) -> None:
    requests = list(read_requests(routing.HELD_OUT))
    truth = routing.truth_of(requests)
    found, keywords = coordinator.score(requests), Keywords().score(requests)
    assert routing_measures.accuracy(found, truth) > 0.92
    assert routing_measures.difference(found, keywords, truth).low > 0.3
    assert routing_measures.calibration_error(found, truth) < 0.06
    assert routing_measures.none_found(found, truth) > 0.9


def test_specialists_that_no_training_has_seen_are_found() -> None:
    found = routing_own.measure(FOLDER)
    assert found.own.value > 0.55
    assert found.own_one.value > 0.62
    assert found.starters_after > found.starters_before - 0.02
    assert found.general_after_one > 0.85
    assert found.refused_alone > 0.88


def test_context_tells_what_a_short_turn_means(coordinator: Coordinator) -> None:
    told = [
        Request(("Write a limerick about a cat", "There once was a cat in Peru", "shorter, please"), "writing", "test"),
        Request(("Translate to French: good night", "Bonne nuit", "and in Italian?"), "language", "test"),
        Request(("what is 12 * 12", "144", "and times 3?"), "math", "test"),
    ]
    names = [specialist.name for specialist in built_in()]
    chosen = [names[at] for at in np.argmax(coordinator.score(told), axis=1)]
    assert chosen == [request.label for request in told]
