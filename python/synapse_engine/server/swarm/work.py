"""From a request and who is to answer it to work for the engine. Knows no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.specialists.applying import prompted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.server.schemas.chat import ChatBody
    from synapse_engine.server.served import Served
    from synapse_engine.server.state import State
    from synapse_engine.server.swarm.report import Report
    from synapse_engine.specialists import Specialist


@dataclass(frozen=True)
class ChatWork:
    """One answer to a conversation."""

    body: ChatBody
    """As the client sent it."""
    model: Served
    specialist: Specialist | None
    prompt_tokens: int
    request: dict[str, Any]
    """The engine's."""


async def chat_work(
    state: State, body: ChatBody, model: Served, specialists: Sequence[Specialist | None], client: str
) -> list[ChatWork]:
    """The answer that each of ``specialists`` gives, but for adapters; raises ApiError."""
    return [await _prompted(state, body, model, specialist, client) for specialist in specialists]


# Last of all: an adapter that is taken out later is still there for requests that have begun.
async def add_adapters(state: State, work: Sequence[ChatWork], report: Report | None) -> None:
    """Loads what is needed; raises ApiError."""
    for one in work:
        one.request.update(await state.adapters(one.model, one.specialist, one.body.adapters, report))


async def _prompted(
    state: State, body: ChatBody, model: Served, specialist: Specialist | None, client: str
) -> ChatWork:
    tokens = await state.chat_tokens(model, prompted(specialist, body.turns))
    habits = body if specialist is None else body.with_defaults(specialist.sampling)
    return ChatWork(body, model, specialist, len(tokens), habits.request(tokens) | {"client": client})
