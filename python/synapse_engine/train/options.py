"""The settings of a training run, and how they read as JSON. Knows no model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from synapse_engine.train.errors import ConfigError

PRECISIONS = ("f32", "bf16", "f16")


@dataclass(frozen=True)
class TrainOptions:
    """What a run does; a resumed run must have the same, but for the three at the end."""

    steps: int
    batch_size: int = 32  # windows in one optimiser step
    accumulation: int = 1  # passes that share one step; divides batch_size
    learning_rate: float = 1e-3
    final_share: float = 0.1  # of the learning rate, at the end of the cosine
    warmup: int = 500
    weight_decay: float = 0.1
    clip: float = 1.0
    free_energy: float = 0.0  # weight of the free-energy term
    phases: bool = False  # progressive unfreezing, for models between a donor's embeddings
    precision: str = "bf16"
    seed: int = 0
    log_every: int = 10
    eval_every: int = 250
    eval_windows: int = 200
    checkpoint_every: int = 100
    threads: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}, found {self.precision!r}")
        if self.steps < 1 or self.batch_size < 1 or self.accumulation < 1:
            raise ConfigError("steps, batch size and accumulation must be at least 1")
        if self.batch_size % self.accumulation:
            raise ConfigError(f"{self.accumulation} passes do not divide a batch of {self.batch_size}")

    def decisive(self) -> dict[str, Any]:
        """The settings that the result depends on."""
        record = asdict(self)
        for name in ("checkpoint_every", "threads", "compile"):
            del record[name]
        return record
