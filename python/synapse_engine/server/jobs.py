"""The engine's work for one HTTP request: one or many prompts, a deadline, an end. Knows nothing of HTTP or JSON."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from synapse_engine._engine import ClosedError, EngineError, InternalError, QueueFullError
from synapse_engine.server.errors import ApiError, from_engine, refused_adapter, timed_out
from synapse_engine.specialists import SpecialistError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from synapse_engine.server.hub import Hub
    from synapse_engine.server.native import Event

# Enough to fill a batch, few enough that one HTTP request does not fill the queue for all others.
WINDOW = 16


class Job:
    """Submits requests, at most ``WINDOW`` at a time, and collects their events.

    ``with Job(...)``: leaving the block cancels what has not ended.
    """

    def __init__(
        self,
        hub: Hub,
        requests: Sequence[dict[str, Any]],
        *,
        prompt_field: str,
        seconds: float,
        on_usage: Callable[[dict[str, Any], int], None],
    ) -> None:
        self._hub = hub
        self._requests = requests
        self._left = deque(range(len(requests)))
        self._prompt_field = prompt_field
        self._seconds = seconds
        self._on_usage = on_usage
        self._positions: dict[int, int] = {}
        self._arrived: list[tuple[int, Event]] = []
        self._error: ApiError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Job:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self.fail, timed_out(self._seconds))
        try:
            self._submit()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def over(self) -> bool:
        """Whether every event has been received, and nothing failed."""
        return not (self._left or self._positions or self._arrived or self._error)

    async def receive(self, timeout: float | None = None) -> list[tuple[int, Event]]:
        """Waits for events: (position of the request, event). None after ``timeout`` seconds; raises ApiError."""
        if not (self._arrived or self._error or self.over):
            await self._wait(timeout)
        # What has arrived before a failure still counts.
        arrived, self._arrived = self._arrived, []
        if self._error and not arrived:
            raise self._error
        return arrived

    def put(self, event: Event) -> None:
        """Called by the hub."""
        position = self._positions[event.request_id]
        if event.kind == "failed":
            self.fail(from_engine(event.error or InternalError("failed for no reason"), self._prompt_field))
            return
        self._arrived.append((position, event))
        if event.kind == "done":
            del self._positions[event.request_id]
            if event.usage is not None:
                self._on_usage(event.usage, self._requests[position].get("choices", 1))
            self._submit_more()
        self._wake()

    def fail(self, error: ApiError) -> None:
        """Ends the job with ``error``."""
        self._error = self._error or error
        self.close()
        self._wake()

    def close(self) -> None:
        """Cancels what has not ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._left.clear()
        while self._positions:
            request_id, _ = self._positions.popitem()
            try:
                self._hub.cancel(request_id)
            except ClosedError:  # a closed engine has freed everything already
                return

    def _submit(self) -> None:
        while self._left and len(self._positions) < WINDOW:
            position = self._left[0]
            try:
                request_id = self._hub.submit(self._requests[position], self)
            except QueueFullError as error:
                if not self._positions:
                    raise from_engine(error, self._prompt_field) from error
                return  # the rest goes in when one of ours has ended
            except EngineError as error:
                raise from_engine(error, self._prompt_field) from error
            except (SpecialistError, OSError) as error:  # files of an adapter that has to be read again
                raise refused_adapter("an adapter of the request", error, "adapters") from error
            self._positions[request_id] = position
            self._left.popleft()

    def _submit_more(self) -> None:
        try:
            self._submit()
        except ApiError as error:
            self.fail(error)

    async def _wait(self, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout, self._wake) if timeout is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
