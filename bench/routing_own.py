"""Specialists that no training has seen: how many of their requests find them, the starters standing beside.

``python -m bench.routing_own [--coordinator FOLDER]``. The specialists and requests of
``bench/data/own_specialists.json`` are written by hand; a coordinator knows of them what their descriptions and
examples say, and nothing else.
"""

from __future__ import annotations

import argparse
import json
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


@dataclass(frozen=True)
class Found:
    """What new specialists get, and what they take from the starters."""

    own: measures.Interval
    """Share of their requests that go to the right one, all being there."""
    starters_before: float
    """Share of the starters' held-out requests, ``general`` and none left out, that go right without them."""
    starters_after: float
    by_name: dict[str, float]
    taken_by_none: float
    """Share of their requests for which none is likelier than the best specialist."""


def measure(folder: Path) -> Found:
    """Runs both sets of requests."""
    records: list[dict[str, Any]] = json.loads(OWN.read_text("utf-8"))
    own = tuple(Specialist(r["name"], r["description"], tuple(r["examples"])) for r in records)
    asked = [Request((text,), r["name"], "written by hand") for r in records for text in r["requests"]]
    held_out = [request for request in read_requests(HELD_OUT) if request.label not in _OPEN]
    everyone = Coordinator(folder, (*built_in(), *own))
    names = [specialist.name for specialist in (*built_in(), *own)]
    truth, probabilities = np.array([names.index(r.label) for r in asked]), everyone.score(asked)
    right = probabilities.argmax(1) == truth
    starters = np.array([names.index(request.label) for request in held_out])
    alone = Coordinator(folder, built_in()).score(held_out)
    return Found(
        own=measures.with_interval(measures.accuracy, probabilities, truth),
        starters_before=measures.accuracy(alone, starters),
        starters_after=measures.accuracy(everyone.score(held_out), starters),
        by_name={s.name: float(right[truth == names.index(s.name)].mean()) for s in own},
        taken_by_none=float(np.mean(1 - probabilities.sum(1) > probabilities.max(1))),
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing_own", description=__doc__)
    parser.add_argument("--coordinator", type=Path, help="instead of the one that comes with the package")
    print(json.dumps(asdict(measure(parser.parse_args().coordinator or FOLDER)), indent=2))


if __name__ == "__main__":
    main()
