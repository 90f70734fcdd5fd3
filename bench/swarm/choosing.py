"""Whose answer counts, for each way to put specialists together. Knows answers and probabilities, not who is right.

The engine gives the same answer in a batch as alone, to the bit, so that all ways can choose among the same answers.
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING

from synapse_engine.server.swarm.modes import likeliest, probability_of, score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synapse_engine.results import Generation
    from synapse_engine.routing import Decision

    Answers = Mapping[str | None, Sequence[Generation]]
    """Of each specialist, and of the plain model (None), to all requests."""


def routed(decisions: Sequence[Decision]) -> list[str | None]:
    """The coordinator's choice; None where it abstains."""
    return [decision.specialist for decision in decisions]


def parallel(answers: Answers, decisions: Sequence[Decision], count: int) -> list[str | None]:
    """As the server does it: the ``count`` likeliest answer, then route and likelihood choose."""
    chosen = []
    for at, decision in enumerate(decisions):
        scores = {
            name: score(probability_of(decision, name), _logprobs(answers[name][at]))
            for name in likeliest(decision, count)
        }
        chosen.append(max(scores, key=lambda name: scores[name]))
    return chosen


def likeliest_answer(answers: Answers) -> list[str | None]:
    """Everyone answers, and the answer likeliest per token in its own author's eyes counts; no coordinator."""
    return [
        max(answers, key=lambda name: _mean(_logprobs(answers[name][at])))
        for at in range(len(next(iter(answers.values()))))
    ]


def _logprobs(answer: Generation) -> list[float]:
    return [token.logprob for token in answer.tokens if token.logprob is not None]


def _mean(logprobs: Sequence[float]) -> float:
    return fsum(logprobs) / len(logprobs) if logprobs else float("-inf")
