"""A router that follows the user's specialists as their files come, change and go. Decides nothing itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synapse_engine.specialists import Library, Specialist


class Following(Protocol):
    """What can be told of other specialists; see ``Router``."""

    def set_specialists(self, specialists: Sequence[Specialist]) -> None:
        """Routes between these from now on."""


R = TypeVar("R", bound=Following)


class LiveRouter(Generic[R]):
    """Opened when it is first needed. May be used from any thread."""

    def __init__(self, library: Library, new: Callable[[Sequence[Specialist]], R]) -> None:
        self._library = library
        self._new = new
        self._lock = threading.Lock()
        self._router: R | None = None
        self._known: Sequence[Specialist] = ()

    def current(self) -> R:
        """The router over the specialists that there are now."""
        with self._lock:
            # The library gives the same tuple as long as nothing has changed.
            specialists = self._library.all()
            if self._router is None:
                self._router = self._new(specialists)
            elif specialists is not self._known:
                self._router.set_specialists(specialists)
            self._known = specialists
            return self._router
