"""Makes a text look typed in a hurry: slips of the keyboard, careless case and marks. Knows nothing of labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {letter: row[max(at - 1, 0) : at] + row[at + 1 : at + 2] for row in _ROWS for at, letter in enumerate(row)}
_SHORT = {
    "please": "pls", "you": "u", "are": "r", "because": "cuz", "thanks": "thx", "what": "wat", "with": "w/", "and": "&",
    "people": "ppl", "without": "w/o", "about": "abt", "know": "kno", "the": "teh", "want to": "wanna", "i am": "im",
    "don't": "dont", "doesn't": "doesnt", "what's": "whats", "i'm": "im", "can't": "cant", "it's": "its", "que": "q",
    "porque": "pq", "nicht": "nich", "pour": "pr", "perché": "xke", "você": "vc", "für": "fuer", "über": "ueber",
}  # fmt: skip


def typos(text: str, random: Random, share: float) -> str:
    """One slip in about ``share`` of the words of four letters and more; lines that look like code stay as they are."""
    lines = text.split("\n")
    return "\n".join(line if _is_code(line) else _slips(line, random, share) for line in lines)


def _slips(line: str, random: Random, share: float) -> str:
    return re.sub(r"[^\W\d_]{4,}", lambda m: _slip(m[0], random) if random.random() < share else m[0], line)


def _slip(word: str, random: Random) -> str:
    at = random.randrange(1, len(word) - 1)
    kind = random.randrange(5)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    if kind == 3 and (near := _NEAR.get(word[at])):
        return word[:at] + random.choice(near) + word[at + 1 :]
    return re.sub(r"(.)\1", r"\1", word) if re.search(r"(.)\1", word) else word[:at] + word[at + 1 :]


def shorthand(text: str, random: Random) -> str:
    """Some of the abbreviations that people type to each other."""
    lines = text.split("\n")
    chosen = [(long, short) for long, short in _SHORT.items() if random.random() < 0.7]
    for long, short in chosen:
        lines[0] = re.sub(rf"\b{long}\b", short, lines[0], flags=re.IGNORECASE)
    return "\n".join(lines)


def case(text: str, random: Random) -> str:
    """All capitals, all small, capitals of sentences, or of every word; pasted lines after the first stay."""
    first, *rest = text.split("\n")
    kind = random.choice(("upper", "lower", "lower", "lower", "title"))
    return "\n".join([{"upper": first.upper(), "lower": first.lower(), "title": first.title()}[kind], *rest])


def marks(text: str, random: Random) -> str:
    """Without some marks, or with too many, or without accents on letters."""
    kind = random.randrange(5)
    if kind == 0:
        return text.rstrip(".?! ")
    if kind == 1:
        return re.sub(r"(?<=\w)[,'\u2019](?=\s|\w)", "", text)
    if kind == 2:
        return text.rstrip(".?! ") + random.choice(("??", "!!", "???", " ...", "!?", " ?", "....", " :)", " :(", " ;)"))
    if kind == 3:
        return text.translate(_PLAIN)
    return re.sub(r"(?<=\w)[,.] ", "  ", text)


_PLAIN = str.maketrans("áàâãäåéèêëíìîïóòôõöúùûüçñ¿¡", "aaaaaaeeeeiiiiooooouuuucn  ")


def sentence_case(text: str) -> str:
    """As a careful writer would: a capital at the beginning and after marks, "I"."""
    first, *rest = text.split("\n")
    first = re.sub(r"(^[¿¡\"']*|[.!?] )([^\W\d_])", lambda m: m[1] + m[2].upper(), first)
    return "\n".join([re.sub(r"\bi\b(?!\.)", "I", first), *rest])


def _is_code(line: str) -> bool:
    return bool(re.search(r"[{};=<>|\\`]|\(\)|^\s{2,}", line))
