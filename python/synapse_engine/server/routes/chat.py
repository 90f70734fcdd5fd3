"""``POST /v1/chat/completions``: by a model, by a specialist over it, or by several."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from synapse_engine.server.answers.chat import ChatChunks, ChatWhole
from synapse_engine.server.answers.common import collected, streamed
from synapse_engine.server.disconnect import while_connected
from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.chat import ChatBody
from synapse_engine.server.sse import EventStream
from synapse_engine.server.state import State, client_of, state_of
from synapse_engine.server.swarm.plan import Plan
from synapse_engine.server.swarm.report import Report
from synapse_engine.server.swarm.several import Several
from synapse_engine.server.swarm.work import ChatWork, chat_work

router = APIRouter()


@router.post("/v1/chat/completions", openapi_extra=takes(ChatBody), summary="Answer a conversation")
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions; `docs/api.md` says what each field does here."""
    state = state_of(request)
    body = await state.body(request, ChatBody)
    asked = state.registry.asked(body.model, body.synapse)
    client = client_of(request, body.end_user)
    if asked.plain:
        return await answer(request, state, await chat_work(state, body, asked.model, None, client))
    plan = await state.plan(asked, body, body.turns)
    work = [await chat_work(state, body, plan.model, one.specialist, client, plan) for one in plan.candidates]
    if len(work) == 1:
        return await answer(request, state, work[0], Report(plan, plan.candidates[0].name))
    return await several(request, state, plan, work)


async def answer(request: Request, state: State, work: ChatWork, report: Report | None = None) -> Response:
    """One answers."""
    job = state.job(work.model, [work.request], "messages")
    if work.body.stream:
        chunks = ChatChunks(work.body, work.model, work.prompt_tokens, report)
        return EventStream(streamed(job, chunks, state.options.keep_alive_seconds))
    whole = collected(job, ChatWhole(work.body, work.model, work.prompt_tokens, report))
    return JSONResponse(await while_connected(request.receive, whole))


async def several(request: Request, state: State, plan: Plan, work: list[ChatWork]) -> Response:
    """Several answer side by side; one answer comes of it."""
    answers = Several(state, plan, work, Report(plan, None))
    if work[0].body.stream:
        return EventStream(answers.frames())
    return JSONResponse(await while_connected(request.receive, answers.whole()))
