"""A request with its label, as JSON Lines. Knows neither where requests come from nor who scores them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The label of what no specialist is for.
NONE = "none"
LABELS = (*STARTERS, NONE)


@dataclass(frozen=True)
class Request:
    """A conversation that ends with a user's turn, and the name of the specialist that should answer."""

    turns: tuple[str, ...]
    """User, assistant, user, ... ; the last is the request."""
    label: str
    source: str
    traits: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The request alone, without its context."""
        return self.turns[-1]

    def to_json(self) -> str:
        """One line: ``text``, or ``messages`` if there are several turns, then ``label``, ``source``, ``traits``."""
        roles = ("user", "assistant")
        said: dict[str, Any] = {"text": self.text}
        if len(self.turns) > 1:
            said = {"messages": [{"role": roles[at % 2], "content": turn} for at, turn in enumerate(self.turns)]}
        rest = {"label": self.label, "source": self.source, "traits": list(self.traits)}
        return json.dumps({**said, **rest}, ensure_ascii=False)


def read_requests(file: Path) -> Iterator[Request]:
    """The requests of a file, one a line; raises DataError on a line that is none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}", "name a file of requests, one JSON object a line") from error
    for number, line in enumerate(lines, 1):
        try:
            yield _request(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            message = f"{file}, line {number}: {error}"
            raise DataError(message, "a line has `text` or `messages`, `label`, `source` and `traits`") from error


def _request(record: dict[str, Any]) -> Request:
    turns = [message["content"] for message in record["messages"]] if "messages" in record else [record["text"]]
    if len(turns) % 2 == 0 or not all(isinstance(turn, str) for turn in turns):
        raise ValueError("expected texts, the first and the last of a user")
    if record["label"] not in LABELS:
        raise ValueError(f"unknown label {record['label']!r}; known: {', '.join(LABELS)}")
    return Request(tuple(turns), record["label"], str(record["source"]), tuple(record["traits"]))


def normalised(text: str) -> str:
    """Words in small letters, one space between them: what stays of a text when only its wording counts."""
    return " ".join(words(text))


def words(text: str) -> list[str]:
    """Words and numbers in small letters, in order; every other visible character that is no word is one, too."""
    return re.findall(r"\w+|[^\w\s]", text.lower()) if not re.search(r"\w", text) else re.findall(r"\w+", text.lower())
