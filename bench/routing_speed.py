"""How long a decision takes on one core: ``python -m bench.routing_speed [--coordinator FOLDER] [--tokens 100]``.

The request has about so many tokens; seven specialists are there. The time is the engine's own, from text to logits.
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from synapse_engine import _engine
from synapse_engine.routing.opening import FOLDER
from synapse_engine.specialists import built_in

WORDS = "please tell me how I can find the three oldest bridges of the town and what it costs to cross them by boat"
WARM, ROUNDS = 20, 300


@dataclass(frozen=True)
class Times:
    """Milliseconds, and how many tokens were read."""

    tokens: int
    median: float
    slow: float
    """One in twenty takes longer."""


def measure(folder: Path, tokens: int) -> Times:
    """Scores the same request again and again, on the core that this process is on."""
    coordinator = _engine.Coordinator(str(folder))
    coordinator.set_specialists(
        [{"name": s.name, "description": s.description, "examples": s.examples} for s in built_in()]
    )
    words: list[str] = []
    while coordinator.score([("user", " ".join(words))])["tokens"] < tokens:
        words.append(WORDS.split()[len(words) % len(WORDS.split())])
    turns = [("user", " ".join(words))]
    times = [coordinator.score(turns)["seconds"] * 1000 for _ in range(WARM + ROUNDS)][WARM:]
    slow = sorted(times)[int(0.95 * len(times))]
    return Times(coordinator.score(turns)["tokens"], statistics.median(times), slow)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing_speed", description=__doc__)
    parser.add_argument("--coordinator", type=Path, help="instead of the one that comes with the package")
    parser.add_argument("--tokens", type=int, default=100)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    times = measure(options.coordinator or FOLDER, options.tokens)
    print(f"{times.tokens} tokens: {times.median:.2f} ms, one in twenty above {times.slow:.2f} ms")


if __name__ == "__main__":
    main()
