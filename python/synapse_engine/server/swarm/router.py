"""What the server needs of a router: a part of ``synapse_engine.routing``'s interface, so that tests can stand in."""

# ruff: noqa: D102 - synapse_engine.routing documents them

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from synapse_engine.specialists import Specialist

    NewRouter = Callable[[Sequence[Specialist]], "Router"]


class Decision(Protocol):
    """Where a request goes, and why."""

    @property
    def specialist(self) -> str | None: ...
    @property
    def probabilities(self) -> Mapping[str, float]: ...
    @property
    def reason(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    def as_dict(self) -> dict[str, Any]: ...


class Router(Protocol):
    """Decides; need not bear several threads at a time."""

    def set_specialists(self, specialists: Sequence[Specialist]) -> None: ...
    def route(self, turns: list[tuple[str, str]]) -> Decision: ...
    def remember(self, response_id: str, decision: Any) -> None: ...


def open_router(specialists: Sequence[Specialist]) -> Router:
    """The one that comes with the package, with what it has learned on this machine."""
    from synapse_engine import routing

    opened: Router = routing.open_router(specialists)
    return opened


@dataclass(frozen=True)
class AskedFor:
    """The decision of a client that named the specialist."""

    specialist: str | None
    probabilities: dict[str, float] = field(default_factory=dict)
    reason: str = "asked for"
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As a decision of a router would be."""
        return asdict(self)
