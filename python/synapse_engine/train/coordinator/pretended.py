"""Specialists that nobody has: groups of requests with something in common, so that a model learns to compare.

A *wish* is one alternative of a grammar below ``request``: a way to ask for one thing. What a pretended specialist is
for may be one wish, a section of them, or everything that speaks of animals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.routing import noise
from synapse_engine.train.routing.generate import LANGUAGES
from synapse_engine.train.routing.grammar import Choice, Grammar, Reference, mend
from synapse_engine.train.routing.requests import NONE, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from synapse_engine.train.routing.grammar import Template

TOPICS = ("country", "city", "animal", "food", "job", "object", "hobby", "topic", "computing", "relation", "month")
_LISTED = 8


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
class Question:
    """A request on its way: its text, the starter it would go to, and the wish behind it, if that is known."""

    text: str
    family: str
    wish: Wish | None = None

    @cached_property
    def words(self) -> frozenset[str]:
        """What it is about may be seen from these."""
        return frozenset(words(self.text))


class Pretended(Protocol):
    """A specialist that nobody has."""

    def describe(self, random: Random) -> str:
        """What it may say about itself."""

    def ask(self, random: Random) -> Question:
        """A request for it."""

    def may_serve(self, question: Question) -> bool:
        """Whether another's request could just as well be for it."""


@dataclass(frozen=True)
class WishGroup:
    """A specialist for some wishes. ``about`` says so in words, or names a topic whose words do."""

    grammar: Grammar
    wishes: tuple[Wish, ...]
    about: str
    topic: str = ""

    def describe(self, random: Random) -> str:
        """Its outline, its section, or words of its topic."""
        if not self.topic:
            return self.about
        listed = ", ".join(self.grammar.expand(f"common.{self.topic}", random) for _ in range(_LISTED))
        return random.choice((f"{self.topic}: {listed}", f"everything about {listed}", listed))

    def ask(self, random: Random) -> Question:
        """One of its wishes."""
        wish = random.choice(self.wishes)
        return Question(say(self.grammar, wish, random), wish.family, wish)

    def may_serve(self, question: Question) -> bool:
        """Its wishes, and all requests of unknown wishes of a label that it has a wish of."""
        if question.wish is not None:
            return question.wish in self.wishes
        return any(wish.family == question.family for wish in self.wishes)


def say(grammar: Grammar, wish: Wish, random: Random) -> str:
    """A request for a wish, as somebody may type it."""
    text = mend(grammar.fill(wish.template, random)).strip() or "?"
    if random.random() < 0.4:
        text = noise.sentence_case(text)
    return noise.typos(text, random, 0.1) if random.random() < 0.1 else text


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


def apart(grammar: Grammar, found: Sequence[Wish], every: int) -> tuple[Grammar, list[Wish]]:
    """A grammar without one wish of so many, and these, by which a model trained on the former can be judged."""
    held = [wish for wish in found if wish.number % every == 0]
    without: dict[str, list[Template]] = {}
    for wish in held:
        without.setdefault(wish.section, []).append(wish.template)
    kept = grammar.part(lambda section, at: grammar.templates(section)[at] not in without.get(section, ()))
    # A section of one wish stays whole, so that it is not apart after all.
    return kept, [wish for wish in held if wish.template not in kept.templates(wish.section)]


def wish_groups(grammar: Grammar) -> list[WishGroup]:
    """Every wish, every section with several, every topic with several."""
    found = wishes(grammar)
    sections: dict[str, list[Wish]] = {}
    topics: dict[str, list[Wish]] = {}
    for wish in found:
        sections.setdefault(wish.section, []).append(wish)
        for topic in wish.topics:
            topics.setdefault(topic, []).append(wish)
    groups = [WishGroup(grammar, (wish,), outline(wish.template)) for wish in found]
    groups += [
        WishGroup(grammar, tuple(group), f"{group[0].family}: {section.partition('.')[2].replace('_', ' ')}")
        for section, group in sections.items()
        if len(group) > 1
    ]
    groups += [WishGroup(grammar, tuple(group), "", topic) for topic, group in topics.items() if len(group) > 3]
    return groups


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
