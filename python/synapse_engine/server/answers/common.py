"""What both kinds of answers share: identity, usage, the text of tokens, the loops that feed them events."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Protocol

from synapse_engine.server.errors import unavailable
from synapse_engine.server.sse import DONE, KEEP_ALIVE, frame

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from synapse_engine.server.jobs import Job
    from synapse_engine.server.native import Event
    from synapse_engine.server.served import Served
    from synapse_engine.server.swarm.report import Report


class Tally:
    """Adds up usage over the requests that make up one answer."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.cached_tokens = 0
        self.drafted_tokens = 0
        self.accepted_tokens = 0

    def add(self, usage: dict[str, Any] | None) -> None:
        """Takes in a ``done`` event's usage."""
        if usage is not None:
            self.completion_tokens += usage["completion_tokens"]
            self.cached_tokens += usage["cached_tokens"]
            self.drafted_tokens += usage["drafted_tokens"]
            self.accepted_tokens += usage["accepted_tokens"]

    def entry(self) -> dict[str, Any]:
        """The API's usage object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {
                "accepted_prediction_tokens": self.accepted_tokens,
                "rejected_prediction_tokens": self.drafted_tokens - self.accepted_tokens,
            },
        }


def envelope(prefix: str, kind: str, model: Served, report: Report | None) -> dict[str, Any]:
    """The fields around the choices."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}" if report is None else report.plan.response_id,
        "object": kind,
        "created": int(time.time()),
        "model": model.id if report is None else report.model,
        "system_fingerprint": model.fingerprint,
    }


def token_text(token: bytes) -> str:
    r"""A token as text; ``bytes:\xe2\x82`` where it is a part of a character."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


def reason_of(event: Event) -> str:
    """Why a choice ended, in the API's words; raises ApiError where it did not end by itself."""
    if event.finish_reason in ("stop", "length"):
        return event.finish_reason
    raise unavailable("The request was cancelled by the server")


class Chunks(Protocol):
    """An answer in pieces."""

    def chunks(self, position: int, event: Event) -> Iterable[dict[str, Any]]:
        """The pieces that an event makes."""

    def last(self) -> Iterable[dict[str, Any]]:
        """The pieces after all events."""


class Whole(Protocol):
    """An answer in one piece."""

    def add(self, position: int, event: Event) -> None:
        """Takes in an event."""

    def body(self) -> dict[str, Any]:
        """The answer, after all events."""


async def streamed(job: Job, answer: Chunks, keep_alive_seconds: float) -> AsyncGenerator[bytes, None]:
    """The frames of a stream."""
    with job:
        while not job.over:
            events = await job.receive(keep_alive_seconds)
            frames = b"".join(frame(chunk) for chunk in _chunks(answer, events))
            if frames:
                yield frames
            elif not events:
                yield KEEP_ALIVE
    yield b"".join(frame(chunk) for chunk in answer.last()) + DONE


def _chunks(answer: Chunks, events: list[tuple[int, Event]]) -> Iterator[dict[str, Any]]:
    for position, event in events:
        yield from answer.chunks(position, event)


async def collected(job: Job, answer: Whole) -> dict[str, Any]:
    """The body of an answer in one piece."""
    with job:
        while not job.over:
            for position, event in await job.receive():
                answer.add(position, event)
    return answer.body()
