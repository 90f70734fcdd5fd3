"""``/v1/route`` and ``/v1/feedback``: who would answer, why, and what users say to that."""

import json
import secrets
import time
from typing import Any, cast

from fastapi import APIRouter, Request

from synapse_engine.routing import Decision, Router, RoutingError
from synapse_engine.server.errors import ApiError, bad_request, response_not_found, specialist_not_found
from synapse_engine.server.openapi import takes
from synapse_engine.server.routes.specialists import unwritable
from synapse_engine.server.schemas.routing import FeedbackBody, RequestBody, RouteBody
from synapse_engine.server.state import state_of
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.store.paths import home

router = APIRouter()
LARGEST_REGION = 2**63
PART = {
    "parameters": [
        {"name": "region", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 0}},
        {"name": "specialist", "in": "query", "required": False, "schema": {"type": "string"}},
    ]
}


@router.post("/v1/route", openapi_extra=takes(RouteBody), summary="Say who would answer")
async def route(request: Request) -> dict[str, Any]:
    """The decision that a chat with the model `synapse` would begin with; nothing is generated."""
    state = state_of(request)
    body = await state.body(request, RouteBody)
    return await state.work(lambda: routed(state.desk, body))


def routed(desk: Desk, body: RouteBody) -> dict[str, Any]:
    """The response; feedback may name its id. Raises ApiError."""
    now = router_of(desk)
    decision = decided(now, body)
    response_id = f"route-{secrets.token_hex(12)}"
    now.remember(response_id, decision)
    told = decision.explain() if body.explain else decision.as_dict()
    return {"id": response_id, "object": "route", "created": int(time.time()), **told}


@router.post("/v1/feedback", openapi_extra=takes(FeedbackBody), summary="Say who was right or wrong")
async def give_feedback(request: Request) -> dict[str, Any]:
    """Moves the routing of requests like this one; `docs/feedback.md` says how far and for how long."""
    state = state_of(request)
    body = await state.body(request, FeedbackBody)
    return await state.work(lambda: learned(state.desk, body))


def learned(desk: Desk, body: FeedbackBody) -> dict[str, Any]:
    """What came of it; raises ApiError."""
    now = router_of(desk)
    try:
        decision = decided(now, body) if body.response_id is None else now.remembered(body.response_id)
        specialist = decision.specialist if body.specialist is None else body.specialist
        return {"object": "feedback", **now.react(decision, specialist, body.value()).as_dict()}
    except RoutingError as error:
        raise refusal(error, body) from error
    except OSError as error:
        raise unwritable(home().feedback, error) from error


@router.get("/v1/feedback", summary="Export what feedback taught")
async def export_feedback(request: Request) -> dict[str, Any]:
    """As `synapse feedback import` takes it."""
    state = state_of(request)
    exported: dict[str, Any] = await state.work(lambda: json.loads(router_of(state.desk).hebbian.export_json()))
    return exported


@router.delete("/v1/feedback", openapi_extra=PART, summary="Forget what feedback taught")
async def reset_feedback(request: Request) -> dict[str, Any]:
    """All, or what is tied to a `specialist`, in a `region`, or both."""
    state = state_of(request)
    region, specialist = region_of(request), request.query_params.get("specialist")
    gone = await state.work(lambda: reset(state.desk, region, specialist))
    return {"object": "feedback.deleted", "deleted": gone}


def reset(desk: Desk, region: int | None, specialist: str | None) -> int:
    """How many ties are gone; raises ApiError."""
    try:
        return router_of(desk).hebbian.reset(region=region, specialist=specialist)
    except OSError as error:
        raise unwritable(home().feedback, error) from error


def region_of(request: Request) -> int | None:
    """The region asked for; raises ApiError for anything that would otherwise reset more than was meant."""
    for name in request.query_params:
        if name not in ("region", "specialist"):
            raise bad_request(f"{name[:60]}: there is no such field", name[:60], "unknown_parameter")
    text = request.query_params.get("region")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and int(text[:20]) < LARGEST_REGION):
        raise bad_request(f"region: expected the number of a region, found {text[:60]!r}", "region")
    return int(text)


def router_of(desk: Desk) -> Router:
    """The router over the specialists as they are now; it bears several threads. Raises ApiError."""
    return cast("Router", desk.router())


def decided(now: Router, body: RequestBody) -> Decision:
    """Who would answer; raises ApiError."""
    try:
        return now.route(body.turns())
    except RoutingError as error:
        raise refusal(error, body) from error


def refusal(error: RoutingError, body: RequestBody) -> ApiError:
    """What the router refuses, in HTTP."""
    message = f"{error}; {error.hint}" if error.hint else str(error)
    if error.param == "specialist":
        return specialist_not_found(error, "specialist")
    if error.param == "response_id":
        return response_not_found(message)
    return bad_request(message, body.field if error.param == "messages" else error.param)
