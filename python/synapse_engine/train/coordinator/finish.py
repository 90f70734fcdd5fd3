"""Makes a run the folder that the engine loads: ``python -m synapse_engine.train.coordinator.finish --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from synapse_engine.train.coordinator.arguments import add_plan, read_plan
from synapse_engine.train.coordinator.calibrate import temperature, threshold
from synapse_engine.train.coordinator.card import Facts, model_card
from synapse_engine.train.coordinator.export import Calibration, write_coordinator
from synapse_engine.train.coordinator.start import Plan, Run, start
from synapse_engine.train.errors import TrainError
from synapse_engine.train.routing.generate import read_real


def finish(plan: Plan, target: Path, *, force: bool) -> None:
    """Calibrates the run's model and writes it."""
    run = start(plan)
    run.trainer.model.eval()
    judged = run.judged()
    warmth = temperature(judged)
    least = threshold(judged, warmth)
    source = {
        "step": run.trainer.step,
        "seed": plan.options.seed,
        "accuracy_on_wishes_apart": round(judged.accuracy, 4),
    }
    facts = _facts(plan, run, judged.accuracy, warmth, least)
    calibration = Calibration(round(warmth, 4), least, source)
    write_coordinator(target, run.trainer.model, run.tokenizer, calibration, model_card(facts), force=force)


def _facts(plan: Plan, run: Run, accuracy: float, warmth: float, least: float) -> Facts:
    trainer = run.trainer
    real = read_real(plan.real) if plan.real else {}
    return Facts(
        config=trainer.model.config,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        options=plan.options.decisive(),
        data={"meanings": plan.meanings is not None},
        step=trainer.step,
        minutes=trainer.seconds / 60,
        wishes=run.wishes_apart,
        accuracy=accuracy,
        temperature=warmth,
        threshold=least,
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
