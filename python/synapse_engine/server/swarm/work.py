"""From a request and who is to answer it to work for the engine. Knows no answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.specialists.applying import prompted

if TYPE_CHECKING:
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
    prompt_tokens: int
    request: dict[str, Any]
    """The engine's."""


async def chat_work(
    state: State, body: ChatBody, model: Served, specialist: Specialist | None, client: str, report: Report | None
) -> ChatWork:
    """The answer that ``specialist`` gives; its adapter is loaded. Raises ApiError."""
    began = time.monotonic()
    adapters = await state.adapters(model, specialist, body.adapters)
    if report is not None:
        report.plan.adapter_seconds += time.monotonic() - began
    tokens = await state.chat_tokens(model, prompted(specialist, body.turns))
    habits = body if specialist is None else body.with_defaults(specialist.sampling)
    return ChatWork(body, model, len(tokens), habits.request(tokens) | adapters | {"client": client})
