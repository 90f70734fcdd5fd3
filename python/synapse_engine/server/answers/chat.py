"""Chat completions: whole, and in chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synapse_engine.server.answers.common import Tally, envelope, reason_of, token_text
from synapse_engine.server.swarm.report import LastChunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synapse_engine.server.native import Event
    from synapse_engine.server.schemas.chat import ChatBody
    from synapse_engine.server.served import Served
    from synapse_engine.server.swarm.report import Report

PREFIX = "chatcmpl"
SERVICE_TIER = "default"


def logprobs(body: ChatBody, tokens: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The API's logprobs object; None if not asked for."""
    if not body.logprobs:
        return None
    return {"content": [_entry(token, body.top_logprobs or 0) for token in tokens], "refusal": None}


def _entry(token: dict[str, Any], top: int) -> dict[str, Any]:
    alternatives = [_choice(raw, logprob) for _, raw, logprob in token["top"][:top]]
    return _choice(token["bytes"], token["logprob"]) | {"top_logprobs": alternatives}


def _choice(raw: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token_text(raw), "logprob": logprob, "bytes": list(raw)}


def chat_envelope(kind: str, body: ChatBody, model: Served, report: Report | None) -> dict[str, Any]:
    """The fields around the choices."""
    fields = envelope(PREFIX, kind, model, report)
    return fields | {"service_tier": SERVICE_TIER} if body.service_tier else fields


class ChatWhole:
    """The answer in one piece."""

    def __init__(self, body: ChatBody, model: Served, prompt_tokens: int, report: Report | None = None) -> None:
        self._body = body
        self._model = model
        self._report = report
        self._tally = Tally(prompt_tokens)
        self._texts: list[list[str]] = [[] for _ in range(body.choices)]
        self._tokens: list[list[dict[str, Any]]] = [[] for _ in range(body.choices)]
        self._reasons = ["stop"] * body.choices

    def add(self, _position: int, event: Event) -> None:
        """Takes in an event."""
        if event.kind == "text":
            self._texts[event.index].append(event.text)
            if self._body.logprobs:
                self._tokens[event.index] += event.tokens
        elif event.kind == "finished":
            self._reasons[event.index] = reason_of(event)
        elif event.kind == "done":
            self._tally.add(event.usage)
            if self._report is not None:
                self._report.add(event.usage)

    def body(self) -> dict[str, Any]:
        """The response."""
        fields = chat_envelope("chat.completion", self._body, self._model, self._report)
        fields["choices"] = [self._choice(index) for index in range(self._body.choices)]
        fields["usage"] = self._tally.entry()
        if self._report is not None:
            self._report.finish = self._reasons[-1]
            fields["synapse"] = self._report.entry()
        return fields | {"metadata": self._body.metadata} if self._body.metadata else fields

    def _choice(self, index: int) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": "".join(self._texts[index]), "refusal": None},
            "logprobs": logprobs(self._body, self._tokens[index]),
            "finish_reason": self._reasons[index],
        }


class ChatChunks:
    """The answer in pieces."""

    def __init__(
        self, body: ChatBody, model: Served, prompt_tokens: int, report: Report | None = None, requests: int = 1
    ) -> None:
        self._body = body
        self._tally = Tally(prompt_tokens)
        self._fields = chat_envelope("chat.completion.chunk", body, model, report)
        self._report = report
        self._last = LastChunk(report, body.choices, requests)
        self._begun: set[int] = set()

    def chunks(self, _position: int, event: Event) -> Iterator[dict[str, Any]]:
        """The pieces that an event makes."""
        if event.kind == "text":
            yield from self._begin(event.index)
            tokens = event.tokens if self._body.logprobs else []
            if event.text or tokens:
                yield self._chunk(event.index, {"content": event.text}, probabilities=logprobs(self._body, tokens))
        elif event.kind == "finished":
            yield from self._begin(event.index)
            reason = reason_of(event)
            yield from self._last.finish(self._chunk(event.index, {}, reason), reason)
        elif event.kind == "done":
            self._tally.add(event.usage)
            yield from self._last.done(event.usage)

    def last(self) -> Iterator[dict[str, Any]]:
        """The usage, if asked for."""
        if self._body.include_usage:
            yield self._fields | {"choices": [], "usage": self._tally.entry()}

    def _begin(self, index: int) -> Iterator[dict[str, Any]]:
        if index not in self._begun:
            first = not self._begun
            self._begun.add(index)
            chunk = self._chunk(index, {"role": "assistant", "content": "", "refusal": None})
            yield chunk | {"synapse": self._report.entry()} if first and self._report is not None else chunk

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        reason: str | None = None,
        probabilities: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": probabilities, "finish_reason": reason}
        fields = self._fields | {"choices": [choice]}
        return fields | {"usage": None} if self._body.include_usage else fields
