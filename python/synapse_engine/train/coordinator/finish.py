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
    """Calibrates the run's model on the ways to ask that it never saw, and writes it.

    The n-grams that are written saw these ways, too; what they are weighed by was found with others that did not.
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
    """Sets how much each part of the model's score counts."""
    model, judged = run.trainer.model, run.judged()
    tuned = tune(judged)
    model.about_scale, model.kin_scale = tuned.about_scale, tuned.kin_scale
    with torch.no_grad():
        model.none_bias.add_(tuned.none_shift)
    logits = judged.logits(tuned.about_scale, tuned.kin_scale, tuned.none_shift)
    source = {
        "step": run.trainer.step,
        "seed": plan.options.seed,
        "ways_apart": run.wishes_apart,
        "accuracy": round(judged.accuracy(logits), 4),
    }
    warmth = tuned.temperature
    return Calibration(round(warmth, 4), threshold(logits / warmth, judged.truth), source)


def _facts(plan: Plan, run: Run, calibration: Calibration) -> Facts:
    trainer = run.trainer
    real = read_real(plan.real) if plan.real else {}
    return Facts(
        config=trainer.model.config,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()) + ROWS * len(LABELS),
        options=plan.options.decisive(),
        data={"meanings": plan.meanings is not None},
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
