"""What was written by hand to learn from: requests, ways to ask, specialists, words of languages and of fields.

All of it lies in ``written/``; nothing of it is in ``bench/data``, whose topics are left out here, too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine.train.routing.requests import read_requests

if TYPE_CHECKING:
    from synapse_engine.train.routing.requests import Request

_FOLDER = Path(str(resources.files(__package__) / "written"))


@dataclass(frozen=True)
class WrittenSpecialist:
    """A user's specialist, and requests that are for it and for no starter but perhaps ``general``."""

    name: str
    family: str | None
    """The label that its requests would have without it; None if they would have several."""
    description: str
    texts: tuple[str, ...]
    """Its examples, and further requests."""


@dataclass(frozen=True)
class Field:
    """A subject and words that tell it."""

    name: str
    words: tuple[str, ...]


def written_requests() -> list[Request]:
    """Requests of every label."""
    return [request for file in _files("requests_*.jsonl") for request in read_requests(file)]


def written_specialists() -> list[WrittenSpecialist]:
    """In the order of their files."""
    records = [json.loads(line) for file in _files("specialists_*.jsonl") for line in _lines(file)]
    return [
        WrittenSpecialist(
            record["name"], record["family"], record["description"], (*record["examples"], *record["requests"])
        )
        for record in records
    ]


def words() -> list[tuple[str, ...]]:
    """Words and phrases in the languages of ``ways_to_ask``; those of a row mean the same."""
    return [tuple(line.split("\t")) for file in _files("words.tsv") for line in _lines(file)[1:]]


def ways_to_ask() -> list[tuple[str, ...]]:
    """Requests with slots for words (``{noun}``, ``{verb}``, ``{adjective}``), in English and often in five others."""
    lines = [line.split("\t") for file in _files("asking.tsv") for line in _lines(file)[1:]]
    return [tuple(text for text in columns if text) for columns in lines]


def fields() -> list[Field]:
    """In the order of their files."""
    lines = [line.split("\t") for file in _files("fields_*.tsv") for line in _lines(file)]
    return [Field(name, tuple(words.split("; "))) for name, words in lines]


def _files(pattern: str) -> list[Path]:
    return sorted(_FOLDER.glob(pattern))


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines()
