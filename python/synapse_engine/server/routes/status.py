"""What is served and how it is doing: ``/v1/models``, ``/health``, ``/metrics``."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from synapse_engine import _engine
from synapse_engine.server.errors import model_not_found
from synapse_engine.server.metrics import CONTENT_TYPE
from synapse_engine.server.served import Served, card
from synapse_engine.server.state import State, state_of
from synapse_engine.specialists.adapters import PREFIX
from synapse_engine.specialists.applying import ROUTE

router = APIRouter()


@router.get("/v1/models", summary="List the models")
async def models(request: Request) -> dict[str, Any]:
    """OpenAI's list of models: those served, what routes between specialists, and each of these."""
    return {"object": "list", "data": await state_of(request).work(lambda: cards(state_of(request)))}


def cards(state: State) -> list[dict[str, Any]]:
    """One for each name that a request may ask for."""
    served = list(state.registry.models.values())
    names = [ROUTE, *(PREFIX + specialist.name for specialist in state.desk.library.all())]
    return [model.card() for model in served] + [card(name, served[0].created) for name in names]


# A model's id may hold slashes.
@router.get("/v1/models/{name:path}", summary="Show a model")
async def model(request: Request, name: str) -> dict[str, Any]:
    """OpenAI's model object."""
    state = state_of(request)
    if name == ROUTE or name.startswith(PREFIX):
        for one in await state.work(lambda: cards(state)):
            if one["id"] == name:
                return one
        raise model_not_found(name, [ROUTE, *state.registry.models], "model")
    return state.registry.find(name).card()


@router.get("/health", summary="Say whether the server works")
async def health(request: Request) -> Response:
    """200 if every model can answer, else 503. Needs no API key."""
    closed = [model.id for model in state_of(request).registry.models.values() if not works(model)]
    status = HTTPStatus.SERVICE_UNAVAILABLE if closed else HTTPStatus.OK
    body = {"status": "unavailable" if closed else "ok", "version": _engine.__version__, "unavailable": closed}
    return JSONResponse(body, status)


def works(model: Served) -> bool:
    """Whether the engine still runs."""
    try:
        model.native.stats()
    except _engine.EngineError:
        return False
    return True


@router.get("/metrics", summary="Numbers for Prometheus")
async def metrics(request: Request) -> Response:
    """Queue, times, tokens, KV pages, responses; see `docs/api.md`."""
    state = state_of(request)
    return Response(await state.work(state.metrics.text), media_type=CONTENT_TYPE)
