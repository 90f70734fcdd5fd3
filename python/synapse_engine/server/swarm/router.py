"""What the server needs of a router: a part of ``synapse_engine.routing``'s interface, so that tests can stand in."""

# ruff: noqa: D102 - synapse_engine.routing documents them

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synapse_engine.routing import Decision
    from synapse_engine.specialists import Specialist

    NewRouter = Callable[[Sequence[Specialist]], "Router"]


class Router(Protocol):
    """Decides. May be used from any thread."""

    def set_specialists(self, specialists: Sequence[Specialist]) -> None: ...
    def route(self, turns: list[tuple[str, str]]) -> Decision: ...
    def remember(self, response_id: str, decision: Decision) -> None: ...
    def answered(self, response_id: str, specialist: str | None) -> None: ...


def open_router(specialists: Sequence[Specialist]) -> Router:
    """The one that comes with the package, with what it has learned on this machine."""
    from synapse_engine import routing

    return routing.open_router(specialists)
