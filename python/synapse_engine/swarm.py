"""The specialists of an ``Engine``: what a request becomes when one of them is to answer it. Runs no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from synapse_engine.routing import Decision, open_router
from synapse_engine.routing.live import LiveRouter
from synapse_engine.specialists import Library
from synapse_engine.specialists.applying import prompted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synapse_engine.options import GenerateOptions
    from synapse_engine.routing import Router
    from synapse_engine.specialists import Specialist
    from synapse_engine.specialists.adapters import Shelf

    Messages = Sequence[Mapping[str, Any]]

AUTO = "auto"
"""Stands for the specialist that the router chooses."""


class Swarm:
    """One for an engine, which submits what is prepared here through ``shelf``."""

    def __init__(self, shelf: Shelf) -> None:
        self.library = Library()
        self.shelf = shelf
        self._live: LiveRouter[Router] = LiveRouter(self.library, open_router)

    @property
    def router(self) -> Router:
        """Over the specialists that there are now."""
        return self._live.current()

    def decide(self, specialist: str, request: str | Messages) -> Decision:
        """Who answers: the one named, or the one that ``AUTO`` finds."""
        return self.router.route(request) if specialist == AUTO else Decision.asked_for(specialist)

    def prepared(
        self, decision: Decision, request: str | Messages, options: GenerateOptions
    ) -> tuple[str | Messages, GenerateOptions]:
        """The request as its specialist is to see it, with its habits where ``options`` say nothing."""
        if decision.specialist is None:
            return request, options
        specialist = self.library.find(decision.specialist)
        habits = {**specialist.sampling, **self._adapters(specialist, options), **options}
        turns = request if isinstance(request, str) else prompted(specialist, request)
        return turns, cast("GenerateOptions", habits)

    def _adapters(self, specialist: Specialist, options: GenerateOptions) -> dict[str, str]:
        name = None if "adapters" in options else self.shelf.ready(specialist)
        return {} if name is None else {"adapters": name}
