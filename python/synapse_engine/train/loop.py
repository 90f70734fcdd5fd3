"""One step after another, with checkpoints, validation and the log. Knows neither the model nor what a step does."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from synapse_engine.train.errors import DivergedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.train.evaluate import Score
    from synapse_engine.train.run_folder import RunFolder


class Watcher(Protocol):
    """Gets every record of the log as it is made; true from ``wants_stop`` ends the run after the step."""

    def record(self, record: dict[str, Any]) -> None:
        """Shows a record."""

    def wants_stop(self) -> bool:
        """Asked after each step."""


class Pace(Protocol):
    """When a run does what, in steps."""

    @property
    def steps(self) -> int:
        """All of them."""

    @property
    def log_every(self) -> int:
        """Between two lines of the log."""

    @property
    def eval_every(self) -> int:
        """Between two validations."""

    @property
    def checkpoint_every(self) -> int:
        """Between two checkpoints."""


class StepSum(NamedTuple):
    """What a step came to."""

    loss: float
    gradient: float
    tokens: int


class Loop(ABC):
    """Runs one model's training in one run folder. The same options and data give the same steps, also across restarts.

    A subclass calls ``begin`` when it is ready.
    """

    def __init__(self, pace: Pace, run: RunFolder) -> None:
        self._pace, self.run = pace, run
        self.step, self.seconds, self.best = 0, 0.0, math.inf

    @abstractmethod
    def evaluate(self) -> Score:
        """The held-out loss of the model as it is now."""

    @abstractmethod
    def one_step(self) -> StepSum:
        """Step number ``self.step``."""

    @abstractmethod
    def weights(self) -> dict[str, Any]:
        """What has been learned, for ``best.pt`` and the checkpoint."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What else a run needs to go on."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what ``weights`` (as ``model``) and ``state`` gave."""

    def describe(self, loss: float) -> dict[str, Any]:
        """More for the log, after some steps of this mean loss."""
        del loss
        return {}

    @property
    @abstractmethod
    def rate(self) -> float:
        """The learning rate of the last step."""

    def begin(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        if self.run.checkpoint.exists():
            state = self.run.load(self.run.checkpoint)
            self.restore(state)
            self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        self.run.forget_after(self.step)

    def train(self, watcher: Watcher) -> bool:
        """Runs to the last step, or until the watcher has enough; true if the run is complete."""
        pace = self._pace
        sums: list[StepSum] = []
        started = time.monotonic()
        while self.step < pace.steps and not watcher.wants_stop():
            sums.append(self.one_step())
            check_finite(sums[-1].loss, self.step)
            self.step += 1
            if self.step % pace.log_every == 0 or self.step == pace.steps:
                now = time.monotonic()
                self.seconds += now - started
                self._tell(watcher, self._training_record(sums, now - started))
                sums, started = [], now
            if self.step % pace.eval_every == 0 or self.step == pace.steps:
                self.validate(watcher)
            if self.step % pace.checkpoint_every == 0:
                self._save()
        self._save()
        return self.step >= pace.steps

    def validate(self, watcher: Watcher) -> None:
        """Looks at the held-out loss, and keeps the weights if they are the best so far."""
        result = self.evaluate()
        check_finite(result.loss, self.step)
        if result.loss < self.best:
            self.best = result.loss
            self.run.save(self.run.best, {"model": self.weights(), "step": self.step, "loss": self.best})
        margin = result.margin if math.isfinite(result.margin) else None  # JSON knows no infinity
        self._tell(watcher, {"kind": "validation", "step": self.step, "loss": result.loss, "margin": margin})

    def _training_record(self, sums: Sequence[StepSum], seconds: float) -> dict[str, Any]:
        loss = sum(s.loss for s in sums) / len(sums)
        return {
            "kind": "train",
            "step": self.step,
            "loss": loss,
            "gradient": sum(s.gradient for s in sums) / len(sums),
            "rate": self.rate,
            "tokens_per_second": sum(s.tokens for s in sums) / seconds,
            "seconds": self.seconds,
            **self.describe(loss),
        }

    def _tell(self, watcher: Watcher, record: dict[str, Any]) -> None:
        self.run.append(record)
        watcher.record(record)

    def _save(self) -> None:
        progress = {"step": self.step, "seconds": self.seconds, "best": self.best}
        self.run.save(self.run.checkpoint, {"model": self.weights(), **self.state(), **progress})


def check_finite(loss: float, step: int) -> None:
    """Raises ``DivergedError`` for a loss that is no number."""
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss at step {step:,} is {loss}: training diverged", "lower --lr, and start again in another --out"
        )
