"""Specialists for topics: words that mean about the same, in sentences that would be of the specialist ``general``.

There are as many topics as words, so that a model learns to notice what any specialist is about, not only those it has
seen: a question about yeast goes to ``general``, unless somebody is there for bread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synapse_engine.train.coordinator.pretended import Question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from tokenizers import Tokenizer

FAMILY = "general"
# {a}, {b} and {c} are words of the topic.
_FRAMES = (
    "how do I {a} a {b}?",
    "what is the best {a} for {b}",
    "can you recommend a {a}?",
    "{a} or {b}?",
    "why is my {a} {b}",
    "what does a {a} cost",
    "tell me about {a} and {b}",
    "is {a} good for {b}?",
    "any tips for {a}",
    "my {a} has no {b}",
    "I need help with {a}",
    "how long does {a} take",
    "where can I get a {a} {b}",
    "do I need a {a} for {b}?",
    "{a} {b}",
    "what is the difference between {a} and {b}?",
    "should I {a} before {b}?",
    "who decides about {a}",
    "is it normal that {a}",
    "I have a question about {a}, {b} and {c}",
    "what happens if the {a} is {b}",
    "can I {a} without {b}",
    "{a} {b} {c}?",
    "the {a} is {b}, what should I do",
    "which {a} would you choose?",
    "how much {a} is too much",
    "explain {a} to me",
    "ideas for {a} with {b}",
    "{a} for beginners",
    "when is the right time to {a}?",
    "how many {a} are there in {b}",
    "was the {a} really {b}?",
    "we want to {a} the {b} next week",
    "I am looking for a {a}",
    "please {a} my {b}",
    "since yesterday my {a} is {b}",
    "what goes well with {a}",
    "is there a {a} near {b}?",
    "history of {a}",
    "{a} rules",
)
_ABOUT = (
    "{a}, {b}, {c}, {d}, {e}.",
    "Everything about {a}: {b}, {c}, {d}.",
    "Questions on {a}, {b} and {c}.",
    "{a} and {b}",
)


@dataclass(frozen=True)
class Topic:
    """Some words."""

    words: tuple[str, ...]

    def describe(self, random: Random) -> str:
        """What a specialist for it may say about itself."""
        return self._fill(random.choice(_ABOUT), random)

    def ask(self, random: Random) -> Question:
        """A request about it."""
        return Question(self._fill(random.choice(_FRAMES), random), FAMILY)

    def may_serve(self, question: Question) -> bool:
        """Everything that has a word of it and would be of the same starter."""
        return question.family == FAMILY and not question.words.isdisjoint(self.words)

    def _fill(self, frame: str, random: Random) -> str:
        words = random.sample(self.words, 5)
        return frame.format(**dict(zip("abcde", words, strict=True)))


class Topics:
    """Draws topics from words and, for each, those that mean about the same."""

    def __init__(self, tokenizer: Tokenizer, near: Mapping[int, Sequence[int]]) -> None:
        self._near = near
        self._seeds = list(near)
        self._words = {token: tokenizer.decode([token]).strip() for token in near}

    def draw(self, count: int, random: Random) -> list[Topic]:
        """Several; none if no word is known to be like another."""
        return [self._around(random.choice(self._seeds)) for _ in range(count if self._seeds else 0)]

    def _around(self, seed: int) -> Topic:
        return Topic((self._words[seed], *(self._words[token] for token in self._near[seed])))
