"""Ways to ask: one alternative of a grammar is a *wish*. Some are kept from training, to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.routing import noise
from synapse_engine.train.routing.generate import LANGUAGES
from synapse_engine.train.routing.grammar import Grammar, Reference, mend
from synapse_engine.train.routing.requests import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from synapse_engine.train.routing.grammar import Template


@dataclass(frozen=True)
class Wish:
    """One way to ask for something."""

    number: int
    family: str
    """The label of its requests."""
    section: str
    template: Template


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
                found.append(Wish(len(found), family, section, template))
    return found


def _leaves(grammar: Grammar, section: str) -> Iterator[tuple[str, Template]]:
    """Alternatives that are more than the name of another section."""
    for template in dict.fromkeys(grammar.templates(section)):
        match template:
            case (Reference(section=inner),) if grammar.sections().get(inner):
                yield from _leaves(grammar, inner)
            case _:
                yield section, template


def apart(grammar: Grammar, found: Sequence[Wish], every: int) -> tuple[Grammar, list[Wish]]:
    """A grammar without one wish of so many, and these, by which a model trained on the former can be judged."""
    held = [wish for wish in found if wish.number % every == 0]
    without: dict[str, list[Template]] = {}
    for wish in held:
        without.setdefault(wish.section, []).append(wish.template)
    kept = grammar.part(lambda section, at: grammar.templates(section)[at] not in without.get(section, ()))
    # A section of one wish stays whole, so that it is not apart after all.
    return kept, [wish for wish in held if wish.template not in kept.templates(wish.section)]
