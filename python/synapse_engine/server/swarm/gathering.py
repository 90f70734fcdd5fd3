"""Several answers to one request: their events are kept until one is chosen, or all become one. Knows no HTTP."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from synapse_engine.server.swarm import modes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synapse_engine.server.native import Event
    from synapse_engine.server.swarm.plan import Candidate, Plan

SYNTHESIS = (
    "Several assistants have answered the user's last message; their answers stand below it. Write the one best answer "
    "to the user: keep what is right and useful, drop what is wrong or said twice, and do not mention the assistants."
)


class Gathered:
    """The answers of a plan's candidates, by their positions."""

    def __init__(self, plan: Plan, choices: int) -> None:
        self._plan = plan
        self._choices = choices
        self._events: list[list[Event]] = [[] for _ in plan.candidates]

    def add(self, position: int, event: Event) -> None:
        """Takes in an event."""
        self._events[position].append(event)

    def best(self) -> int:
        """The position of the answer that fits best; where none says anything, of the likeliest specialist."""
        scores = [(self._score(position), candidate.probability or 0.0) for position, candidate in self._numbered()]
        return max(range(len(scores)), key=scores.__getitem__)

    def replayed(self, position: int) -> Iterator[Event]:
        """The events of one answer, after what the others cost."""
        yield from self.costs(position)
        yield from self._events[position]

    def costs(self, without: int | None = None) -> Iterator[Event]:
        """What the answers cost, but for one."""
        for position, events in enumerate(self._events):
            if position != without:
                yield from (event for event in events if event.kind == "done")

    def entries(self) -> list[dict[str, Any]]:
        """What the response tells of each."""
        return [self._entry(position, candidate) for position, candidate in self._numbered()]

    def texts(self) -> list[str]:
        """The first choice of each."""
        return [self._text(position) for position, _ in self._numbered()]

    def _numbered(self) -> Iterator[tuple[int, Candidate]]:
        return enumerate(self._plan.candidates)

    def _entry(self, position: int, candidate: Candidate) -> dict[str, Any]:
        score = self._score(position)
        usage = next((event.usage for event in self._events[position] if event.kind == "done"), None) or {}
        return {
            "specialist": candidate.name,
            "probability": candidate.probability,
            "mean_logprob": _finite(self._mean_logprob(position)),
            "score": _finite(score),
            "content": self._text(position),
            "completion_tokens": usage.get("completion_tokens", 0),
            "cached_tokens": usage.get("cached_tokens", 0),
        }

    def _text(self, position: int) -> str:
        return "".join(event.text for event in self._events[position] if event.kind == "text" and not event.index)

    def _logprobs(self, position: int) -> list[list[float]]:
        found: list[list[float]] = [[] for _ in range(self._choices)]
        for event in self._events[position]:
            if event.kind == "text":
                found[event.index] += [token["logprob"] for token in event.tokens]
        return found

    def _mean_logprob(self, position: int) -> float:
        """Over the answer's tokens; with several choices, the mean of theirs."""
        return math.fsum(modes.score(1.0, logprobs) for logprobs in self._logprobs(position)) / self._choices

    def _score(self, position: int) -> float:
        """See ``modes.score``; with several choices, their mean."""
        probability = self._plan.candidates[position].probability or 0.0
        return math.fsum(modes.score(probability, logprobs) for logprobs in self._logprobs(position)) / self._choices


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def synthesis_turns(turns: list[dict[str, str]], answers: list[str]) -> list[dict[str, str]]:
    """The conversation as the plain model sees it to make one answer of several."""
    listed = "\n\n".join(f"Answer {number}:\n{answer.strip()}" for number, answer in enumerate(answers, 1))
    last = max(index for index, turn in enumerate(turns) if turn["role"] == "user")
    asked = turns[last] | {"content": f"{turns[last]['content']}\n\n{listed}"}
    system = [{"role": "system", "content": SYNTHESIS}]
    if turns[0]["role"] == "system":
        system[0]["content"] += f"\n\n{turns[0]['content']}"
        return [*system, *turns[1:last], asked]
    return [*system, *turns[:last], asked]
