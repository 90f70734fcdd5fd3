"""Counts and writes down what became of each decision: answered, failed, or given up by the client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from synapse_engine.routing import NONE
from synapse_engine.server.errors import ApiError, ClientGoneError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from prometheus_client import Counter

    from synapse_engine.server.swarm.report import Report
    from synapse_engine.traces import TraceFile

LEFT = "client left"


class Trace:
    """The trace of a server, if it keeps one. A request without a report has no decision to note."""

    def __init__(self, file: TraceFile | None, counter: Counter) -> None:
        self._file, self._counter = file, counter

    @contextmanager
    def failures(self, report: Report | None) -> Iterator[None]:
        """Notes a failure before there is an answer."""
        try:
            yield
        except ApiError as error:
            self._note(report, _failure(error))
            raise

    @contextmanager
    def outcome(self, report: Report | None) -> Iterator[None]:
        """Notes how the answer ended."""
        try:
            yield
        except (ClientGoneError, asyncio.CancelledError, GeneratorExit):
            self._note(report, LEFT)
            raise
        except ApiError as error:
            self._note(report, _failure(error))
            raise
        except Exception:
            self._note(report, "failed: internal_error")
            raise
        self._note(report)

    async def frames(self, report: Report | None, frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """A stream as it is; how it ended is noted."""
        with self.outcome(report):
            async with aclosing(frames):
                async for part in frames:
                    yield part

    def close(self) -> None:
        """No more comes."""
        if self._file is not None:
            self._file.close()

    def _note(self, report: Report | None, failure: str | None = None) -> None:
        if report is None:
            return
        decision = report.plan.decision
        self._counter.labels(report.chosen or NONE, report.plan.mode, decision.reason).inc()
        if self._file is not None:
            self._file.add(record(report, failure or report.finish or "failed"))


def _failure(error: ApiError) -> str:
    return f"failed: {error.body['error']['code']}"


def record(report: Report, finish: str) -> dict[str, Any]:
    """A line of the trace."""
    plan = report.plan
    return {
        "id": plan.response_id,
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "asked": plan.asked,
        "base": plan.model.id,
        "turns": plan.turns,
        "decision": plan.decision.as_dict(),
        **{name: value for name, value in report.entry().items() if name not in ("probabilities", "reason")},
        "finish": finish,
    }
