"""Where requests are routed: the library, the router over it, the plan for each request. Blocks; knows no events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from synapse_engine._engine import ClosedError, EngineError
from synapse_engine.routing import Decision, RoutingError
from synapse_engine.routing.live import LiveRouter
from synapse_engine.server.errors import (
    bad_request,
    from_engine,
    refused_adapter,
    specialist_not_found,
    unavailable,
)
from synapse_engine.server.swarm import modes
from synapse_engine.server.swarm.plan import Asked, Candidate, Plan, who_answers
from synapse_engine.specialists import Library, Specialist, SpecialistError, UnknownSpecialistError
from synapse_engine.specialists.adapters import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.server.schemas.swarm import AdapterWeight, SwarmOptions
    from synapse_engine.server.served import Served
    from synapse_engine.server.swarm.router import NewRouter, Router

    Turns = list[tuple[str, str]]


class Desk:
    """One for a server. Its methods may be called from any thread, but not from the event loop."""

    def __init__(self, library: Library, new_router: NewRouter) -> None:
        self.library = library
        self._live = LiveRouter(library, new_router)

    def router(self) -> Router:
        """The router over the library as it is now; raises ApiError."""
        try:
            return self._live.current()
        except (EngineError, RoutingError, OSError) as error:
            raise unavailable(f"requests cannot be routed here: {error}") from error

    def route(self, turns: Turns, response_id: str | None = None) -> Decision:
        """Where a conversation belongs; with ``response_id``, feedback can name it later. Raises ApiError."""
        router = self.router()
        try:
            decision = router.route(turns)
        except RoutingError as error:
            raise bad_request(f"messages: {error}; {error.hint}", "messages") from error
        if response_id is not None:
            router.remember(response_id, decision)
        return decision

    def answered(self, response_id: str, specialist: str | None) -> None:
        """Of several, this one's answer was given: feedback on it is about this one."""
        self.router().answered(response_id, specialist)

    def plan(self, response_id: str, name: str, asked: Asked, options: SwarmOptions, turns: Turns) -> Plan:
        """Who answers; raises ApiError."""
        began = time.monotonic()
        named = asked.specialist
        decision = self.route(turns, response_id) if named is None else Decision.asked_for(named)
        names = who_answers(decision, options)
        param = "synapse.specialists" if options.specialists else "model"
        candidates = [Candidate(self._find(one, param), self._probability(asked, decision, one)) for one in names]
        synthesis = len(candidates) > 1 and options.choose == "synthesis"
        return Plan(response_id, name, asked.model, turns, decision, candidates, synthesis, began)

    def adapters(
        self, model: Served, specialist: Specialist | None, wanted: Sequence[AdapterWeight] | None
    ) -> list[tuple[str, float]]:
        """What to blend in, loaded: what the request names, or else the specialist's own. Raises ApiError."""
        if wanted is None:
            name = None if specialist is None else self._loaded(model, specialist)
            return [] if name is None else [(name, 1.0)]
        for entry in wanted:
            if entry.name.startswith(PREFIX):
                self._loaded(model, self._with_adapter(entry.name))
        return [(entry.name, entry.weight) for entry in wanted]

    def _probability(self, asked: Asked, decision: Decision, name: str | None) -> float | None:
        return modes.probability_of(decision, name) if asked.routed else None

    def _find(self, name: str | None, param: str) -> Specialist | None:
        try:
            return None if name is None else self.library.find(name)
        except UnknownSpecialistError as error:
            raise specialist_not_found(error, param) from error

    def _with_adapter(self, name: str) -> Specialist:
        specialist = self._find(name.removeprefix(PREFIX), "adapters")
        if specialist is None or specialist.adapter is None:
            raise bad_request(f"adapters: the specialist of `{name[:60]}` has no adapter", "adapters")
        return specialist

    def _loaded(self, model: Served, specialist: Specialist) -> str | None:
        try:
            try:
                return model.shelf.ready(specialist)
            except SpecialistError:  # its files may have been replaced since it was found
                return model.shelf.ready(self.library.find(specialist.name))
        except ClosedError as error:
            raise from_engine(error, "model") from error
        except (EngineError, SpecialistError, OSError) as error:
            raise refused_adapter(f"the adapter of the specialist `{specialist.name}`", error, "model") from error
