"""What a router is made of, as interfaces, and how a conversation is handed to them. Decides nothing."""

# ruff: noqa: D102 - the native module's stub documents them

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from synapse_engine.routing.errors import RoutingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Turns = list[tuple[str, str]]
"""(role, text) of a conversation; the last one is the request."""
_LABEL_LETTERS = 80


class Coordinator(Protocol):
    """See ``_engine.Coordinator``."""

    def embed(self, turns: Turns) -> list[float]: ...
    def set_specialists(self, specialists: list[dict[str, Any]]) -> None: ...
    def score(self, turns: Turns) -> dict[str, Any]: ...
    def info(self) -> dict[str, Any]: ...


class Bias(Protocol):
    """See ``_engine.HebbianBias``."""

    def bias(self, embedding: Sequence[float], names: Sequence[str]) -> dict[str, float]: ...
    def learn(self, embedding: Sequence[float], rewards: dict[str, float], *, label: str = "") -> dict[str, Any]: ...
    def active(self, embedding: Sequence[float]) -> list[dict[str, Any]]: ...
    def describe(self) -> list[dict[str, Any]]: ...
    def reset(self, *, region: int | None = None, specialist: str | None = None) -> int: ...
    def export_json(self) -> str: ...
    def import_json(self, text: str) -> None: ...
    def copy(self) -> Bias: ...


def turns_of(messages: str | Sequence[Mapping[str, Any]] | Turns) -> Turns:
    """A text, messages (``role`` and ``content``) or turns, up to the last one of the user: that is the request."""
    turns = [("user", messages)] if isinstance(messages, str) else [_turn(message) for message in messages]
    last = max((place for place, (role, _) in enumerate(turns) if role == "user"), default=len(turns) - 1)
    # Half of a character, as a terminal may give it, is no text.
    turns = [(role, text.encode("utf-8", "replace").decode()) for role, text in turns[: last + 1]]
    if not turns or not turns[-1][1].strip():
        raise RoutingError("there is no request in it", "give the text that a specialist should answer", "messages")
    return turns


def label_of(turns: Turns) -> str:
    """The request in a few words, for people."""
    text = " ".join(turns[-1][1].split())
    return text if len(text) <= _LABEL_LETTERS else text[: _LABEL_LETTERS - 3].rstrip() + "..."


def _turn(message: Mapping[str, Any] | tuple[str, str]) -> tuple[str, str]:
    if isinstance(message, tuple):
        return message
    content = message["content"]
    if not isinstance(content, str):
        content = "\n".join(part["text"] for part in content if part.get("type") == "text")
    return str(message["role"]), content
