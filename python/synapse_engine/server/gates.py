"""Who may call the API: the right host name, no foreign web page, the right key. Looks at headers only."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from synapse_engine.server.errors import ApiError
from synapse_engine.server.options import parse_address

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from synapse_engine.server.options import ServerOptions

LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}
OPEN_PATHS = {"/health"}
PREFLIGHT_SECONDS = 600


class Gates:
    """ASGI middleware: refuses a request before anything of it is read."""

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app = app
        self._names = LOCAL_NAMES | {plain_host(name) for name in (options.host, *options.allowed_hosts)}
        address = parse_address(options.host)
        self._everywhere = address is not None and address.is_unspecified
        self._origins = {origin.rstrip("/").lower() for origin in options.allowed_origins}
        self._key = options.api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what may pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        try:
            self._check_host(headers)
            self._check_origin(headers, origin)
            if is_preflight(scope, headers):
                await preflight(headers)(scope, receive, shared_with(origin, send))
                return
            self._check_key(scope, headers)
        except ApiError as error:
            await error.response()(scope, receive, shared_with(self._allowed(origin), send))
            return
        await self._app(scope, receive, shared_with(self._allowed(origin), send))

    # A page of an attacker may give its own name this machine's address; the Host header still has that name.
    def _check_host(self, headers: Headers) -> None:
        host = plain_host(headers.get("host", ""))
        if host in self._names or (self._everywhere and parse_address(host) is not None):
            return
        message = f"The server is not known by the name {host[:80]!r}; add it with --allow-host if it should be"
        raise ApiError(HTTPStatus.FORBIDDEN, message, code="host_not_allowed")

    def _check_origin(self, headers: Headers, origin: str | None) -> None:
        if origin is None or self._allowed(origin) or origin.lower() == f"http://{headers.get('host', '')}".lower():
            return
        message = f"Web pages of {origin[:80]!r} may not use this server; allow them with --cors-origin"
        raise ApiError(HTTPStatus.FORBIDDEN, message, code="origin_not_allowed")

    def _allowed(self, origin: str | None) -> str | None:
        """``origin``, if it may read answers."""
        if origin is not None and ("*" in self._origins or origin.lower() in self._origins):
            return origin
        return None

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        if self._key is None or scope["path"] in OPEN_PATHS:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key.encode()):
            return
        message = "The API key is missing or wrong; send it as `Authorization: Bearer KEY`"
        challenge = {"WWW-Authenticate": "Bearer"}
        raise ApiError(HTTPStatus.UNAUTHORIZED, message, code="invalid_api_key", headers=challenge)


def plain_host(host: str) -> str:
    """A host without port and brackets, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    # Two colons or more: an IPv6 address as an option has it.
    return host if host.count(":") > 1 else host.partition(":")[0].rstrip(".")


def is_preflight(scope: Scope, headers: Headers) -> bool:
    """Whether a browser asks what a page may do."""
    return scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight(headers: Headers) -> Response:
    """The answer: the methods of this API with the headers that were asked for."""
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    answer.headers["access-control-allow-methods"] = "GET, POST, DELETE, OPTIONS"
    answer.headers["access-control-max-age"] = str(PREFLIGHT_SECONDS)
    if wanted := headers.get("access-control-request-headers"):
        answer.headers["access-control-allow-headers"] = wanted
    if headers.get("access-control-request-private-network") == "true":
        answer.headers["access-control-allow-private-network"] = "true"
    return answer


def shared_with(origin: str | None, send: Send) -> Send:
    """Tells the browser that pages of ``origin`` may read the answer."""
    if origin is None:
        return send

    async def send_shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-allow-origin"] = origin
            headers["access-control-expose-headers"] = "x-request-id, retry-after"
            headers.add_vary_header("origin")
        await send(message)

    return send_shared
