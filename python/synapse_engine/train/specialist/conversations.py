"""Reads conversations from JSON lines, says which line is wrong, and holds some out. Knows no tokens."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROLES = ("system", "user", "assistant")
_SHAPE = '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
_EXAMPLE_LETTERS, _CANDIDATES = 400, 300


@dataclass(frozen=True)
class Conversation:
    """Turns that alternate, the last one the assistant's; ``line`` is where it stands in its file."""

    messages: tuple[dict[str, str], ...]
    line: int

    @property
    def request(self) -> str:
        """What the user says first."""
        return next(message["content"] for message in self.messages if message["role"] == "user")


def read_conversations(file: Path) -> list[Conversation]:
    """All lines of a ``.jsonl``; raises ``DataError`` that names the first line which is no conversation."""
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text, byte {error.start}", f"each line is JSON: {_SHAPE}") from error
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}", "name a file of JSON lines") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{file}: no conversations", f"each line is JSON: {_SHAPE}")
    return [_conversation(line, number, f"{file}, line {number}") for number, line in lines]


def _conversation(line: str, number: int, place: str) -> Conversation:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON: {error}", f"each line is {_SHAPE}") from error
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{place}: no list of `messages`", f"each line is {_SHAPE}")
    turns = tuple(_message(message, f"{place}, message {at}") for at, message in enumerate(messages, 1))
    _check_order([turn["role"] for turn in turns], place)
    return Conversation(turns, number)


def _message(message: Any, place: str) -> dict[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise DataError(f"{place}: no text in `content`", f"each line is {_SHAPE}")
    if message.get("role") not in ROLES:
        raise DataError(f"{place}: the role is {message.get('role')!r}", f"roles are {', '.join(ROLES)}")
    extra = sorted(set(message) - {"role", "content"})
    if extra:
        raise DataError(f"{place}: has `{extra[0]}`, which training does not know", "leave role and content only")
    if not message["content"].strip():
        raise DataError(f"{place}: is empty", "write something, or remove the conversation")
    return {"role": message["role"], "content": message["content"]}


def _check_order(roles: Sequence[str], place: str) -> None:
    rest = roles[1:] if roles[0] == "system" else roles
    wanted = [("user", "assistant")[at % 2] for at in range(len(rest))]
    for at, (found, expected) in enumerate(zip(rest, wanted, strict=True), 1 + len(roles) - len(rest)):
        if found != expected:
            raise DataError(f"{place}, message {at}: the {found}'s turn, expected the {expected}'s", "turns alternate")
    if not rest or rest[-1] != "assistant":
        raise DataError(f"{place}: nothing to learn, as no assistant's turn ends it", "add the answer, or remove it")


@dataclass(frozen=True)
class Split:
    """What is learned from, and what the loss is looked at on; ``digest`` names both."""

    training: tuple[Conversation, ...]
    held_out: tuple[Conversation, ...]
    digest: str


def split(conversations: Sequence[Conversation], share: float, seed: int) -> Split:
    """Holds out the conversations with the smallest hashes; those that begin with the same request stay together."""
    ranked = sorted({conversation.request for conversation in conversations}, key=lambda text: _hash(text, seed))
    if len(ranked) < 2:
        raise DataError("all conversations begin with the same request", "some must be held out: add others")
    chosen = set(ranked[: max(1, round(share * len(ranked)))])
    parts: tuple[list[Conversation], list[Conversation]] = ([], [])
    for conversation in conversations:
        parts[conversation.request in chosen].append(conversation)
    digest = hashlib.sha256(json.dumps([conversation.messages for conversation in conversations]).encode())
    return Split(tuple(parts[0]), tuple(parts[1]), digest.hexdigest()[:16])


def varied_requests(conversations: Sequence[Conversation], count: int) -> list[str]:
    """Requests that share few words, to route by: each is the one farthest from those before (Jaccard distance)."""
    found = {" ".join(conversation.request.split()).casefold(): conversation.request for conversation in conversations}
    short = [text for text in found.values() if len(text) <= _EXAMPLE_LETTERS] or [min(found.values(), key=len)]
    pool = sorted(short, key=lambda text: _hash(text, 0))[:_CANDIDATES]
    words = {text: frozenset(text.casefold().split()) for text in pool}
    chosen = pool[:1]
    distance = dict.fromkeys(pool, 1.0)
    while len(chosen) < min(count, len(pool)):
        for text in pool:
            common, either = len(words[text] & words[chosen[-1]]), len(words[text] | words[chosen[-1]])
            distance[text] = min(distance[text], 1 - common / either)
        chosen.append(max((text for text in pool if text not in chosen), key=lambda text: distance[text]))
    return chosen


def _hash(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{text}".encode()).digest()
