"""Several specialists answer in one batch; the answer that fits best is given, or the plain model makes one of all."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from synapse_engine.server.answers.chat import ChatChunks, ChatWhole
from synapse_engine.server.answers.common import collected, streamed
from synapse_engine.server.sse import DONE, KEEP_ALIVE, frame
from synapse_engine.server.swarm.gathering import Gathered, synthesis_turns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from synapse_engine.server.jobs import Job
    from synapse_engine.server.state import State
    from synapse_engine.server.swarm.report import Report
    from synapse_engine.server.swarm.work import ChatWork


class Several:
    """One request that several answer. Either ``whole`` or ``frames`` may be used, once."""

    def __init__(self, state: State, work: list[ChatWork], report: Report) -> None:
        self._state = state
        plan = report.plan
        self._plan = plan
        self._body = work[0].body
        self._client = work[0].request["client"]
        self._prompt_tokens = sum(one.prompt_tokens for one in work)
        self._requests = [_compared(one.request, alone=plan.synthesis) for one in work]
        self._gathered = Gathered(plan, 1 if plan.synthesis else self._body.choices)
        self._report = report

    async def whole(self) -> dict[str, Any]:
        """The response in one piece."""
        async for _ in self._gather():
            pass
        if self._plan.synthesis:
            job = await self._synthesis()
            answer = self._add(ChatWhole(self._body, self._plan.model, self._prompt_tokens, self._report))
            return await collected(job, answer)
        best = await self._choose()
        return self._add(ChatWhole(self._body, self._plan.model, self._prompt_tokens, self._report), best).body()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The response as a stream, which says nothing until all have answered."""
        async with aclosing(self._gather()) as comments:
            async for comment in comments:
                yield comment
        if not self._plan.synthesis:
            yield b"".join(map(frame, self._chunks(await self._choose()))) + DONE
            return
        job = await self._synthesis()
        answer = self._new_chunks(len(self._requests) + 1)
        for event in self._gathered.costs():
            list(answer.chunks(0, event))  # counted; nothing to say yet
        async with aclosing(streamed(job, answer, self._state.options.keep_alive_seconds)) as parts:
            async for part in parts:
                yield part

    async def _gather(self) -> AsyncGenerator[bytes, None]:
        """Waits for all answers; gives the comments that keep a connection alive."""
        pause, said = self._state.options.keep_alive_seconds, time.monotonic()
        with self._state.job(self._plan.model, self._requests, "messages") as job:
            while not job.over:
                for position, event in await job.receive(pause):
                    self._gathered.add(position, event)
                if time.monotonic() - said >= pause:
                    said = time.monotonic()
                    yield KEEP_ALIVE
        self._report.candidates = self._gathered.entries()

    async def _choose(self) -> int:
        best = self._gathered.best()
        chosen = self._report.chosen = self._plan.candidates[best].name
        await self._state.work(lambda: self._state.desk.answered(self._plan.response_id, chosen))
        return best

    async def _synthesis(self) -> Job:
        """The plain model's turn."""
        turns = synthesis_turns(self._body.turns, self._gathered.texts())
        tokens = await self._state.chat_tokens(self._plan.model, turns)
        self._prompt_tokens += len(tokens)
        request = self._body.request(tokens) | {"client": self._client}
        left = self._plan.began + self._state.options.request_seconds - time.monotonic()
        return self._state.job(self._plan.model, [request], "messages", max(left, 0.0))

    def _add(self, answer: ChatWhole, best: int | None = None) -> ChatWhole:
        events = self._gathered.costs() if best is None else self._gathered.replayed(best)
        for event in events:
            answer.add(0, event)
        return answer

    def _chunks(self, best: int) -> Iterator[dict[str, Any]]:
        answer = self._new_chunks(len(self._requests))
        for event in self._gathered.replayed(best):
            yield from answer.chunks(0, event)
        yield from answer.last()

    def _new_chunks(self, requests: int) -> ChatChunks:
        return ChatChunks(self._body, self._plan.model, self._prompt_tokens, self._report, requests)


def _compared(request: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    """A request whose answers can be compared; ``alone``: one answer of each is enough."""
    logprobs = 0 if request["logprobs"] is None else request["logprobs"]
    return request | {"logprobs": logprobs} | ({"choices": 1} if alone else {})
