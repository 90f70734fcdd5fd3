"""Puts a specialist's training together: base, conversations and options become a ``Tuner``, fresh or where it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from synapse_engine.train.errors import ConfigError
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.specialist.base import attach, check_base, open_base, usual_precision
from synapse_engine.train.specialist.conversations import Split, read_conversations, split
from synapse_engine.train.specialist.encoding import Encoder
from synapse_engine.train.specialist.packing import Stream
from synapse_engine.train.specialist.tuner import Tuner
from synapse_engine.train.start import open_device

if TYPE_CHECKING:
    from pathlib import Path

    from synapse_engine.train.specialist.options import SpecialistOptions


@dataclass(frozen=True)
class SpecialistPlan:
    """What a user asked for."""

    base: Path
    data: Path
    out: Path
    options: SpecialistOptions
    epochs: float | None = None
    """Sets the steps from the amount of data."""
    device: str = "cpu"


@dataclass(frozen=True)
class Started:
    """A run that is ready."""

    tuner: Tuner
    split: Split


def start(plan: SpecialistPlan) -> Started:
    """Everything up to the first step. A run that lies in ``plan.out`` goes on if the plan is the same."""
    check_base(plan.base)
    device = open_device(plan.device)
    options = plan.options
    if options.precision == "auto":
        options = replace(options, precision=usual_precision(device))
    found = split(read_conversations(plan.data), options.held_out, options.seed)
    encoder = Encoder(plan.base, options.window)
    training, held_out = encoder.encode(found.training), encoder.encode(found.held_out)
    if plan.epochs is not None:
        rows = len(Stream(training, options.window, options.seed).epoch(0))
        options = replace(options, steps=max(1, round(plan.epochs * rows / options.rows)))
    run = RunFolder(plan.out)
    if options.threads:
        torch.set_num_threads(options.threads)
    model = open_base(plan.base, options, device)
    longest = model.config.max_position_embeddings
    if options.window > longest:
        raise ConfigError(f"a window of {options.window}; {plan.base.name} sees {longest}", f"--window {longest}")
    model = attach(model, options)
    run.begin({"options": options.decisive(), "data": {"digest": found.digest, "base": plan.base.name}})
    return Started(Tuner(model, options, training, held_out, run), found)
