"""What is to be done for a routed request: which specialists, on which model, why. Runs nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synapse_engine.server.swarm import modes

if TYPE_CHECKING:
    from synapse_engine.routing import Decision
    from synapse_engine.server.schemas.swarm import SwarmOptions
    from synapse_engine.server.served import Served
    from synapse_engine.specialists import Specialist


PLAIN = "none"
"""Stands for the plain model where specialists are named."""


@dataclass(frozen=True)
class Asked:
    """What a request's ``model`` means."""

    model: Served
    routed: bool = False
    """Whether the server is to find the specialist."""
    specialist: str | None = None
    """The one asked for; without it, and not routed: the plain model."""

    @property
    def plain(self) -> bool:
        """Whether no specialist is wanted."""
        return not self.routed and self.specialist is None


@dataclass(frozen=True)
class Candidate:
    """Someone who answers."""

    specialist: Specialist | None
    """None: the plain model."""
    probability: float | None
    """That the router means this one; None where it was not asked."""

    @property
    def name(self) -> str | None:
        """The specialist's."""
        return None if self.specialist is None else self.specialist.name


@dataclass
class Plan:
    """Who answers, and how it came to that."""

    response_id: str
    asked: str
    """The request's ``model``."""
    model: Served
    turns: list[tuple[str, str]]
    decision: Decision
    candidates: list[Candidate]
    synthesis: bool = False
    """Whether the plain model makes one answer of the candidates'."""
    began: float = field(default_factory=time.monotonic)
    adapter_seconds: float = 0.0

    @property
    def mode(self) -> str:
        """What was done, in the API's words."""
        return "single" if len(self.candidates) == 1 else "parallel"


def who_answers(decision: Decision, options: SwarmOptions) -> list[str | None]:
    """The names of those who answer; more than one do it in parallel."""
    if options.specialists:
        return [None if name == PLAIN else name for name in options.specialists]
    if options.mode == "parallel" or (options.mode == "auto" and not modes.is_sure(decision)):
        return modes.likeliest(decision, options.k or modes.USUAL_CANDIDATES)
    return [decision.specialist]
