"""``POST /v1/chat/completions``: by a model, by a specialist over it, or by several."""

from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from synapse_engine.server.answers.chat import PREFIX, ChatChunks, ChatWhole
from synapse_engine.server.answers.common import collected, streamed
from synapse_engine.server.disconnect import while_connected
from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.chat import ChatBody
from synapse_engine.server.sse import EventStream
from synapse_engine.server.state import State, client_of, state_of
from synapse_engine.server.swarm.plan import Asked
from synapse_engine.server.swarm.report import Report
from synapse_engine.server.swarm.several import Several
from synapse_engine.server.swarm.work import ChatWork, add_adapters, chat_work

router = APIRouter()


@router.post("/v1/chat/completions", openapi_extra=takes(ChatBody), summary="Answer a conversation")
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions; `docs/api.md` says what each field does here."""
    state = state_of(request)
    body = await state.body(request, ChatBody)
    asked = state.registry.asked(body.model, body.synapse)
    client = client_of(request, body.end_user)
    report = None if asked.plain else await reported(state, asked, body)
    candidates = [None] if report is None else [candidate.specialist for candidate in report.plan.candidates]
    with state.trace.failures(report):
        work = await chat_work(state, body, asked.model, candidates, client)
        await add_adapters(state, work, report)
    if body.stream:
        return EventStream(state.trace.frames(report, frames(state, work, report)))
    with state.trace.outcome(report):
        return JSONResponse(await while_connected(request.receive, whole(state, work, report)))


async def reported(state: State, asked: Asked, body: ChatBody) -> Report:
    """Who answers, and why; raises ApiError."""
    plan = await state.plan(PREFIX, asked, body, body.turns)
    return Report(plan, plan.candidates[0].name if plan.mode == "single" else None)


def frames(state: State, work: list[ChatWork], report: Report | None) -> AsyncGenerator[bytes, None]:
    """The answer in pieces."""
    if report is not None and len(work) > 1:
        return Several(state, work, report).frames()
    (one,) = work
    job = state.job(one.model, [one.request], "messages")
    return streamed(job, ChatChunks(one.body, one.model, one.prompt_tokens, report), state.options.keep_alive_seconds)


def whole(state: State, work: list[ChatWork], report: Report | None) -> Coroutine[None, None, dict[str, Any]]:
    """The answer in one piece."""
    if report is not None and len(work) > 1:
        return Several(state, work, report).whole()
    (one,) = work
    job = state.job(one.model, [one.request], "messages")
    return collected(job, ChatWhole(one.body, one.model, one.prompt_tokens, report))
