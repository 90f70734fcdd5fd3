"""Trains models of organelles and transformers from nothing: what one step is, and what is watched meanwhile."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from synapse_engine.train.evaluate import Score, score, window_losses
from synapse_engine.train.loop import Loop, StepSum
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


class Trainer(Loop):
    """Trains one model on windows of text."""

    def __init__(
        self, model: SymbioModel, options: TrainOptions, training: Windows, validation: Windows, run: RunFolder
    ) -> None:
        super().__init__(options, run)
        self.model, self.options = model, options
        self.training, self.validation = training, validation.spread(options.eval_windows)
        self.device = next(model.parameters()).device
        self.optimizer = build_optimizer(model, options)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "f16")
        self.monitors = Monitors(len(model.blocks))
        self._forward: Callable[[Tensor], Tensor] = torch.compile(model) if options.compile else model
        self.begin()

    def evaluate(self) -> Score:
        """The validation windows of this run."""
        self.model.eval()
        with self._autocast():
            result = score(window_losses(self._on_device, self.validation.in_order(self._rows())))
        self.model.train()
        return result

    def one_step(self) -> StepSum:
        """One batch of windows, in as many passes as accumulation says."""
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
        return StepSum(loss, gradient.item(), batch[:, 1:].numel())

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def describe(self, loss: float) -> dict[str, Any]:
        """How many tokens so far, and what the monitors say."""
        tokens = self.step * self.options.batch_size * self.model.config.max_position_embeddings
        return {"tokens": tokens, **self.monitors.observe(loss, gate_entropies(self.model))}

    def weights(self) -> dict[str, Any]:
        """All of the model's."""
        return dict(self.model.state_dict())

    def state(self) -> dict[str, Any]:
        """Of the optimizer, the loss scaling and the monitors."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "monitors": self.monitors.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.monitors.restore(state["monitors"])

    def _set_rate(self) -> None:
        rate = learning_rate(self.step, self.options)
        if self.options.phases:
            phase = phase_at(self.step, self.options.steps)
            rate *= phase.scale
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(learns(phase, name))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _on_device(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(ids.to(self.device))
        return logits.cpu()

    def _rows(self) -> int:
        return max(1, self.options.batch_size // self.options.accumulation)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.options.precision == "f32":
            return nullcontext()
        return torch.autocast(self.device.type, _TYPES[self.options.precision])


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
