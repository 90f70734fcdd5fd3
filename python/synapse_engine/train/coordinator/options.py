"""The settings of a coordinator's training, and the shape of its model. Knows no tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from synapse_engine.train.coordinator.reading import WINDOW
from synapse_engine.train.symbio_config import SymbioConfig


@dataclass(frozen=True)
class Options:
    """What a run does; the last two may change when it goes on."""

    steps: int = 3500
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    smoothing: float = 0.03  # share of the target that goes to all labels or specialists
    asked: int = 160_000  # requests about everything, among the texts that tell topics
    topic_steps: int = 3000
    topic_rate: float = 0.01
    lessons_per_step: int = 512  # texts that a sentence model has read
    guest_weight: float = 0.1  # of finding specialists that people wrote
    guests: int = 32  # so many of these at once
    gram_rows: int = 90_000  # requests that the n-grams learn from
    apart: int = 10  # one way to ask, written request and specialist of so many is kept from training
    clip: float = 1.0
    seed: int = 1
    vocab_size: int = 32768
    pieces: int = 8192  # of these, parts of words
    vocabulary_rows: int = 150_000  # requests that the vocabulary is learnt from
    width: int = 128
    layers: int = 3
    ffn: int = 320
    checkpoint_every: int = 100
    threads: int = 2

    def decisive(self) -> dict[str, Any]:
        """The settings that the result depends on."""
        record = asdict(self)
        for name in ("checkpoint_every", "threads"):
            del record[name]
        return record

    def config(self, vocab_size: int) -> SymbioConfig:
        """The encoder: short convolutions in every layer, in the middle one another as long as the window."""
        return SymbioConfig(
            hidden_size=self.width,
            intermediate_size=self.ffn,
            organelles=tuple(
                ("causal_conv", "long_conv") if layer == self.layers // 2 else ("causal_conv",)
                for layer in range(self.layers)
            ),
            vocab_size=vocab_size,
            max_position_embeddings=WINDOW,
        )
