"""Trains a coordinator: ``python -m synapse_engine.train.coordinator --out RUN``; again, to go on where it was."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from synapse_engine.train.coordinator.options import Options
from synapse_engine.train.coordinator.start import Plan, start
from synapse_engine.train.errors import TrainError


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m synapse_engine.train.coordinator", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the run lies")
    parser.add_argument("--real", type=Path, help="pieces of real text, as routing.harvest writes them")
    parser.add_argument("--apart", type=Path, help="held-out requests; rows that are the same or near are left out")
    parser.add_argument("--meanings", type=Path, help="folder of a sentence model: what tokens mean at first")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; run again to continue")
    for field in fields(Options):
        kind = float if field.type == "float" else int
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    given = vars(parser.parse_args())
    options = Options(**{field.name: given[field.name] for field in fields(Options)})
    try:
        run = start(Plan(given["out"], options, given["real"], given["apart"], given["meanings"]))
        complete = run.trainer.train(_tell, given["minutes"])
    except TrainError as error:
        sys.exit(f"{error}\n{error.hint or ''}".strip())
    print("complete" if complete else "stopped; the same command goes on", file=sys.stderr)


def _tell(record: dict[str, Any]) -> None:
    said = " ".join(f"{name} {value:.4g}" for name, value in record.items())
    print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
