"""Trains a coordinator step by step, with checkpoints. The same plan gives the same steps, also across restarts."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from synapse_engine.train.errors import DivergedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from synapse_engine.train.coordinator.model import Coordinator
    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.coordinator.tasks import Batch, Tasks
    from synapse_engine.train.run_folder import RunFolder

_WARMUP, _FINAL = 0.05, 0.02  # shares of all steps, and of the rate at the end
_LOG_EVERY, _VALIDATE_EVERY = 50, 250


class Trainer:
    """One model in one run folder."""

    def __init__(
        self,
        model: Coordinator,
        tasks: Tasks,
        options: Options,
        run: RunFolder,
        validate: Callable[[], dict[str, float]],
    ) -> None:
        self.model, self.tasks, self.options, self.run, self._validate = model, tasks, options, run, validate
        self.optimizer = _optimizer(model, options)
        self.step, self.seconds = 0, 0.0
        if run.checkpoint.exists():
            self._resume()
        run.forget_after(self.step)

    def train(self, tell: Callable[[dict[str, Any]], None], minutes: float = math.inf) -> bool:
        """Runs to the last step or for so many minutes; true if the run is complete."""
        begun = started = time.monotonic()
        losses: list[float] = []
        while self.step < self.options.steps and time.monotonic() - begun < 60 * minutes:
            losses.append(self._one_step())
            self.step += 1
            if self.step % _LOG_EVERY == 0 or self.step == self.options.steps:
                now = time.monotonic()
                self.seconds, started = self.seconds + now - started, now
                record: dict[str, Any] = {"step": self.step, "loss": sum(losses) / len(losses), "seconds": self.seconds}
                losses = []
                if self.step % _VALIDATE_EVERY == 0 or self.step == self.options.steps:
                    record |= self._validate()
                self.run.append(record)
                tell(record)
            if self.step % self.options.checkpoint_every == 0:
                self._save()
        self._save()
        return self.step >= self.options.steps

    def _one_step(self) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * _share(self.step, self.options.steps)
        batch = self.tasks.batch(self.step)
        loss = batch_loss(self.model, batch, self.options)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(loss.item()):
            raise DivergedError(f"the loss at step {self.step:,} is not a number", "lower --lr in another --out")
        return loss.item()

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        self.run.save(self.run.checkpoint, state)

    def _resume(self) -> None:
        state = self.run.load(self.run.checkpoint)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def batch_loss(model: Coordinator, batch: Batch, options: Options) -> Tensor:
    """Cross-entropy over labels."""
    with torch.autocast("cpu", torch.bfloat16):
        opinion = model.embed(batch.requests).opinion
    return functional.cross_entropy(opinion, batch.labels, label_smoothing=options.smoothing)


def _share(step: int, steps: int) -> float:
    """Of the highest rate: up in a line, down in half a cosine."""
    warmup = max(1.0, _WARMUP * steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / warmup) * (_FINAL + (1 - _FINAL) * cosine)


def _optimizer(model: Coordinator, options: Options) -> torch.optim.AdamW:
    """AdamW; vectors do not decay."""
    parts = [model.encoder, model.project, model.families]
    learnt = [parameter for part in parts for parameter in part.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in learnt if one.dim() >= 2], "weight_decay": options.weight_decay},
        {"params": [model.query, *(one for one in learnt if one.dim() < 2)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98))
