"""``POST /tokenize`` and ``POST /detokenize``."""

from typing import Any

from fastapi import APIRouter, Request

from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.others import DetokenizeBody, TokenizeBody
from synapse_engine.server.served import Served
from synapse_engine.server.state import chat_tokens, check_tokens, state_of

router = APIRouter()


@router.post("/tokenize", openapi_extra=takes(TokenizeBody), summary="Text to token ids")
async def tokenize(request: Request) -> dict[str, Any]:
    """The tokens of a text, or of a conversation in the model's chat template."""
    state = state_of(request)
    body = await state.body(request, TokenizeBody)
    model = state.registry.find_or_only(body.model)
    field = "text" if body.messages is None else "messages"
    tokens = await state.engine_work(lambda: tokens_of(model, body), field)
    return {"model": model.id, "tokens": tokens, "count": len(tokens)}


def tokens_of(model: Served, body: TokenizeBody) -> list[int]:
    """What the body asks for."""
    if body.messages is not None:
        return chat_tokens(model, [message.turn() for message in body.messages])
    return model.native.tokenize(body.text or "", add_special=body.add_special, parse_special=body.parse_special)


@router.post("/detokenize", openapi_extra=takes(DetokenizeBody), summary="Token ids to text")
async def detokenize(request: Request) -> dict[str, Any]:
    """The text of tokens."""
    state = state_of(request)
    body = await state.body(request, DetokenizeBody)
    model = state.registry.find_or_only(body.model)
    check_tokens(model, body.tokens, "tokens")
    text = await state.engine_work(
        lambda: model.native.detokenize(body.tokens, skip_special=body.skip_special), "tokens"
    )
    return {"model": model.id, "text": text}
