"""Trains a coordinator: ``python -m synapse_engine.train.coordinator --out RUN``; again, to go on where it was."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from synapse_engine.train.coordinator.arguments import add_plan, read_plan
from synapse_engine.train.coordinator.start import start
from synapse_engine.train.errors import TrainError


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m synapse_engine.train.coordinator", description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; run again to continue")
    add_plan(parser)
    given = parser.parse_args()
    try:
        complete = start(read_plan(given)).trainer.train(_tell, given.minutes)
    except TrainError as error:
        sys.exit(f"{error}\n{error.hint or ''}".strip())
    print("complete" if complete else "stopped; the same command goes on", file=sys.stderr)


def _tell(record: dict[str, Any]) -> None:
    print(" ".join(f"{name} {value:.4g}" for name, value in record.items()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
