"""Requests about everything under the sun: ways to ask, filled with words of WordNet, of fields and of other languages.

Nobody would ask most of them. But what they are about is what their words are about, and not how it is asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from synapse_engine.train.routing.written import fields, ways_to_ask, words

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from random import Random

    from synapse_engine.train.coordinator.glosses import Gloss

_SLOT = re.compile(r"\{(noun|verb|adjective)\}")
# These shares of requests are about a field, or else about something common.
_FIELD, _COMMON = 0.35, 0.6
# Words of one request stand so near each other in WordNet, which puts like beside like.
_NEAR = 6
_KINDS = {"noun": "noun", "verb": "verb", "adjective": "adj"}


class Asking:
    """Makes requests."""

    def __init__(self, glosses: Sequence[Gloss], common: Container[str]) -> None:
        self._ways = ways_to_ask()
        self._abroad = [way for way in self._ways if len(way) > 1]
        self._words, self._fields = words(), fields()
        self._senses = {slot: [gloss.names for gloss in glosses if gloss.kind == kind] for slot, kind in _KINDS.items()}
        self._common = {
            slot: [at for at, names in enumerate(senses) if any(name.lower() in common for name in names)]
            for slot, senses in self._senses.items()
        }

    def english(self, random: Random) -> str:
        """Its nouns are of one field, or near each other."""
        words_of = random.choice(self._fields).words
        at = self._sense("noun", random)
        of_field = at is None or random.random() < _FIELD

        def fill(slot: str) -> str:
            place = at if slot == "noun" else self._sense(slot, random)
            if place is None or (of_field and slot == "noun"):
                return random.choice(words_of)
            senses = self._senses[slot]
            near = place + (random.randint(-_NEAR, _NEAR) if slot == "noun" else 0)
            return random.choice(senses[min(max(near, 0), len(senses) - 1)]).lower()

        return _filled(random.choice(self._ways)[0], fill)

    def abroad(self, random: Random) -> tuple[str, str]:
        """One of another language, and the same in English."""
        way = random.choice(self._abroad)
        chosen = [random.choice(self._words) for _ in _SLOT.findall(way[0])]
        language = random.randrange(1, len(way))

        def said(language: int) -> str:
            left = iter(chosen)
            return _filled(way[language], lambda _: next(left)[language])

        return said(language), said(0)

    def _sense(self, slot: str, random: Random) -> int | None:
        """One that is common, more often than not; none if nothing is known."""
        common, senses = self._common[slot], self._senses[slot]
        if common and random.random() < _COMMON:
            return random.choice(common)
        return random.randrange(len(senses)) if senses else None


def _filled(way: str, fill: Callable[[str], str]) -> str:
    return _SLOT.sub(lambda slot: fill(slot[1]), way)
