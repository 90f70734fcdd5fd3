"""``POST /v1/chat/completions``."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from synapse_engine.server.answers.chat import ChatChunks, ChatWhole
from synapse_engine.server.answers.common import collected, streamed
from synapse_engine.server.disconnect import while_connected
from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.chat import ChatBody
from synapse_engine.server.sse import EventStream
from synapse_engine.server.state import client_of, state_of

router = APIRouter()


@router.post("/v1/chat/completions", openapi_extra=takes(ChatBody), summary="Answer a conversation")
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions; `docs/api.md` says what each field does here."""
    state = state_of(request)
    body = await state.body(request, ChatBody)
    model = state.registry.find(body.model)
    tokens = await state.chat_tokens(model, body.messages)
    work = body.request(tokens) | {"client": client_of(request, body.end_user)}
    job = state.job(model, [work], "messages")
    if body.stream:
        answer = ChatChunks(body, model, len(tokens))
        return EventStream(streamed(job, answer, state.options.keep_alive_seconds))
    whole = collected(job, ChatWhole(body, model, len(tokens)))
    return JSONResponse(await while_connected(request.receive, whole))
