"""Completions: whole, and in chunks; with the prompt in front if asked for, the best of several if asked for."""

from __future__ import annotations

import codecs
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.server.answers.common import Tally, envelope, reason_of, token_text
from synapse_engine.server.swarm.report import LastChunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synapse_engine.server.native import Event
    from synapse_engine.server.schemas.completions import CompletionBody
    from synapse_engine.server.served import Served
    from synapse_engine.server.swarm.report import Report

PREFIX, KIND = "cmpl", "text_completion"


class Logprobs:
    """The API's logprobs object, token by token. Offsets count characters of the text that is returned."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def entry(self, tokens: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The object for these tokens, which follow those of the calls before."""
        return {
            "tokens": [token_text(token["bytes"]) for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": [self._alternatives(token) for token in tokens],
            "text_offset": [self._advance(token["bytes"]) for token in tokens],
        }

    def skip(self, text: str) -> None:
        """Counts text that is returned without its tokens."""
        self._offset += len(text)

    def _alternatives(self, token: dict[str, Any]) -> dict[str, float] | None:
        if token["logprob"] is None:  # nothing stands before it that could foretell it
            return None
        top = {token_text(raw): logprob for _, raw, logprob in token["top"][: self._top]}
        return top | {token_text(token["bytes"]): token["logprob"]}

    def _advance(self, raw: bytes) -> int:
        start = self._offset
        self._offset += len(self._decoder.decode(raw))
        return start


@dataclass(frozen=True)
class Source:
    """A prompt."""

    tokens: list[int]
    echo: str = ""
    """What goes in front of its continuations."""
    unscored: int = 0
    """Tokens at its start that are not part of ``echo``."""


class Choice:
    """One continuation of one prompt."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tokens: list[dict[str, Any]] = []
        self.reason = "length"

    def mean_logprob(self) -> float:
        """How likely the model finds it, per token."""
        return math.fsum(token["logprob"] for token in self.tokens) / max(len(self.tokens), 1)


def tally(sources: list[Source]) -> Tally:
    """Usage before anything is generated."""
    return Tally(sum(len(source.tokens) for source in sources))


class CompletionWhole:
    """The answer in one piece. Positions of events: one for each prompt, then one for each prompt's scores."""

    def __init__(
        self, body: CompletionBody, model: Served, sources: list[Source], report: Report | None = None
    ) -> None:
        self._body = body
        self._model = model
        self._report = report
        self._sources = sources
        self._tally = tally(sources)
        self._choices = [[Choice() for _ in range(body.generated)] for _ in sources]
        self._scores: list[list[dict[str, Any]]] = [[] for _ in sources]

    def add(self, position: int, event: Event) -> None:
        """Takes in an event."""
        if event.kind == "scores":
            prompt = position % len(self._sources)
            self._scores[prompt] = event.tokens[self._sources[prompt].unscored :]
        elif event.kind == "text":
            choice = self._choices[position][event.index]
            choice.texts.append(event.text)
            if self._body.ranked or self._body.logprobs is not None:
                choice.tokens += event.tokens
        elif event.kind == "finished":
            self._choices[position][event.index].reason = reason_of(event)
        elif event.kind == "done" and position < len(self._sources):
            self._tally.add(event.usage)
            if self._report is not None:
                self._report.add(event.usage)

    def body(self) -> dict[str, Any]:
        """The response."""
        fields = envelope(PREFIX, KIND, self._model, self._report)
        best = [(prompt, choice) for prompt in range(len(self._sources)) for choice in self._best(prompt)]
        fields["choices"] = [self._choice(index, prompt, choice) for index, (prompt, choice) in enumerate(best)]
        fields["usage"] = self._tally.entry()
        if self._report is not None:
            self._report.finish = best[-1][1].reason
            fields["synapse"] = self._report.entry()
        return fields

    def _best(self, prompt: int) -> list[Choice]:
        choices = self._choices[prompt]
        if self._body.ranked:
            choices = sorted(choices, key=Choice.mean_logprob, reverse=True)
        return choices[: self._body.choices]

    def _choice(self, index: int, prompt: int, choice: Choice) -> dict[str, Any]:
        top = self._body.logprobs
        tokens = self._scores[prompt] + choice.tokens
        return {
            "index": index,
            "text": self._sources[prompt].echo + "".join(choice.texts),
            "logprobs": None if top is None else Logprobs(top).entry(tokens),
            "finish_reason": choice.reason,
        }


class CompletionChunks:
    """The answer in pieces. Choice ``i`` of prompt ``p`` has the index ``p * n + i``."""

    def __init__(
        self, body: CompletionBody, model: Served, sources: list[Source], report: Report | None = None
    ) -> None:
        self._body = body
        self._report = report
        self._last = LastChunk(report, body.choices * len(sources), len(sources))
        self._sources = sources
        self._tally = tally(sources)
        self._fields = envelope(PREFIX, KIND, model, report)
        self._begun: dict[int, Logprobs] = {}
        self._opened = False

    def chunks(self, position: int, event: Event) -> Iterator[dict[str, Any]]:
        """The pieces that an event makes."""
        if event.kind == "done":
            self._tally.add(event.usage)
            yield from self._last.done(event.usage)
            return
        index = position * self._body.choices + event.index
        yield from self._begin(index, self._sources[position].echo)
        if event.kind == "finished":
            reason = reason_of(event)
            yield from self._last.finish(self._chunk(index, "", None, reason), reason)
        elif event.kind == "text":
            tokens = [] if self._body.logprobs is None else event.tokens
            if event.text or tokens:
                yield self._chunk(index, event.text, self._begun[index].entry(tokens))

    def last(self) -> Iterator[dict[str, Any]]:
        """The usage, if asked for."""
        if self._body.include_usage:
            yield self._fields | {"choices": [], "usage": self._tally.entry()}

    def _begin(self, index: int, echo: str) -> Iterator[dict[str, Any]]:
        if index in self._begun:
            return
        self._begun[index] = Logprobs(self._body.logprobs or 0)
        if echo:
            self._begun[index].skip(echo)
            yield self._chunk(index, echo, None)

    def _chunk(
        self, index: int, text: str, probabilities: dict[str, Any] | None, reason: str | None = None
    ) -> dict[str, Any]:
        if self._body.logprobs is None:
            probabilities = None
        choice = {"index": index, "text": text, "logprobs": probabilities, "finish_reason": reason}
        fields = self._fields | {"choices": [choice]}
        if self._report is not None and not self._opened:
            self._opened = True
            fields["synapse"] = self._report.entry()
        return fields | {"usage": None} if self._body.include_usage else fields
