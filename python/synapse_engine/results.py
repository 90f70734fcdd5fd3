"""What the engine gives back to Python callers, as plain typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from synapse_engine._engine import Event
    from synapse_engine.routing import Decision

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Usage:
    """What a request cost."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens whose keys and values were known already."""
    drafted_tokens: int = 0
    """Tokens that were foretold and checked."""
    accepted_tokens: int = 0
    """Those of them that came true and saved time; part of ``completion_tokens``."""
    queue_seconds: float = 0.0
    first_token_seconds: float = 0.0
    """From submission to the first token."""
    total_seconds: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Tokens in the prompt and the answer."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class TokenChoice:
    """A token that could have been chosen."""

    id: int
    bytes: bytes
    logprob: float

    @property
    def text(self) -> str:
        """The bytes as text; a part of a character shows as U+FFFD."""
        return self.bytes.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Token:
    """A token of an answer or of a scored text."""

    id: int
    bytes: bytes
    logprob: float | None
    """Natural logarithm of its probability under the model; None for the first token of a scored text."""
    top: tuple[TokenChoice, ...] = ()
    """The likeliest tokens at this place, likeliest first."""

    @property
    def text(self) -> str:
        """The bytes as text; a part of a character shows as U+FFFD."""
        return self.bytes.decode("utf-8", errors="replace")

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Token:
        """From the native module's dict."""
        top = tuple(TokenChoice(*choice) for choice in entry["top"])
        return cls(entry["id"], entry["bytes"], entry["logprob"], top)


@dataclass(frozen=True)
class Generation:
    """A finished answer."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    tokens: tuple[Token, ...] = field(default=(), repr=False)
    """The tokens of the answer, with log-probabilities where ``logprobs`` asked for them."""

    decision: Decision | None = field(default=None, repr=False)
    """Who answered and why, where a specialist was asked for."""

    def __str__(self) -> str:
        return self.text


class Outcome:
    """Adds up the events of one request."""

    def __init__(self, decision: Decision | None = None) -> None:
        self.done = False
        self._decision = decision
        self.embedding: list[float] = []
        self._texts: list[str] = []
        self._tokens: list[Token] = []
        self._reason: FinishReason = "cancelled"
        self._usage = Usage()

    def add(self, event: Event) -> str:
        """Takes in one event and returns its text. Raises the error of a failed request."""
        if event.kind in ("text", "scores"):
            self._texts.append(event.text)
            self._tokens.extend(Token.of(entry) for entry in event.tokens)
        elif event.kind == "finished" and event.finish_reason is not None:
            self._reason = event.finish_reason
        elif event.kind == "embedding" and event.embedding is not None:
            self.embedding = event.embedding
        elif event.kind == "done" and event.usage is not None:
            self.done = True
            self._usage = Usage(**event.usage)
        elif event.error is not None:
            self.done = True
            raise event.error
        return event.text

    def generation(self) -> Generation:
        """The answer so far."""
        return Generation("".join(self._texts), self._reason, self._usage, tuple(self._tokens), self._decision)
