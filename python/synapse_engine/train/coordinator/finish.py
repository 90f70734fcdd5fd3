"""Makes a run the folder that the engine loads: ``python -m synapse_engine.train.coordinator.finish --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from synapse_engine.train.coordinator.arguments import add_plan, read_plan
from synapse_engine.train.coordinator.calibrate import threshold, tune
from synapse_engine.train.coordinator.card import Facts, model_card
from synapse_engine.train.coordinator.export import Calibration, write_coordinator
from synapse_engine.train.coordinator.grams import ROWS
from synapse_engine.train.coordinator.start import Plan, Run, start
from synapse_engine.train.errors import TrainError
from synapse_engine.train.routing.generate import read_real
from synapse_engine.train.routing.requests import LABELS


def finish(plan: Plan, target: Path, *, force: bool = False) -> None:
    """Calibrates the run's model on what it never saw, and writes it.

    The n-grams that are written saw this, too; what they are weighed by was found with others that did not.
    """
    run = start(plan)
    model = run.trainer.model.eval()
    model.kin = run.kin(True)
    calibration = _calibrated(plan, run)
    model.kin = run.kin(False)
    write_coordinator(
        target, model, run.tokenizer, calibration, model_card(_facts(plan, run, calibration)), force=force
    )


def _calibrated(plan: Plan, run: Run) -> Calibration:
    """Sets the numbers of the model's comparison."""
    comparison, judged = run.trainer.model.comparison, run.judged()
    warmth = tune(comparison, judged)
    with torch.no_grad():
        logits = judged.starters.logits(comparison) / warmth
        source = {
            "step": run.trainer.step,
            "seed": plan.options.seed,
            "apart": run.apart,
            "accuracy": round(judged.accuracy(comparison), 4),
            "found": round(judged.found(comparison), 4),
            "kept": round(judged.kept(comparison), 4),
        }
    return Calibration(round(warmth, 4), threshold(logits, judged.labels), source)


def _facts(plan: Plan, run: Run, calibration: Calibration) -> Facts:
    trainer = run.trainer
    real = read_real(plan.real) if plan.real else {}
    return Facts(
        config=trainer.model.config,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()) + ROWS * len(LABELS),
        options=plan.options.decisive(),
        data={"meanings": plan.meanings is not None, "glosses": plan.glosses is not None},
        step=trainer.step,
        minutes=trainer.seconds / 60,
        calibration=calibration,
        sources=sorted({piece.source for pieces in real.values() for piece in pieces}),
    )


def main() -> None:
    """The command line: the options of training, and where the model should lie."""
    parser = argparse.ArgumentParser(prog="python -m synapse_engine.train.coordinator.finish", description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--force", action="store_true", help="replaces a model that lies there")
    add_plan(parser)
    given = parser.parse_args()
    try:
        finish(read_plan(given), given.target, force=given.force)
    except TrainError as error:
        sys.exit(f"{error}\n{error.hint or ''}".strip())


if __name__ == "__main__":
    main()
