"""Puts coordinator, feedback and specialists together. Knows no HTTP, no files and no model that generates."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synapse_engine.routing import explaining
from synapse_engine.routing.decision import NONE, Decision, Scores, decide, rounded
from synapse_engine.routing.errors import RoutingError
from synapse_engine.routing.parts import label_of, turns_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synapse_engine.routing.parts import Bias, Coordinator, Turns
    from synapse_engine.specialists import Specialist

MOST_REMEMBERED = 1024


@dataclass(frozen=True)
class Reaction:
    """What a feedback did."""

    before: Decision
    after: Decision
    """The same request, decided again."""
    rewards: Mapping[str, float]
    """What was learnt, by specialist."""
    learned: Mapping[str, Any]
    """See ``_engine.HebbianBias.learn``."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        biases = {name: rounded(self.learned[name]) for name in ("before", "after")}
        return {
            "rewards": dict(self.rewards),
            "region": self.learned["region"],
            "new_region": self.learned["born"],
            "bias": {name: {when: found[name] for when, found in biases.items()} for name in self.rewards},
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
        }


class Router:
    """Decides who answers. May be used from any thread."""

    def __init__(self, coordinator: Coordinator, specialists: Sequence[Specialist], hebbian: Bias) -> None:
        self.hebbian = hebbian
        self._coordinator = coordinator
        self._threshold = float(coordinator.info()["threshold"])
        self._specialists: tuple[Specialist, ...] = ()
        self._examples = explaining.Examples(coordinator)
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, Decision] = OrderedDict()
        self.set_specialists(specialists)

    @property
    def specialists(self) -> tuple[Specialist, ...]:
        """Those that it routes between."""
        return self._specialists

    def set_specialists(self, specialists: Sequence[Specialist]) -> None:
        """Routes between these from now on; only what is new of them is read."""
        specialists = tuple(specialists)
        with self._lock:
            if specialists != self._specialists:
                self._coordinator.set_specialists([_described(specialist) for specialist in specialists])
                self._specialists = specialists

    def route(self, turns: str | Sequence[Mapping[str, Any]] | Turns) -> Decision:
        """Who should answer this text or conversation; raises RoutingError if there is no request in it."""
        return self._decide(self._score(turns_of(turns)))

    def feedback(
        self, turns: str | Sequence[Mapping[str, Any]] | Turns, specialist: str | None, reward: float
    ) -> Reaction:
        """Learns that ``specialist`` (None: the plain base) is right (1) or wrong (-1) for requests like this one."""
        return self.react(self.route(turns), specialist, reward)

    def react(self, decision: Decision, specialist: str | None, reward: float) -> Reaction:
        """Like ``feedback``, for what was decided before.

        Praise of another than would be chosen now is a correction: the same amount is taken from the one chosen.
        """
        if decision.scores is None:
            raise RoutingError("this request was not routed", "give feedback on requests for the model `synapse`")
        name = self._installed(specialist)
        if not -1 <= reward <= 1:  # a NaN fails, too
            raise RoutingError(f"reward: expected -1 (wrong) to 1 (right), found {reward}", param="reward")
        before = self._decide(decision.scores)
        chosen = before.specialist or NONE
        rewards = {name: float(reward)}
        if reward > 0 and chosen != name:
            rewards[chosen] = -float(reward)
        learned = self.hebbian.learn(decision.scores.place, rewards, label=decision.scores.label)
        return Reaction(before, self._decide(decision.scores), rewards, learned)

    def remember(self, response_id: str, decision: Decision) -> None:
        """Keeps a decision, so that feedback can name the response; the oldest of many is forgotten."""
        if decision.scores is not None:
            # A list of Python numbers would take eight times the memory.
            decision = replace(
                decision, scores=replace(decision.scores, embedding=array("f", decision.scores.embedding))
            )
        with self._lock:
            self._remembered[response_id] = decision
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)

    def answered(self, response_id: str, specialist: str | None) -> None:
        """Another than the one chosen gave the response: ratings are about that one."""
        with self._lock:
            if decision := self._remembered.get(response_id):
                self._remembered[response_id] = replace(decision, specialist=specialist)

    def remembered(self, response_id: str) -> Decision:
        """What was decided for that response; raises RoutingError."""
        with self._lock:
            if decision := self._remembered.get(response_id):
                return decision
        message = f"no response {response_id[:60]!r} is remembered"
        hint = f"the last {MOST_REMEMBERED} of this server are; give the request itself instead"
        raise RoutingError(message, hint, "response_id")

    def explain(self, decision: Decision) -> dict[str, Any]:
        """See ``Decision.explain``."""
        return explaining.explain(decision, self._specialists, self._examples, self.hebbian)

    def _score(self, turns: Turns) -> Scores:
        with self._lock:
            return Scores.read(self._coordinator.score(turns), label_of(turns))

    def _decide(self, scores: Scores) -> Decision:
        bias = self.hebbian.bias(scores.place, list(scores.logits))
        return replace(decide(scores, bias, self._threshold), explainer=self.explain)

    def _installed(self, specialist: str | None) -> str:
        if specialist is None or specialist == NONE:
            return NONE
        names = [known.name for known in self._specialists]
        if specialist not in names:
            hint = f"there is {', '.join(names)}, and {NONE} for the plain base model"
            raise RoutingError(f"there is no specialist {specialist[:60]!r}", hint, "specialist")
        return specialist


def _described(specialist: Specialist) -> dict[str, Any]:
    examples = list(specialist.examples)
    return {"name": specialist.name, "description": specialist.description, "examples": examples}
