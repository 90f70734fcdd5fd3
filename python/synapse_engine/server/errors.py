"""Every way the API says no, in the shape of the OpenAI API: {"error": {message, type, param, code}}."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from synapse_engine._engine import (
    ClosedError,
    ContextLengthError,
    EngineError,
    ModelError,
    QueueFullError,
    RequestError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

    from synapse_engine.routing import RoutingError
    from synapse_engine.specialists import SpecialistError

log = logging.getLogger("synapse_engine.server")

Code = Literal[
    "adapter_not_found",
    "context_length_exceeded",
    "host_not_allowed",
    "internal_error",
    "invalid_api_key",
    "invalid_json",
    "invalid_value",
    "method_not_allowed",
    "missing_required_parameter",
    "model_not_found",
    "not_found",
    "origin_not_allowed",
    "queue_full",
    "request_timeout",
    "request_too_large",
    "response_not_found",
    "service_unavailable",
    "specialist_not_found",
    "storage_error",
    "unknown_parameter",
    "unsupported_media_type",
    "unsupported_parameter",
]
"""All values of ``error.code``; docs/api.md lists them."""

INVALID_REQUEST = "invalid_request_error"
HTTP_CODES: dict[int, Code] = {404: "not_found", 405: "method_not_allowed"}
CLIENT_CLOSED_REQUEST = 499
RETRY_SECONDS = 1


class ApiError(Exception):
    """An answer that is not what the client hoped for."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: Code | None = None,
        type: str = INVALID_REQUEST,  # noqa: A002 - the API's word
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"error": {"message": message, "type": type, "param": param, "code": code}}

    def response(self) -> Response:
        """As an HTTP response."""
        return JSONResponse(self.body, self.status, headers=self.headers)


class ClientGoneError(Exception):
    """The client has closed the connection; nobody reads the answer."""


def bad_request(message: str, param: str | None = None, code: Code = "invalid_value") -> ApiError:
    """A request that can never succeed as it is."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)


def model_not_found(name: str, served: list[str], param: str) -> ApiError:
    """A model that is not served here."""
    message = f"The model `{name}` is not served here; there is {', '.join(f'`{known}`' for known in served)}"
    return ApiError(HTTPStatus.NOT_FOUND, message, param=param, code="model_not_found")


def specialist_not_found(error: SpecialistError | RoutingError, param: str | None) -> ApiError:
    """A specialist that nobody knows, or whose file cannot be used."""
    message = f"{error}; {error.hint}" if error.hint else str(error)
    return ApiError(HTTPStatus.NOT_FOUND, message, param=param, code="specialist_not_found")


def refused_adapter(what: str, error: Exception, param: str) -> ApiError:
    """An adapter that cannot be loaded into this model."""
    hint = getattr(error, "hint", None)
    return bad_request(f"{what} cannot be used: {error}" + (f"; {hint}" if hint else ""), param)


def response_not_found(message: str) -> ApiError:
    """Feedback on a response that is not, or no longer, remembered."""
    return ApiError(HTTPStatus.NOT_FOUND, message, param="response_id", code="response_not_found")


def timed_out(seconds: float) -> ApiError:
    """A request that took longer than the server allows."""
    message = f"The request took longer than {seconds:g} s, the server's limit"
    return ApiError(HTTPStatus.GATEWAY_TIMEOUT, message, type="timeout_error", code="request_timeout")


def shutting_down() -> ApiError:
    """The server is stopping."""
    return unavailable("The server is shutting down")


def unavailable(message: str) -> ApiError:
    """The model cannot answer any more."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return ApiError(status, message, type="service_unavailable_error", code="service_unavailable")


def from_engine(error: EngineError, prompt_field: str) -> ApiError:
    """What the engine's error is in HTTP. ``prompt_field`` is what this endpoint calls the prompt."""
    message = f"{error}; {error.hint}" if error.hint else str(error)
    if isinstance(error, ContextLengthError):
        return bad_request(message, prompt_field, "context_length_exceeded")
    if isinstance(error, RequestError):
        if error.param in {"tokens", "messages"}:
            return bad_request(prompt_field + message.removeprefix(error.param), prompt_field)
        return bad_request(message, error.param or None)
    if isinstance(error, ModelError):  # at this point: a chat template that the model has not, or that cannot be used
        return bad_request(message, prompt_field)
    if isinstance(error, QueueFullError):
        headers = {"Retry-After": str(RETRY_SECONDS)}
        status = HTTPStatus.TOO_MANY_REQUESTS
        return ApiError(status, message, type="rate_limit_error", code="queue_full", headers=headers)
    if isinstance(error, ClosedError):
        return unavailable(message)
    log.error("the engine failed: %s", message)
    return internal_error(message)


def install(app: FastAPI) -> None:
    """Makes every error of ``app`` an OpenAI error."""

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(ClientGoneError)
    async def client_gone(_request: Request, _error: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return ApiError(
            error.status_code, message, code=HTTP_CODES.get(error.status_code), headers=error.headers
        ).response()

    # Starlette raises the error again after this answer, and uvicorn logs it with its traceback.
    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> Response:
        return internal_error("The server failed; its log says why").response()


def internal_error(message: str) -> ApiError:
    """A bug of ours."""
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message, type="server_error", code="internal_error")
