"""What the coordinator reads of a conversation: token numbers, at most a window of them. Knows no model.

The engine reads the same way (``rust/engine/src/swarm/reading.rs``); ``tests/oracle`` holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

_Cut = TypeVar("_Cut", str, list[int])

# They are the first tokens of the vocabulary, in this order.
REQUEST, USER, ASSISTANT, DESCRIPTION = MARKERS = ("<|request|>", "<|user|>", "<|assistant|>", "<|description|>")
WINDOW = 256
# The request may take so many tokens, the first ones among them; what is wanted mostly stands at the end.
REQUEST_TOKENS, REQUEST_HEAD = 152, 48
# So many turns before it, and of each so many tokens.
TURNS, TURN_TOKENS, TURN_HEAD = 3, 32, 16
# Text beyond this is not even tokenized.
LETTERS, LETTERS_HEAD = 4096, 1024


class Reading(NamedTuple):
    """Token numbers; from ``request`` on they are the request, before it its context."""

    ids: list[int]
    request: int


def read_request(tokenizer: Tokenizer, turns: Sequence[tuple[str, str]]) -> Reading:
    """A conversation of ``(role, text)`` that ends with the request; turns of other roles than two are passed over."""
    marks = {"user": USER, "assistant": ASSISTANT}
    before = [(role, text) for role, text in turns[:-1] if role in marks][-TURNS:]
    ids: list[int] = []
    for role, text in before:
        ids += _marked(tokenizer, marks[role], text, TURN_TOKENS, TURN_HEAD)
    return Reading(ids + _marked(tokenizer, REQUEST, turns[-1][1], REQUEST_TOKENS, REQUEST_HEAD), len(ids))


def read_description(tokenizer: Tokenizer, text: str) -> Reading:
    """What a specialist says about itself."""
    return Reading(_marked(tokenizer, DESCRIPTION, text, REQUEST_TOKENS, REQUEST_HEAD), 0)


def _marked(tokenizer: Tokenizer, mark: str, text: str, most: int, head: int) -> list[int]:
    ids: list[int] = tokenizer.encode(cut(text, LETTERS, LETTERS_HEAD), add_special_tokens=False).ids
    return [MARKERS.index(mark), *cut(ids, most, head)]


def cut(sequence: _Cut, most: int, head: int) -> _Cut:
    """The first ``head`` and the last of a longer sequence, ``most`` in all."""
    return sequence if len(sequence) <= most else sequence[:head] + sequence[head - most :]
