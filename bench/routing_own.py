"""Specialists that no training has seen: how many of their requests find them.

``python -m bench.routing_own [--coordinator FOLDER]``. The specialists and requests of
``bench/data/own_specialists.json`` are written by hand; a coordinator knows of them what their descriptions and
examples say, and nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import routing_measures as measures
from bench.routing import HELD_OUT
from bench.routing_scorers import Coordinator
from synapse_engine.routing.opening import FOLDER
from synapse_engine.specialists import Specialist, built_in
from synapse_engine.train.routing.requests import NONE, Request, read_requests

OWN = Path(__file__).parent / "data" / "own_specialists.json"
# Requests of these may well belong to one of the new specialists.
_OPEN = ("general", NONE)
# So many are installed at once.
TOGETHER = 6


@dataclass(frozen=True)
class Found:
    """What new specialists get, and what they take from the starters."""

    own: measures.Interval
    """Share of their requests that go to the right one, six of them and the starters being there."""
    own_one: measures.Interval
    """The same with one of them and the starters."""
    own_alone: measures.Interval
    """The same with six of them and no starter."""
    starters_before: float
    """Share of the starters' held-out requests, ``general`` and none left out, that go right without them."""
    starters_after: float
    """The same beside six of them, the mean."""
    general_before: float
    """Share of the held-out requests of ``general`` that go there without them."""
    general_after: float
    """The same beside six of them, the mean. Some of these requests are for one of the six."""
    general_after_one: float
    """The same beside one of them."""
    refused_alone: float
    """Share of the other starters' requests that nobody gets if six of them are there and no starter, the mean."""
    by_name: dict[str, float]
    """Of ``own``."""
    taken_by: dict[str, float]
    """Share of their requests that went to starters and to nobody."""


class _Seen:
    """Some specialists, and who gets what."""

    def __init__(self, folder: Path, specialists: tuple[Specialist, ...]) -> None:
        self.names = [*(specialist.name for specialist in specialists), NONE]
        self._scorer = Coordinator(folder, specialists)

    def chosen(self, requests: list[Request]) -> list[str]:
        """Names."""
        probabilities = self._scorer.score(requests)
        everyone = np.column_stack([probabilities, 1 - probabilities.sum(1)])
        return [self.names[at] for at in everyone.argmax(1)]


def measure(folder: Path) -> Found:
    """Runs both sets of requests."""
    records: list[dict[str, Any]] = json.loads(OWN.read_text("utf-8"))
    own = [Specialist(r["name"], r["description"], tuple(r["examples"])) for r in records]
    asked = {r["name"]: [Request((text,), NONE, "written by hand") for text in r["requests"]] for r in records}
    held_out = [request for request in read_requests(HELD_OUT) if request.label not in _OPEN]
    labels = [request.label for request in held_out]
    chat = [request for request in read_requests(HELD_OUT) if request.label == "general"]
    general = ["general"] * len(chat)
    went: dict[str, list[str]] = {}
    one: list[bool] = []
    alone: list[bool] = []
    after, refused, general_after, general_one = [], [], [], []
    for start in range(0, len(own), TOGETHER):
        group = tuple(own[start : start + TOGETHER])
        beside, bare = _Seen(folder, (*built_in(), *group)), _Seen(folder, group)
        for specialist in group:
            name, requests = specialist.name, asked[specialist.name]
            went[name] = beside.chosen(requests)
            alone += [found == name for found in bare.chosen(requests)]
            single = _Seen(folder, (*built_in(), specialist))
            one += [found == name for found in single.chosen(requests)]
            general_one.append(_share(single.chosen(chat), general))
        general_after.append(_share(beside.chosen(chat), general))
        after.append(_share(beside.chosen(held_out), labels))
        refused.append(_share(bare.chosen(held_out), [NONE] * len(held_out)))
    starters = _Seen(folder, built_in())
    right = [found == name for name, chosen in went.items() for found in chosen]
    others = Counter(found for chosen in went.values() for found in chosen)
    return Found(
        own=_interval(right),
        own_one=_interval(one),
        own_alone=_interval(alone),
        starters_before=_share(starters.chosen(held_out), labels),
        starters_after=float(np.mean(after)),
        general_before=_share(starters.chosen(chat), general),
        general_after=float(np.mean(general_after)),
        general_after_one=float(np.mean(general_one)),
        refused_alone=float(np.mean(refused)),
        by_name={name: _share(chosen, [name] * len(chosen)) for name, chosen in went.items()},
        taken_by={name: others[name] / len(right) for name in (*(s.name for s in built_in()), NONE)},
    )


def _share(found: list[str], wanted: list[str]) -> float:
    return float(np.mean([one == other for one, other in zip(found, wanted, strict=True)]))


def _interval(right: list[bool]) -> measures.Interval:
    hits = np.array([[1.0, 0.0] if hit else [0.0, 1.0] for hit in right])
    return measures.with_interval(measures.accuracy, hits, np.zeros(len(right), int))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing_own", description=__doc__)
    parser.add_argument("--coordinator", type=Path, help="instead of the one that comes with the package")
    print(json.dumps(asdict(measure(parser.parse_args().coordinator or FOLDER)), indent=2))


if __name__ == "__main__":
    main()
