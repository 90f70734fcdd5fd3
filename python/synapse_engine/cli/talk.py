"""Answers from a model, in this process or from a running server, through one interface. Knows no terminal."""

from __future__ import annotations

import http.client
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from synapse_engine.cli.app import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synapse_engine.cli.choose import Chosen
    from synapse_engine.cli.options import LoadOptions
    from synapse_engine.cli.runs import Run

KEY_VARIABLE = "SYNAPSE_API_KEY"
_ANSWER_SECONDS = 600
Message = dict[str, str]


@dataclass
class Answer:
    """What is known about an answer when it has ended (or was stopped)."""

    text: str = ""
    finish_reason: str = "cancelled"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    first_token_seconds: float = 0.0
    total_seconds: float = 0.0
    synapse: dict[str, Any] | None = None
    """Who answered and why, where a specialist was asked for; see ``docs/api.md``."""

    @property
    def tokens_per_second(self) -> float:
        """After the first token."""
        seconds = self.total_seconds - self.first_token_seconds
        return (self.completion_tokens - 1) / seconds if self.completion_tokens > 1 and seconds > 0 else 0.0

    def record(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "tokens_per_second": round(self.tokens_per_second, 2)}


AUTO = "auto"
"""Stands for the specialist that the router chooses."""


class Talker(Protocol):
    """Someone who answers."""

    model: str
    where: str
    """For the greeting: in this process, or the server's address."""
    specialist: str | None
    """Who is asked: a name, ``AUTO``, or None for the model itself."""

    def stream(self, messages: list[Message], options: dict[str, Any], answer: Answer) -> Iterator[str]:
        """The pieces of an answer; ``answer`` is filled in as it goes. Closing the iterator cancels the rest."""

    def close(self) -> None:
        """Frees the model."""


class LocalTalker:
    """Loads the model into this process."""

    where = "in this process"

    def __init__(self, chosen: Chosen, load: LoadOptions, specialist: str | None = None) -> None:
        from synapse_engine import Engine

        self.model = chosen.name
        self.specialist = specialist
        self._engine = Engine(str(chosen.path), **load.engine_arguments(chosen.quant))
        for name, path in load.adapter:
            self._engine.load_adapter(name, path)
        self._adapted: dict[str, Any] = {"adapters": {name: 1.0 for name, _ in load.adapter}} if load.adapter else {}

    def stream(self, messages: list[Message], options: dict[str, Any], answer: Answer) -> Iterator[str]:
        """See ``Talker``."""
        begun = time.monotonic()
        with self._engine.stream(messages, specialist=self.specialist, **{**self._adapted, **options}) as pieces:
            for piece in pieces:
                if not answer.text:
                    answer.first_token_seconds = time.monotonic() - begun
                answer.text += piece
                yield piece
            result = pieces.result
        answer.finish_reason = result.finish_reason
        if result.decision is not None:
            answer.synapse = {"mode": "single", **result.decision.as_dict()}
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "first_token_seconds", "total_seconds"):
            setattr(answer, name, getattr(result.usage, name))

    def close(self) -> None:
        """See ``Talker``."""
        self._engine.close()


class ServerTalker:
    """Asks a server on this machine."""

    def __init__(self, run: Run, model: str | None = None, specialist: str | None = None) -> None:
        self.model = model or run.model
        self.specialist = specialist
        self._alone = not run.others
        self.where = run.url
        self._address = urlsplit(run.url)
        self._headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            self._headers["Authorization"] = f"Bearer {key}"

    def stream(self, messages: list[Message], options: dict[str, Any], answer: Answer) -> Iterator[str]:
        """See ``Talker``."""
        body = {
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._asked(),
            **options,
        }
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=_ANSWER_SECONDS
        )
        begun = time.monotonic()
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), self._headers)
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise _refusal(response)
            for chunk in _events(response):
                piece = _take(chunk, answer)
                if piece and not answer.text:
                    answer.first_token_seconds = time.monotonic() - begun
                answer.text += piece
                answer.total_seconds = time.monotonic() - begun
                if piece:
                    yield piece
        except (OSError, http.client.HTTPException) as error:
            raise Failure(
                f"the server at {self.where} went away ({error})", "synapse ps shows what is running"
            ) from error
        finally:
            connection.close()

    def _asked(self) -> dict[str, Any]:
        if self.specialist is None:
            return {"model": self.model}
        name = "synapse" if self.specialist == AUTO else f"synapse/{self.specialist}"
        return {"model": name} if self._alone else {"model": name, "synapse": {"base": self.model}}

    def close(self) -> None:
        """The server goes on without us."""


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Server-sent events (HTML standard, section 9.2), as far as this API uses them: one line of data each."""
    for line in response:
        data = line.strip().removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            raise Failure(str(chunk["error"].get("message", chunk["error"])))
        yield chunk


def _take(chunk: dict[str, Any], answer: Answer) -> str:
    answer.synapse = chunk.get("synapse", answer.synapse)
    if usage := chunk.get("usage"):
        answer.prompt_tokens = usage["prompt_tokens"]
        answer.completion_tokens = usage["completion_tokens"]
        answer.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    piece = ""
    for choice in chunk.get("choices", []):
        piece += choice.get("delta", {}).get("content") or ""
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    return piece


def _refusal(response: http.client.HTTPResponse) -> Failure:
    body = response.read()
    try:
        said = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = body.decode(errors="replace")[:200]
    if response.status == http.client.UNAUTHORIZED:
        return Failure(f"the server refused: {said}", f"set {KEY_VARIABLE} to the server's API key")
    return Failure(f"the server answered {response.status}: {said}")
