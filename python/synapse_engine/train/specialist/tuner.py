"""Teaches an adapter conversations: what one step is, and the loss on what was held out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from synapse_engine.train.evaluate import Score, score
from synapse_engine.train.loop import Loop, StepSum, Watcher
from synapse_engine.train.schedule import learning_rate
from synapse_engine.train.specialist.loss import autocast, conversation_losses, token_losses
from synapse_engine.train.specialist.packing import Stream, assign, lay_out
from synapse_engine.train.trainer import BETAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from synapse_engine.train.run_folder import RunFolder
    from synapse_engine.train.specialist.encoding import Encoded
    from synapse_engine.train.specialist.options import SpecialistOptions


class Tuner(Loop):
    """Trains the adapter of one ``peft`` model; everything else in it is frozen."""

    def __init__(
        self,
        model: Any,
        options: SpecialistOptions,
        training: Sequence[Encoded],
        held_out: Sequence[Encoded],
        run: RunFolder,
    ) -> None:
        super().__init__(options, run)
        self.model, self.options = model, options
        self.stream = Stream(training, options.window, options.seed)
        self._held_out = held_out[: options.eval_conversations]
        self.learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.device = next(iter(self.learned.values())).device
        self.optimizer = torch.optim.AdamW(
            self.learned.values(), lr=options.learning_rate, betas=BETAS, weight_decay=options.weight_decay
        )
        self.begin()

    def train(self, watcher: Watcher) -> bool:
        """As any run; but first comes a look at the base, so that nothing worse is ever kept."""
        if math.isinf(self.best):
            self.validate(watcher)
        return super().train(watcher)

    def evaluate(self) -> Score:
        """Held-out conversations, each counting alike."""
        rows = assign((len(one.tokens) for one in self._held_out), self.options.window)
        packed = lay_out(self._held_out, rows, self.options.window)
        self.model.eval()
        with autocast(self.device, self.options.precision):
            parts = (part.to(self.device) for part in packed.split(self.options.rows_at_once))
            losses = conversation_losses(self.model, parts, len(self._held_out))
        self.model.train()
        return score(losses)

    def one_step(self) -> StepSum:
        """The mean over all answer tokens of a step, however many passes it is made in."""
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, options)
        rows = self.stream.batch(self.step * options.rows, options.rows)
        tokens, loss = int(rows.learned.sum()), 0.0
        for part in rows.split(options.rows_at_once):
            with autocast(self.device, options.precision):
                total: Tensor = token_losses(self.model, part.to(self.device)).sum() / tokens
            torch.autograd.backward(total)
            loss += total.item()
        gradient = torch.nn.utils.clip_grad_norm_(self.learned.values(), options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepSum(loss, gradient.item(), int((rows.conversations >= 0).sum()))

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def weights(self) -> dict[str, Any]:
        """The adapter's."""
        return {name: parameter.detach() for name, parameter in self.learned.items()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Takes what ``weights`` gave."""
        with torch.no_grad():
            for name, parameter in self.learned.items():
                parameter.copy_(weights[name])

    def state(self) -> dict[str, Any]:
        """Of the optimizer."""
        return {"optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.load(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
