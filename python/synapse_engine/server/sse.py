"""Server-sent events: frames, keep-alive comments, errors after the headers have gone out."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from synapse_engine.server.disconnect import while_connected
from synapse_engine.server.errors import ApiError, ClientGoneError, internal_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Message, Receive, Scope, Send

log = logging.getLogger("synapse_engine.server")

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": still working\n\n"
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def frame(chunk: dict[str, Any]) -> bytes:
    """One event."""
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream(Response):
    """Sends frames as they come. A client that goes away closes ``frames`` at once.

    What fails before the first frame is an ordinary error with its status; later errors are frames themselves.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]  # not known yet
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the stream to its end."""
        try:
            await while_connected(receive, self._send_all(scope, receive, send))
        except ClientGoneError:
            log.debug("the client left a stream")
        finally:
            await self._frames.aclose()

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            first = await anext(self._frames)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(part(first))
        async for frames in self._guarded():
            await send(part(frames))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _guarded(self) -> AsyncGenerator[bytes, None]:
        try:
            async for frames in self._frames:
                yield frames
        except ApiError as error:
            yield frame(error.body)
        except Exception:
            log.exception("a stream failed")
            yield frame(internal_error("The server failed; its log says why").body)


def part(frames: bytes) -> Message:
    """A part of the body in ASGI's words."""
    return {"type": "http.response.body", "body": frames, "more_body": True}
