"""``POST /v1/completions``."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from synapse_engine.server.answers.common import collected, streamed
from synapse_engine.server.answers.completions import PREFIX, CompletionChunks, CompletionWhole, Source
from synapse_engine.server.disconnect import while_connected
from synapse_engine.server.errors import bad_request
from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.completions import CompletionBody
from synapse_engine.server.schemas.prompts import Prompt
from synapse_engine.server.served import Served
from synapse_engine.server.sse import EventStream
from synapse_engine.server.state import State, client_of, state_of
from synapse_engine.server.swarm.plan import Asked
from synapse_engine.server.swarm.report import Report
from synapse_engine.specialists.applying import ROUTE

router = APIRouter()


@router.post("/v1/completions", openapi_extra=takes(CompletionBody), summary="Continue a text")
async def completions(request: Request) -> Response:
    """OpenAI's completions; `docs/api.md` says what each field does here."""
    state = state_of(request)
    body = await state.body(request, CompletionBody)
    asked = state.registry.asked(body.model, body.synapse)
    report = None if asked.plain else await reported(state, asked, body)
    with state.trace.failures(report):
        sources, work = await prepared(request, state, body, asked.model, report)
    job = state.job(asked.model, work, "prompt")
    if body.stream:
        chunks = CompletionChunks(body, asked.model, sources, report)
        return EventStream(state.trace.frames(report, streamed(job, chunks, state.options.keep_alive_seconds)))
    whole = collected(job, CompletionWhole(body, asked.model, sources, report))
    with state.trace.outcome(report):
        return JSONResponse(await while_connected(request.receive, whole))


async def prepared(
    request: Request, state: State, body: CompletionBody, model: Served, report: Report | None
) -> tuple[list[Source], list[dict[str, Any]]]:
    """The prompts, and the engine's requests for them as the specialist wants them. Raises ApiError."""
    specialist = None if report is None else report.plan.candidates[0].specialist
    habits = body if specialist is None else body.with_defaults(specialist.sampling)
    prompts = await state.prompt_tokens(model, body.prompt, "prompt")
    sources = await state.engine_work(lambda: sources_of(model, body, prompts), "prompt")
    extra = await state.adapters(model, specialist, body.adapters, report)
    extra["client"] = client_of(request, body.end_user)
    return sources, [work | extra for work in habits.requests(prompts)]


async def reported(state: State, asked: Asked, body: CompletionBody) -> Report:
    """Who continues the text, and why; raises ApiError."""
    if asked.routed and not (len(body.prompt) == 1 and isinstance(body.prompt[0], str)):
        raise bad_request(f"prompt: `{ROUTE}` routes one text; name a specialist for token ids or several", "prompt")
    text = body.prompt[0] if isinstance(body.prompt[0], str) else ""
    plan = await state.plan(PREFIX, asked, body, [{"role": "user", "content": text}])
    return Report(plan, plan.candidates[0].name)


def sources_of(model: Served, body: CompletionBody, prompts: list[list[int]]) -> list[Source]:
    """The prompts with what `echo` needs to know of them."""
    if not body.echo:
        return [Source(tokens) for tokens in prompts]
    return [echoed(model, prompt, tokens) for prompt, tokens in zip(body.prompt, prompts, strict=True)]


def echoed(model: Served, prompt: Prompt, tokens: list[int]) -> Source:
    """A text is echoed as it was sent; the tokens that the model wants in front of it are not part of it."""
    if not isinstance(prompt, str):
        return Source(tokens, model.native.detokenize(tokens))
    return Source(tokens, prompt, len(tokens) - len(model.native.tokenize(prompt, add_special=False)))
