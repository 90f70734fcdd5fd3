"""``/v1/adapters``: what the models of this server have loaded beside their weights."""

import asyncio
import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, Request

from synapse_engine._engine import ClosedError, EngineError, RequestError
from synapse_engine.server.errors import ApiError, from_engine, refused_adapter
from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.library import AdapterBody
from synapse_engine.server.served import Served
from synapse_engine.server.state import State, state_of

router = APIRouter()
OBJECT = "adapter"
T = TypeVar("T")


@router.get("/v1/adapters", summary="List the loaded adapters")
async def adapters(request: Request) -> dict[str, Any]:
    """Those of every model; a specialist's is called `synapse/NAME` and is there from its first use on."""
    state = state_of(request)
    data = []
    for model in state.registry.models.values():
        data += [entry(model, found) for found in await loading(state, model.native.adapters)]
    return {"object": "list", "data": data}


@router.post("/v1/adapters", openapi_extra=takes(AdapterBody), summary="Load or replace an adapter")
async def load(request: Request) -> dict[str, Any]:
    """Other requests go on; those that use the one that is replaced finish with it."""
    state = state_of(request)
    body = await state.body(request, AdapterBody)
    model = state.registry.find_or_only(body.model)
    task = functools.partial(model.native.load_adapter, body.name, body.path)
    try:
        return entry(model, await loading(state, task))
    except EngineError as error:
        raise refused_adapter(f"path: the adapter {body.path[:200]}", error, "path") from error


@router.delete("/v1/adapters/{name:path}", summary="Unload an adapter")
async def unload(request: Request, name: str, model: str | None = None) -> dict[str, Any]:
    """Its memory is free when the requests that use it have ended."""
    state = state_of(request)
    served = state.registry.find_or_only(model)
    try:
        await loading(state, functools.partial(served.shelf.unload, name))
    except RequestError as error:
        message = f"{error}; {error.hint}" if error.hint else str(error)
        raise ApiError(HTTPStatus.NOT_FOUND, message, param="name", code="adapter_not_found") from error
    return {"object": f"{OBJECT}.deleted", "name": name, "deleted": True}


async def loading(state: State, task: Callable[[], T]) -> T:
    """Runs ``task`` where adapters are read."""
    try:
        return await asyncio.get_running_loop().run_in_executor(state.loaders, task)
    except ClosedError as error:
        raise from_engine(error, "path") from error


def entry(model: Served, adapter: dict[str, Any]) -> dict[str, Any]:
    """The API's adapter object."""
    return {"object": OBJECT, "model": model.id, **adapter}
