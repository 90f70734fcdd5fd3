"""The settings of a specialist's training, and how they read as JSON. Knows no model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from synapse_engine.train.errors import ConfigError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class SpecialistOptions:
    """What a run does; a resumed run must have the same, but for the last three."""

    steps: int
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = PROJECTIONS
    batch_tokens: int = 2048  # in one optimiser step, prompts and padding included
    window: int = 512  # tokens of a row that conversations are packed into
    learning_rate: float = 5e-4
    final_share: float = 0.1  # of the learning rate, at the end of the cosine
    warmup: int = 20
    weight_decay: float = 0.0
    clip: float = 1.0
    precision: str = "f32"  # of the base and of products; the adapter is f32
    quantize: str = "none"
    seed: int = 0
    held_out: float = 0.05  # share of the conversations
    eval_every: int = 50
    eval_conversations: int = 100
    log_every: int = 5
    pass_tokens: int = 2048
    checkpoint_every: int = 10
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.batch_tokens % self.window:
            raise ConfigError(
                f"{self.batch_tokens} tokens in a step are no whole number of windows of {self.window}",
                f"--batch-tokens {max(1, round(self.batch_tokens / self.window)) * self.window}",
            )
        if not 0 < self.held_out < 1:
            raise ConfigError(f"a held-out share of {self.held_out}; expected one between 0 and 1")

    @property
    def rows(self) -> int:
        """Windows in one step."""
        return self.batch_tokens // self.window

    @property
    def rows_at_once(self) -> int:
        """Windows in one pass through the model."""
        return max(1, self.pass_tokens // self.window)

    def decisive(self) -> dict[str, Any]:
        """The settings that the result depends on."""
        record = asdict(self) | {"targets": list(self.targets)}
        for name in ("pass_tokens", "checkpoint_every", "threads"):
            del record[name]
        return record
