"""Sentences out of prose, and the same sentences spoiled: examples for judging acceptability. Knows no model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

MIN_WORDS, MAX_WORDS = 6, 24
_PAIRS = (
    ("is", "are"), ("was", "were"), ("has", "have"), ("does", "do"), ("he", "him"), ("they", "them"), ("i", "me"),
    ("she", "her"), ("we", "us"), ("this", "these"), ("that", "those"), ("a", "an"), ("who", "whom"),
)  # fmt: skip
_OTHER_FORM = {**dict(_PAIRS), **{right: left for left, right in _PAIRS}}


@dataclass(frozen=True)
class Example:
    """A sentence, and whether it stands as it was written."""

    text: str
    acceptable: bool
    change: str  # what was done to it, or "none"


def sentences(text: str) -> list[str]:
    """Whole sentences of 6 to 24 words that begin with a capital, each once, in the order of the text."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", line.strip()):
            words = sentence.split()
            if MIN_WORDS <= len(words) <= MAX_WORDS and re.fullmatch(r"[A-Z][A-Za-z ,;:'\-]*[.!?]", sentence):
                found[sentence] = None
    return list(found)


def examples(texts: Sequence[str], random: Random) -> list[Example]:
    """Half of the sentences as they are, the other half spoiled, in random order."""
    order = list(texts)
    random.shuffle(order)
    kept = [Example(text, True, "none") for text in order[: len(order) // 2]]
    spoiled = [spoil(text, random) for text in order[len(order) // 2 :]]
    mixed = [*kept, *spoiled]
    random.shuffle(mixed)
    return mixed


def spoil(text: str, random: Random) -> Example:
    """One change that makes most sentences wrong; first letter and last mark stay, so that they give nothing away."""
    words, mark = text[:-1].split(), text[-1]
    names = list(_CHANGES)
    random.shuffle(names)
    for name in names:
        changed = _CHANGES[name](list(words), random)
        if changed is not None and changed != words:
            sentence = " ".join(changed) + mark
            return Example(sentence[0].upper() + sentence[1:], False, name)
    raise AssertionError("to drop a word always changes a sentence")


def _swap(words: list[str], random: Random) -> list[str]:
    at = random.randrange(1, len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
    return words


def _drop(words: list[str], random: Random) -> list[str]:
    del words[random.randrange(1, len(words))]
    return words


def _double(words: list[str], random: Random) -> list[str]:
    at = random.randrange(1, len(words))
    return [*words[:at], words[at], *words[at:]]


def _move(words: list[str], random: Random) -> list[str]:
    word = words.pop(random.randrange(1, len(words)))
    words.insert(random.randrange(1, len(words) + 1), word)
    return words


def _form(words: list[str], random: Random) -> list[str] | None:
    places = [at for at, word in enumerate(words) if at and word.lower() in _OTHER_FORM]
    if not places:
        return None
    at = random.choice(places)
    words[at] = _OTHER_FORM[words[at].lower()]
    return words


_CHANGES: dict[str, Callable[[list[str], Random], list[str] | None]] = {
    "swap": _swap,
    "drop": _drop,
    "double": _double,
    "move": _move,
    "form": _form,
}
