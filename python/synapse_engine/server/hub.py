"""Carries the engine's events to the HTTP requests that wait for them: one thread per engine, one wake-up per batch.

Knows request ids and events; not what is in them, and nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from synapse_engine import _engine
from synapse_engine.server.errors import internal_error, shutting_down

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synapse_engine.server.errors import ApiError
    from synapse_engine.server.jobs import Job
    from synapse_engine.server.native import Event, EventQueue, NativeEngine
    from synapse_engine.specialists.adapters import Shelf

log = logging.getLogger("synapse_engine.server")

POLL_SECONDS = 0.25


class Hub:
    """All requests of one engine. Lives on one event loop; only ``_pump`` runs elsewhere."""

    def __init__(
        self, native: NativeEngine, shelf: Shelf, new_queue: Callable[[], EventQueue] = _engine.EventQueue
    ) -> None:
        self.native = native
        self._shelf = shelf
        self._queue = new_queue()
        self._jobs: dict[int, Job] = {}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    # Events reach the loop through call_soon_threadsafe, so none can be delivered before submit has noted its id.
    # The shelf may read an adapter, which holds up the loop: only if it was taken out in the moment since it was ready.
    def submit(self, request: dict[str, Any], job: Job) -> int:
        """Hands work to the engine; its events will go to ``job``."""
        if self._stopping.is_set():
            raise shutting_down()
        self._start()
        request_id = self._shelf.submit(request, self._queue)
        self._jobs[request_id] = job
        return request_id

    def cancel(self, request_id: int) -> None:
        """Frees the request's slot; none of its events will be delivered any more."""
        if self._jobs.pop(request_id, None) is not None:
            self.native.cancel(request_id)

    def fail_all(self, error: ApiError) -> None:
        """Ends every request with ``error``."""
        for job in set(self._jobs.values()):
            job.fail(error)

    def stop(self) -> None:
        """Takes no more work and ends what is left of it."""
        self._stopping.set()
        self.fail_all(shutting_down())

    def join(self) -> None:
        """Waits for the thread."""
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._pump, args=(loop,), name="synapse-server-events", daemon=True)
            self._thread.start()

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.is_set():
            events = self._queue.receive(POLL_SECONDS)
            if not events:
                continue
            try:
                loop.call_soon_threadsafe(self._deliver, events)
            except RuntimeError:  # the loop is closed: nobody is left to deliver to
                return

    def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            over = event.kind in ("done", "failed")
            job = self._jobs.pop(event.request_id, None) if over else self._jobs.get(event.request_id)
            if job is not None:
                self._hand_over(event, job)

    # Whatever goes wrong with one request, the events behind it belong to others.
    def _hand_over(self, event: Event, job: Job) -> None:
        try:
            job.put(event)
        except Exception:
            log.exception("an event could not be taken in")
            job.fail(internal_error("The server failed; its log says why"))
