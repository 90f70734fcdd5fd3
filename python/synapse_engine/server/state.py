"""What every endpoint works with, and how it gets a request ready for the engine. Knows no answer."""

from __future__ import annotations

import asyncio
import functools
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from synapse_engine._engine import EngineError
from synapse_engine.server.body import read_body
from synapse_engine.server.errors import bad_request, from_engine
from synapse_engine.server.jobs import Job
from synapse_engine.server.schemas.fields import parse
from synapse_engine.server.schemas.swarm import SwarmOptions
from synapse_engine.specialists.applying import routed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import Request

    from synapse_engine.server.metrics import Metrics
    from synapse_engine.server.options import ServerOptions
    from synapse_engine.server.schemas.fields import Body
    from synapse_engine.server.schemas.generation import GenerationBody
    from synapse_engine.server.schemas.prompts import Prompt
    from synapse_engine.server.schemas.swarm import AdapterWeight
    from synapse_engine.server.served import Registry, Served
    from synapse_engine.server.swarm.desk import Desk
    from synapse_engine.server.swarm.plan import Asked, Plan
    from synapse_engine.server.swarm.report import Report
    from synapse_engine.server.swarm.tracing import Trace
    from synapse_engine.specialists import Specialist
    from synapse_engine.specialists.applying import Turn

T = TypeVar("T")
B = TypeVar("B", bound="Body")


@dataclass
class State:
    """One server."""

    options: ServerOptions
    registry: Registry
    metrics: Metrics
    desk: Desk
    trace: Trace
    # Templates and tokenizers take milliseconds for long texts: too long for the event loop.
    workers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "synapse-server-work"))
    # Reading an adapter's weights takes longer; requests without one do not wait for it.
    loaders: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "synapse-server-load"))

    async def body(self, request: Request, kind: type[B]) -> B:
        """Reads and checks the request's body."""
        body = await read_body(request, self.options)
        return await self.work(lambda: parse(kind, body))

    async def work(self, task: Callable[[], T]) -> T:
        """Runs ``task`` beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, task)

    async def chat_tokens(self, model: Served, turns: Sequence[Turn]) -> list[int]:
        """A conversation as the model sees it."""
        return await self.engine_work(lambda: chat_tokens(model, turns), "messages")

    async def adapters(
        self,
        model: Served,
        specialist: Specialist | None,
        wanted: Sequence[AdapterWeight] | None,
        report: Report | None,
    ) -> dict[str, Any]:
        """What a request to the engine says of adapters, which are loaded then; raises ApiError."""
        if wanted is None and (specialist is None or specialist.adapter is None):
            return {}
        began = time.monotonic()
        task = functools.partial(self.desk.adapters, model, specialist, wanted)
        adapters = await asyncio.get_running_loop().run_in_executor(self.loaders, task)
        if report is not None:
            report.plan.adapter_seconds += time.monotonic() - began
        return {"adapters": adapters}

    async def plan(self, prefix: str, asked: Asked, body: GenerationBody, turns: Sequence[Turn]) -> Plan:
        """Who answers a request that is for specialists, under an id that begins so; raises ApiError."""
        options, response_id = body.synapse or SwarmOptions(), f"{prefix}-{secrets.token_hex(12)}"
        return await self.work(lambda: self.desk.plan(response_id, body.model, asked, options, routed(turns)))

    async def prompt_tokens(self, model: Served, prompts: Sequence[Prompt], field: str) -> list[list[int]]:
        """Prompts as tokens."""
        return await self.engine_work(lambda: [prompt_tokens(model, prompt, field) for prompt in prompts], field)

    async def engine_work(self, task: Callable[[], T], prompt_field: str) -> T:
        """Like ``work``; the engine's errors become the API's."""
        try:
            return await self.work(task)
        except EngineError as error:
            raise from_engine(error, prompt_field) from error

    def job(
        self, model: Served, requests: Sequence[dict[str, Any]], prompt_field: str, seconds: float | None = None
    ) -> Job:
        """Work for the engine; use it in a ``with`` block. ``seconds``: less than a whole request has."""
        return Job(
            model.hub,
            requests,
            prompt_field=prompt_field,
            seconds=self.options.request_seconds if seconds is None else seconds,
            on_usage=self.metrics.usage(model.id),
        )


def state_of(request: Request) -> State:
    """The server that ``request`` came to."""
    return cast("State", request.app.state.synapse)


def client_of(request: Request, end_user: str) -> str:
    """Whose line in the queue a request waits in: lines take turns, so one client cannot starve the others."""
    host = request.client.host if request.client else ""
    return f"{host}/{end_user}"


def chat_tokens(model: Served, turns: Sequence[Turn]) -> list[int]:
    """The conversation in the model's own template, which writes all special tokens itself."""
    return model.native.tokenize(
        model.native.apply_chat_template(json.dumps(turns, ensure_ascii=False)), add_special=False
    )


def check_tokens(model: Served, tokens: list[int], field: str) -> None:
    """Raises ApiError for a token that the model does not have."""
    size = model.info["vocab_size"]
    if tokens and (largest := max(tokens)) >= size:
        raise bad_request(f"{field}: this model has the tokens 0 to {size - 1}, found {largest}", field)


def prompt_tokens(model: Served, prompt: Prompt, field: str) -> list[int]:
    """A text's tokens, at least one; tokens are taken as they are."""
    if not isinstance(prompt, str):
        check_tokens(model, prompt, field)
        return prompt
    if tokens := model.native.tokenize(prompt):
        return tokens
    raise bad_request(f"{field}: expected at least one token, found none", field)
