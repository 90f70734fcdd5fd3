"""Specialists that nobody has: groups of requests with something in common, so that a model learns to compare.

A *wish* is one alternative of a grammar below ``request``: a way to ask for one thing. What a pretended specialist is
for may be one wish, a section of them, or everything that speaks of animals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.routing.generate import LANGUAGES
from synapse_engine.train.routing.grammar import Choice, Grammar, Reference, mend
from synapse_engine.train.routing.requests import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from synapse_engine.train.routing.grammar import Template

TOPICS = ("country", "city", "animal", "food", "job", "object", "hobby", "topic", "computing", "relation", "month")
_LISTED = 8
# One wish of so many is kept apart.
APART = 10


@dataclass(frozen=True)
class Wish:
    """One way to ask for something."""

    number: int
    family: str
    """The label of its requests."""
    section: str
    template: Template
    topics: frozenset[str]


@dataclass(frozen=True)
class Pretended:
    """A specialist for some wishes. ``about`` says so in words, or names a topic whose words do."""

    wishes: tuple[Wish, ...]
    about: str
    topic: str = ""

    def serves(self, wish: Wish) -> bool:
        """Whether a request of this kind belongs to it."""
        return wish in self.wishes


def wishes(grammar: Grammar) -> list[Wish]:
    """All wishes of all labels, those in other languages included."""
    found: list[Wish] = []
    for family in (*STARTERS, NONE):
        starts = [f"{family}.request", f"{family}.mislead", f"{family}.paste"]
        starts += [f"{language}.{family}" for language in LANGUAGES]
        for start in starts:
            for section, template in _leaves(grammar, start):
                topics = frozenset(_topics(template))
                found.append(Wish(len(found), family, section, template, topics))
    return found


def _leaves(grammar: Grammar, section: str) -> Iterator[tuple[str, Template]]:
    """Alternatives that are more than the name of another section."""
    for template in dict.fromkeys(grammar.templates(section)):
        match template:
            case (Reference(section=inner),) if grammar.sections().get(inner):
                yield from _leaves(grammar, inner)
            case _:
                yield section, template


def _topics(template: Template) -> Iterator[str]:
    for node in template:
        if isinstance(node, Reference):
            file, _, name = node.section.partition(".")
            if file == "common" and name in TOPICS:
                yield name
        elif isinstance(node, Choice):
            for part in node.parts:
                yield from _topics(part)


def apart(grammar: Grammar, found: Sequence[Wish]) -> tuple[Grammar, list[Wish]]:
    """A grammar without every tenth wish, and these: what a model trained on the former says of them can be judged."""
    held = [wish for wish in found if wish.number % APART == 0]
    without: dict[str, list[Template]] = {}
    for wish in held:
        without.setdefault(wish.section, []).append(wish.template)
    kept = grammar.part(lambda section, at: grammar.templates(section)[at] not in without.get(section, ()))
    # A section of one wish stays whole, so that it is not apart after all.
    return kept, [wish for wish in held if wish.template not in kept.templates(wish.section)]


def pretended(found: list[Wish]) -> list[Pretended]:
    """Every wish, every section with several, every topic with several."""
    sections: dict[str, list[Wish]] = {}
    topics: dict[str, list[Wish]] = {}
    for wish in found:
        sections.setdefault(wish.section, []).append(wish)
        for topic in wish.topics:
            topics.setdefault(topic, []).append(wish)
    specialists = [Pretended((wish,), outline(wish.template)) for wish in found]
    specialists += [
        Pretended(tuple(group), f"{group[0].family}: {section.partition('.')[2].replace('_', ' ')}")
        for section, group in sections.items()
        if len(group) > 1
    ]
    specialists += [Pretended(tuple(group), "", topic) for topic, group in topics.items() if len(group) > 3]
    return specialists


def outline(template: Template) -> str:
    """An alternative with the names of its sections in place of their words."""
    return mend("".join(_outlined(template)).strip())


def _outlined(template: Template) -> Iterator[str]:
    for node in template:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Reference):
            yield node.section.partition(".")[2].replace("_", " ")
        elif isinstance(node, Choice):
            yield from _outlined(node.parts[0])
        else:
            yield "1"


def describe(specialist: Pretended, grammar: Grammar, random: Random) -> str:
    """What such a specialist might say about itself."""
    if not specialist.topic:
        return specialist.about
    listed = ", ".join(grammar.expand(f"common.{specialist.topic}", random) for _ in range(_LISTED))
    return random.choice((f"{specialist.topic}: {listed}", f"everything about {listed}", listed))
