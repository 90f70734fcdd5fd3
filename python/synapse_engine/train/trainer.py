"""The training loop: one step after another, checkpoints, validation, the log. Does not draw."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch.nn import functional

from synapse_engine.train.errors import DivergedError
from synapse_engine.train.evaluate import Score, score, window_losses
from synapse_engine.train.monitors import Monitors
from synapse_engine.train.schedule import learning_rate, learns, phase_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from synapse_engine.train.dataset import Windows
    from synapse_engine.train.options import TrainOptions
    from synapse_engine.train.run_folder import RunFolder
    from synapse_engine.train.symbio import SymbioModel

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
BETAS = (0.9, 0.95)


class Watcher(Protocol):
    """Gets every record of the log as it is made; true from ``wants_stop`` ends the run after the step."""

    def record(self, record: dict[str, Any]) -> None:
        """Shows a record."""

    def wants_stop(self) -> bool:
        """Asked after each step."""


class _Sum(NamedTuple):
    loss: float
    gradient: float
    tokens: int


class Trainer:
    """Trains one model in one run folder. The same options and text give the same steps, also across restarts."""

    def __init__(
        self, model: SymbioModel, options: TrainOptions, training: Windows, validation: Windows, run: RunFolder
    ) -> None:
        self.model, self.options, self.run = model, options, run
        self.training, self.validation = training, validation.spread(options.eval_windows)
        self.device = next(model.parameters()).device
        self.optimizer = build_optimizer(model, options)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "f16")
        self.monitors = Monitors(len(model.blocks))
        self.step, self.seconds, self.best = 0, 0.0, math.inf
        self._forward: Callable[[Tensor], Tensor] = torch.compile(model) if options.compile else model
        if run.checkpoint.exists():
            self._resume()
        run.forget_after(self.step)

    def train(self, watcher: Watcher) -> bool:
        """Runs to the last step, or until the watcher has enough; true if the run is complete."""
        options = self.options
        sums: list[_Sum] = []
        started = time.monotonic()
        while self.step < options.steps and not watcher.wants_stop():
            sums.append(self._one_step())
            self.step += 1
            if self.step % options.log_every == 0 or self.step == options.steps:
                now = time.monotonic()
                self.seconds += now - started
                self._tell(watcher, self._training_record(sums, now - started))
                sums, started = [], now
            if self.step % options.eval_every == 0 or self.step == options.steps:
                self._validate(watcher)
            if self.step % options.checkpoint_every == 0:
                self._save()
        self._save()
        return self.step >= options.steps

    def evaluate(self) -> Score:
        """The validation windows of this run."""
        self.model.eval()
        with self._autocast():
            result = score(window_losses(self._on_device, self.validation.in_order(self._rows())))
        self.model.train()
        return result

    def _one_step(self) -> _Sum:
        options = self.options
        self._set_rate()
        batch = self.training.batch(self.step * options.batch_size, options.batch_size).to(self.device)
        loss = 0.0
        for part in batch.chunk(options.accumulation):
            with self._autocast():
                predicted = self._forward(part[:, :-1])
            part_loss = functional.cross_entropy(predicted.float().flatten(0, 1), part[:, 1:].flatten())
            loss += part_loss.item() / options.accumulation
            if options.free_energy:
                part_loss = part_loss + options.free_energy * free_energy(self.model)
            torch.autograd.backward(self.scaler.scale(part_loss / options.accumulation))
        self.scaler.unscale_(self.optimizer)
        gradient = torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        _check_finite(loss, self.step)
        return _Sum(loss, gradient.item(), batch[:, 1:].numel())

    def _set_rate(self) -> None:
        rate = learning_rate(self.step, self.options)
        if self.options.phases:
            phase = phase_at(self.step, self.options.steps)
            rate *= phase.scale
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(learns(phase, name))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _training_record(self, sums: list[_Sum], seconds: float) -> dict[str, Any]:
        loss = sum(s.loss for s in sums) / len(sums)
        return {
            "kind": "train",
            "step": self.step,
            "loss": loss,
            "gradient": sum(s.gradient for s in sums) / len(sums),
            "rate": self.optimizer.param_groups[0]["lr"],
            "tokens": self.step * self.options.batch_size * self.model.config.max_position_embeddings,
            "tokens_per_second": sum(s.tokens for s in sums) / seconds,
            "seconds": self.seconds,
            **self.monitors.observe(loss, gate_entropies(self.model)),
        }

    def _validate(self, watcher: Watcher) -> None:
        result = self.evaluate()
        _check_finite(result.loss, self.step)
        if result.loss < self.best:
            self.best = result.loss
            self.run.save(self.run.best, {"model": self.model.state_dict(), "step": self.step, "loss": self.best})
        self._tell(
            watcher, {"kind": "validation", "step": self.step, "loss": result.loss, "margin": _known(result.margin)}
        )

    def _tell(self, watcher: Watcher, record: dict[str, Any]) -> None:
        self.run.append(record)
        watcher.record(record)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "monitors": self.monitors.state(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
        }
        self.run.save(self.run.checkpoint, state)

    def _resume(self) -> None:
        state = self.run.load(self.run.checkpoint)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.monitors.restore(state["monitors"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]

    def _on_device(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(ids.to(self.device))
        return logits.cpu()

    def _rows(self) -> int:
        return max(1, self.options.batch_size // self.options.accumulation)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.options.precision == "f32":
            return nullcontext()
        return torch.autocast(self.device.type, _TYPES[self.options.precision])


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss at step {step:,} is {loss}: training diverged", "lower --lr, and start again in another --out"
        )


def _known(margin: float) -> float | None:
    return margin if math.isfinite(margin) else None  # JSON knows no infinity


def build_optimizer(model: SymbioModel, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW; scales and norms, which are vectors, are not pulled towards zero."""
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.dim() >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in learned if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS)


def free_energy(model: SymbioModel) -> Tensor:
    """Mean over the parameter tensors of the mean of ``ln(|w| + 1e-6)^2``."""
    terms = [(p.abs() + 1e-6).log().square().mean() for p in model.parameters() if p.requires_grad]
    return torch.stack(terms).mean()


def gate_entropies(model: SymbioModel) -> list[float]:
    """For each layer the mean entropy of its channels' shares, in nats; a sigmoid gate has none, which counts as 0."""
    with torch.no_grad():
        return [_entropy(gate()) for gate in model.gates()]


def _entropy(shares: Tensor) -> float:
    if not torch.allclose(shares.sum(0), torch.ones_like(shares[0]), atol=1e-4):
        return 0.0
    return -(shares * (shares + 1e-10).log()).sum(0).mean().item()
