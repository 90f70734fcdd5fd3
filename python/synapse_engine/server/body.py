"""Reads a request's body: of the right kind, not too large, not too slowly. Does not look inside."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from synapse_engine.server.errors import ApiError, ClientGoneError, bad_request

if TYPE_CHECKING:
    from fastapi import Request

    from synapse_engine.server.options import ServerOptions


async def read_body(request: Request, options: ServerOptions) -> bytes:
    """The whole body; raises ApiError."""
    check_content_type(request)
    check_length(request, options.max_body_bytes)
    try:
        return await asyncio.wait_for(read_at_most(request, options.max_body_bytes), options.body_seconds)
    except asyncio.TimeoutError:
        message = f"The request's body did not arrive within {options.body_seconds:g} s"
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, message, type="timeout_error", code="request_timeout") from None
    except ClientDisconnect:
        raise ClientGoneError from None


def check_content_type(request: Request) -> None:
    """Only JSON: other types can be sent by any web page without asking first."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = f"expected the header `Content-Type: application/json`, found {content_type[:80]!r}"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, code="unsupported_media_type")


def check_length(request: Request, limit: int) -> None:
    """Refuses what is announced as too large before any of it is read."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise bad_request(f"expected a number in the header Content-Length, found {announced[:40]!r}")
    if int(announced[:20]) > limit:
        raise too_large(limit)


async def read_at_most(request: Request, limit: int) -> bytes:
    """Reads no more than ``limit`` bytes, whatever was announced."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int) -> ApiError:
    """A body beyond the limit. The connection is closed, so that the rest of it need not be read."""
    message = f"The request's body is larger than {limit} bytes, the server's limit"
    headers = {"Connection": "close"}
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return ApiError(status, message, code="request_too_large", headers=headers)
