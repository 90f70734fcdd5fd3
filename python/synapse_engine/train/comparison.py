"""Finished runs side by side on all of the held-out text: ``python -m synapse_engine.train.comparison DATA RUN...``."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine.train.dataset import Windows, prepare
from synapse_engine.train.errors import DataError
from synapse_engine.train.evaluate import Score, score, window_losses
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

_ROWS = 16


@dataclass(frozen=True)
class Compared:
    """One run's result. ``difference`` is its loss minus that of the first run, window by window."""

    name: str
    parameters: int
    score: Score
    bits_per_byte: float
    difference: Score | None


def best_model(run: RunFolder) -> tuple[SymbioModel, int]:
    """The model with the lowest validation loss of a run, or the last one if none was validated yet, and its step."""
    state = run.load(run.best if run.best.exists() else run.checkpoint)
    model = SymbioModel(SymbioConfig.from_json(run.read_settings()["model"]))
    model.load_state_dict(state["model"])
    return model.eval(), state["step"]


def compare(data: Path, runs: Sequence[RunFolder]) -> list[Compared]:
    """Scores the best model of each run, in 32 bits, on all windows of the validation part."""
    found: list[Compared] = []
    first: Tensor | None = None
    for run in runs:
        model, _ = best_model(run)
        tokenizer, tokens = prepare(data, run.tokenizer, run.folder, model.config.vocab_size)
        if tokens.digest != run.read_settings()["data"]["digest"]:
            raise DataError(f"{data}: not the text that {run.folder} was trained on", "name the same file or folder")
        windows = Windows(tokens.validation, model.config.max_position_embeddings, 0, "validation")
        losses = window_losses(model, windows.in_order(_ROWS))
        first = losses if first is None else first
        paired = score(losses - first) if found and len(losses) == len(first) else None
        result = score(losses)
        density = _tokens_per_byte(tokenizer, windows)
        bits = result.loss / math.log(2) * density
        found.append(Compared(run.folder.name, model.config.parameters(), result, bits, paired))
    return found


def _tokens_per_byte(tokenizer: Tokenizer, windows: Windows) -> float:
    batches = [batch.flatten().tolist() for batch in windows.in_order(_ROWS)]
    text = "".join(tokenizer.decode(batch) for batch in batches)
    return sum(map(len, batches)) / len(text.encode())


def main(data: Path, runs: list[RunFolder]) -> None:
    """Prints a line for each run."""
    for result in compare(data, runs):
        low, high = result.score.interval
        line = f"{result.name}: {result.parameters:,} parameters, perplexity {result.score.perplexity:.2f}"
        line += f" (95 % {low:.2f} to {high:.2f}), {result.bits_per_byte:.3f} bits per byte"
        if result.difference is not None:
            line += f", {result.difference.loss:+.4f} +- {result.difference.margin:.4f} nats against the first"
        print(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [RunFolder(Path(argument)) for argument in sys.argv[2:]])
