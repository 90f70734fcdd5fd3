"""The model as a judge of sentences, acceptable or not: trains an adapter with a head, counts what it gets right."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from synapse_engine.evolve.adapter import Factors, attach, detach, merge, parameter_count
from synapse_engine.evolve.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from synapse_engine.evolve.genome import Genome
    from synapse_engine.evolve.sentences import Example
    from synapse_engine.train.symbio import SymbioModel

WARMUP, FINAL_SHARE, WEIGHT_DECAY, CLIP = 50, 0.1, 0.01, 1.0
COMPLEXITY = 0.01  # price of the logarithm of the number of parameters
_ROWS = 64
_PADDING = 32


@dataclass(frozen=True)
class Schooling:
    """How an adapter learns."""

    steps: int = 200
    batch_size: int = 16
    learning_rate: float = 2e-4
    bf16: bool = False  # products in 16 bits


@dataclass(frozen=True)
class Batch:
    """Sentences as token numbers (rows, time), padded on the right, with their lengths and labels."""

    ids: Tensor
    lengths: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Counted:
    """Right answers of all."""

    hits: int
    count: int

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.hits / self.count

    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95 %."""
        return wilson(self.hits, self.count)


@dataclass(frozen=True)
class Expert:
    """A trained adapter with its head."""

    factors: dict[str, Factors]
    head: dict[str, Tensor]  # weight (2, width), bias (2)

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return parameter_count(self.factors) + sum(tensor.numel() for tensor in self.head.values())


class Judge:
    """Judges sentences by the mean of the model's last hidden states over a sentence, through a linear head."""

    def __init__(self, model: SymbioModel, tokenizer: Tokenizer, schooling: Schooling) -> None:
        self._model, self._tokenizer, self._schooling = model.eval(), tokenizer, schooling

    def learn(self, genome: Genome, examples: Sequence[Example], seed: int) -> Expert:
        """Trains an adapter of this shape; the same seed gives the same adapter."""
        torch.manual_seed(seed)
        model = copy.deepcopy(self._model)
        learned = attach(model, genome)
        head = nn.Linear(model.config.hidden_size, 2)
        learned += list(head.parameters())
        optimizer = torch.optim.AdamW(learned, lr=self._schooling.learning_rate, weight_decay=WEIGHT_DECAY)
        model.train()
        order = torch.randperm(len(examples)).tolist()
        for step in range(self._schooling.steps):
            for group in optimizer.param_groups:
                group["lr"] = self._rate(step)
            first = step * self._schooling.batch_size
            chosen = [examples[order[(first + i) % len(order)]] for i in range(self._schooling.batch_size)]
            batch = self._batch(chosen)
            answers = head(self._pooled(model, batch))
            torch.autograd.backward(functional.cross_entropy(answers, batch.labels))
            nn.utils.clip_grad_norm_(learned, CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        weights = {name: tensor.detach().clone() for name, tensor in head.state_dict().items()}
        return Expert(detach(model), weights)

    def examine(self, expert: Expert, examples: Sequence[Example]) -> Counted:
        """Counts the right answers of an expert."""
        model = copy.deepcopy(self._model)
        merge(model, expert.factors)
        hits = 0
        with torch.inference_mode():
            for start in range(0, len(examples), _ROWS):
                batch = self._batch(examples[start : start + _ROWS])
                answers = functional.linear(self._pooled(model, batch), expert.head["weight"], expert.head["bias"])
                hits += int((answers.argmax(1) == batch.labels).sum())
        return Counted(hits, len(examples))

    def likelihood(self, examples: Sequence[Example]) -> list[float]:
        """For each sentence the mean log-probability that the unchanged model gives its tokens after the first."""
        found: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(examples), _ROWS):
                batch = self._batch(examples[start : start + _ROWS])
                with self._products():
                    logits = self._model(batch.ids[:, :-1])
                losses = functional.cross_entropy(logits.float().transpose(1, 2), batch.ids[:, 1:], reduction="none")
                inside = torch.arange(1, batch.ids.shape[1]) < batch.lengths[:, None]
                found += (-(losses * inside).sum(1) / inside.sum(1)).tolist()
        return found

    def _pooled(self, model: SymbioModel, batch: Batch) -> Tensor:
        # The model is causal, so that padding on the right changes nothing on its left.
        with self._products():
            hidden = model.body(batch.ids).float()
        inside = (torch.arange(batch.ids.shape[1]) < batch.lengths[:, None]).unsqueeze(2)
        return (hidden * inside).sum(1) / batch.lengths[:, None]

    def _products(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self._schooling.bf16)

    def _rate(self, step: int) -> float:
        warmup = min(WARMUP, max(1, self._schooling.steps // 4))
        if step < warmup:
            return self._schooling.learning_rate * (step + 1) / warmup
        progress = (step - warmup) / max(1, self._schooling.steps - warmup)
        share = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
        return self._schooling.learning_rate * share

    def _batch(self, examples: Sequence[Example]) -> Batch:
        window = self._model.config.max_position_embeddings
        rows = [self._tokenizer.encode(example.text).ids[:window] for example in examples]
        lengths = torch.tensor([len(row) for row in rows])
        # Few different shapes, as the products are set up anew for each.
        padded = min(-(-int(lengths.max()) // _PADDING) * _PADDING, window)
        ids = torch.zeros(len(rows), padded, dtype=torch.long)
        for row, numbers in zip(ids, rows, strict=True):
            row[: len(numbers)] = torch.tensor(numbers)
        return Batch(ids, lengths, torch.tensor([int(example.acceptable) for example in examples]))


def fitness(accuracy: float, parameters: int) -> float:
    """Accuracy, less a hundredth of the logarithm of the number of parameters."""
    return accuracy - COMPLEXITY * math.log(parameters)


def majority(learned: Sequence[Example], asked: Sequence[Example]) -> Counted:
    """What always giving the commoner label of the one gets right on the other."""
    commoner = 2 * sum(example.acceptable for example in learned) >= len(learned)
    return Counted(sum(example.acceptable == commoner for example in asked), len(asked))


def best_threshold(scores: Sequence[float], examples: Sequence[Example]) -> float:
    """The score from which on to call a sentence acceptable, with the most right answers on these examples."""
    ranked = sorted(zip(scores, (example.acceptable for example in examples), strict=True))
    hits = best = sum(acceptable for _, acceptable in ranked)  # everything is acceptable
    threshold = ranked[0][0]
    for (score, acceptable), (following, _) in zip(ranked, [*ranked[1:], (math.inf, False)], strict=True):
        hits += -1 if acceptable else 1
        if hits > best and following > score:
            best, threshold = hits, following
    return threshold


def above(scores: Sequence[float], threshold: float, examples: Sequence[Example]) -> Counted:
    """Right answers of calling acceptable what reaches the threshold."""
    right = [(score >= threshold) == example.acceptable for score, example in zip(scores, examples, strict=True)]
    return Counted(sum(right), len(right))
