"""A tiny model and a tiny text, which train in a second."""

from pathlib import Path
from typing import Any

import numpy as np

from synapse_engine.train.dataset import Windows
from synapse_engine.train.options import TrainOptions
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig
from synapse_engine.train.trainer import Trainer

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "red", "bird", "in", "an", "old", "tree"]
SHAPE = SymbioConfig(16, 32, (("causal_conv", "monarch", "long_conv"),) * 2, vocab_size=260, max_position_embeddings=16)


def text(lines: int, seed: int = 0) -> str:
    chosen = np.random.default_rng(seed).choice(WORDS, (lines, 9))
    return "".join(" ".join(line) + ".\n" for line in chosen)


class Until:
    """A watcher that stops a run at a step and keeps what it is told."""

    def __init__(self, trainer: Trainer | None = None, step: int = 0) -> None:
        self.trainer, self.step = trainer, step
        self.records: list[dict[str, Any]] = []

    def record(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def wants_stop(self) -> bool:
        return self.trainer is not None and self.trainer.step >= self.step


def windows(seed: int = 0) -> Windows:
    tokens = np.random.default_rng(1).integers(0, 40, 17 * 50).astype(np.uint16)
    tokens[1::2] = tokens[::2]  # every other token is foretold by the one before
    return Windows(tokens, 16, seed, "training")


def trainer(folder: Path, shape: SymbioConfig = SHAPE, **given: Any) -> Trainer:
    import torch

    settings = {"steps": 12, "batch_size": 8, "log_every": 2, "eval_every": 6, "precision": "f32", "warmup": 2}
    options = TrainOptions(**settings | given)
    run = RunFolder(folder)
    run.begin({"options": options.decisive()})
    torch.manual_seed(options.seed)
    return Trainer(SymbioModel(shape), options, windows(options.seed), windows(), run)
