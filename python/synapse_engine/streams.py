"""Answers as they come, for threads and for asyncio. An answer nobody reads any more is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from synapse_engine._engine import EventQueue
from synapse_engine.results import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from synapse_engine import _engine
    from synapse_engine._engine import Event
    from synapse_engine.results import Generation
    from synapse_engine.routing import Decision

    Submit = Callable[[dict[str, Any], EventQueue], int]


class Stream:
    """Iterates over the pieces of an answer. Closing it, or dropping it, frees its slot."""

    def __init__(
        self,
        native: _engine.Engine,
        request: dict[str, Any],
        decision: Decision | None = None,
        submit: Submit | None = None,
    ) -> None:
        self._native = native
        self._queue = EventQueue()
        self._pieces: deque[str] = deque()
        self._outcome = Outcome(decision)
        self._id: int | None = (submit or native.submit)(request, self._queue)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        while not self._pieces:
            if self._id is None or self._outcome.done:
                raise StopIteration
            for event in self._queue.receive():
                if piece := self._outcome.add(event):
                    self._pieces.append(piece)
        return self._pieces.popleft()

    def finish(self) -> Outcome:
        """Waits for the end."""
        for _ in self:
            pass
        return self._outcome

    @property
    def result(self) -> Generation:
        """The answer so far; complete once the iteration has ended."""
        return self._outcome.generation()

    def close(self) -> None:
        """Cancels what has not come yet; what was not read yet is dropped."""
        request_id, self._id = self._id, None
        self._pieces.clear()
        if request_id is not None and not self._outcome.done:
            self._native.cancel(request_id)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_id", None) is not None:
            self.close()


class Dispatcher:
    """Hands events to asyncio: one thread for all requests of an engine, started by the first."""

    POLL_SECONDS = 0.25

    def __init__(self, native: _engine.Engine, submit: Submit) -> None:
        self._native = native
        self._engine_submit = submit
        self._queue = EventQueue()
        self._deliver: dict[int, Callable[[Event], object]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, request: dict[str, Any], outcome: Outcome) -> AsyncGenerator[str, None]:
        """Yields the pieces of an answer; leaving early cancels it."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        request_id = self._submit(request, lambda event: loop.call_soon_threadsafe(events.put_nowait, event))
        try:
            while not outcome.done:
                if piece := outcome.add(await events.get()):
                    yield piece
        finally:
            self._forget(request_id, cancel=not outcome.done)

    def close(self) -> None:
        """Ends the thread."""
        self._closed = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    # The lock is held across submit, so that no event can arrive before its receiver is known.
    def _submit(self, request: dict[str, Any], deliver: Callable[[Event], object]) -> int:
        with self._lock:
            request_id = self._engine_submit(request, self._queue)
            self._deliver[request_id] = deliver
            if self._thread is None:
                self._thread = threading.Thread(target=self._pump, name="synapse-events", daemon=True)
                self._thread.start()
            return request_id

    def _forget(self, request_id: int, *, cancel: bool) -> None:
        with self._lock:
            self._deliver.pop(request_id, None)
        if cancel:
            self._native.cancel(request_id)

    def _pump(self) -> None:
        while not self._closed:
            for event in self._queue.receive(self.POLL_SECONDS):
                with self._lock:
                    deliver = self._deliver.get(event.request_id)
                if deliver is not None:
                    self._hand_over(event, deliver)

    def _hand_over(self, event: Event, deliver: Callable[[Event], object]) -> None:
        try:
            deliver(event)
        except RuntimeError:  # the request's event loop was closed under it
            self._forget(event.request_id, cancel=True)
