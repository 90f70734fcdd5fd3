"""The ``synapse`` object of a response: who answered, why, and what it took. Knows no chunk and no text."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_engine.specialists.applying import ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synapse_engine.server.swarm.plan import Plan


@dataclass
class Report:
    """Filled in as the answer comes."""

    plan: Plan
    chosen: str | None
    """The specialist whose answer it is; None: the plain model's."""
    candidates: list[dict[str, Any]] = field(default_factory=list)
    """One for each of several that answered."""
    finish: str | None = None
    _usages: list[dict[str, Any]] = field(default_factory=list)
    _total_seconds: float = 0.0

    @property
    def model(self) -> str:
        """What a client would ask for to get the same one again."""
        return self.plan.model.id if self.chosen is None else f"{ROUTE}/{self.chosen}"

    def add(self, usage: dict[str, Any] | None) -> None:
        """Takes in what a part of the work cost; the last is that of the answer."""
        if usage is not None:
            self._usages.append(usage)
            self._total_seconds = time.monotonic() - self.plan.began

    def total(self, key: str) -> int:
        """Of all that was computed for the answer."""
        return sum(usage[key] for usage in self._usages)

    def entry(self) -> dict[str, Any]:
        """The object, as far as it is known by now."""
        plan = self.plan
        entry: dict[str, Any] = {"specialist": self.chosen, "mode": plan.mode, "reason": plan.decision.reason}
        chances = plan.decision.probabilities
        entry["probabilities"] = {name: round(chance, 4) for name, chance in chances.items()}
        if plan.mode == "parallel":
            entry |= {"choose": "synthesis" if plan.synthesis else "likelihood", "candidates": self.candidates}
        entry["timings"] = self.timings()
        return entry | {"cached_tokens": self.total("cached_tokens")} if self._usages else entry

    def timings(self) -> dict[str, float]:
        """All in seconds."""
        timings = {"route_seconds": self.plan.decision.seconds, "adapter_seconds": self.plan.adapter_seconds}
        if self._usages:
            timings |= {name: self._usages[-1][name] for name in ("queue_seconds", "first_token_seconds")}
            timings["total_seconds"] = self._total_seconds
        return {name: round(seconds, 6) for name, seconds in timings.items()}


class LastChunk:
    """Holds back the chunk with which an answer ends until its costs are known: they go out with it."""

    def __init__(self, report: Report | None, choices: int, requests: int) -> None:
        self._report = report
        self._choices = choices
        self._requests = requests
        self._held: dict[str, Any] | None = None

    def finish(self, chunk: dict[str, Any], reason: str) -> Iterator[dict[str, Any]]:
        """A choice has ended with this chunk."""
        self._choices -= 1
        if self._report is None or self._choices:
            yield chunk
            return
        self._report.finish = reason
        self._held = chunk

    def done(self, usage: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """A request has ended."""
        self._requests -= 1
        if self._report is not None:
            self._report.add(usage)
            if self._held is not None and not self._requests:
                yield self._held | {"synapse": self._report.entry()}
