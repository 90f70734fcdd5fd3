"""Puts a run together: text, vocabulary, model and options become a ``Trainer``, fresh or where it was left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from synapse_engine.train.dataset import Windows, prepare
from synapse_engine.train.donor import install_donor, read_donor
from synapse_engine.train.errors import ConfigError
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from synapse_engine.train.options import TrainOptions
    from synapse_engine.train.symbio_config import SymbioConfig


@dataclass(frozen=True)
class Plan:
    """What a user asked for."""

    data: Path
    out: Path
    config: SymbioConfig  # with a donor, its sizes replace those given here
    options: TrainOptions
    epochs: float | None = None  # sets the steps from the amount of text
    donor: Path | None = None
    device: str = "cpu"


def start(plan: Plan) -> Trainer:
    """Everything up to the first step. A run that lies in ``plan.out`` goes on if the plan is the same."""
    run = RunFolder(plan.out)
    device = open_device(plan.device)
    run.folder.mkdir(parents=True, exist_ok=True)
    if not run.settings.exists():
        run.tokenizer.unlink(missing_ok=True)  # of an attempt that found too little text
    donor = read_donor(plan.donor) if plan.donor else None
    if donor is not None and not run.tokenizer.exists():
        run.write(run.tokenizer, lambda file: file.write_bytes(donor.tokenizer))
    tokenizer, tokens = prepare(plan.data, run.tokenizer, run.folder, plan.config.vocab_size)
    config = replace(plan.config, vocab_size=tokenizer.get_vocab_size())
    if donor is not None:
        vocab_size, width = donor.embedding.shape
        config = replace(config, vocab_size=vocab_size, donor_hidden_size=width)
    options = plan.options
    window = config.max_position_embeddings
    training = Windows(tokens.training, window, options.seed, "training")
    validation = Windows(tokens.validation, window, options.seed, "validation")
    if plan.epochs is not None:
        options = replace(options, steps=max(1, round(plan.epochs * training.count / options.batch_size)))
    data = {"digest": tokens.digest, "vocab_size": plan.config.vocab_size}
    run.begin({"model": config.to_json(), "options": options.decisive(), "data": data})
    torch.manual_seed(options.seed)
    model = SymbioModel(config)
    if donor is not None:
        install_donor(model, donor)
    return Trainer(model.to(device), options, training, validation, run)


def open_device(name: str) -> torch.device:
    """By PyTorch's name; raises ``ConfigError`` if it cannot be used."""
    try:
        return torch.zeros(1, device=name).device
    except Exception as error:  # what PyTorch raises depends on the device
        message = str(error).partition("\n")[0]
        raise ConfigError(f"device {name!r}: {message}", "--device cpu works everywhere") from error
