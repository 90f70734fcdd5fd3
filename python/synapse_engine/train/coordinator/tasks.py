"""Batches to learn from: requests, specialists, and who may answer what. Row ``i`` of a seed is always the same.

Most requests are of the starters. Some find their own specialist gone and then belong to none; others are of pretended
specialists, which stand beside the starters.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from synapse_engine.specialists.reading import built_in
from synapse_engine.train.coordinator.model import Shown
from synapse_engine.train.coordinator.pretended import Question, wish_groups
from synapse_engine.train.coordinator.reading import Reading, read_description, read_request
from synapse_engine.train.coordinator.topics import Topics
from synapse_engine.train.routing.requests import LABELS, NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tokenizers import Tokenizer

    from synapse_engine.specialists.reading import Specialist
    from synapse_engine.train.coordinator.lessons import Lessons
    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.coordinator.pretended import Pretended
    from synapse_engine.train.routing.generate import Generator
    from synapse_engine.train.routing.grammar import Grammar
    from synapse_engine.train.routing.requests import Request
    from synapse_engine.train.routing.variety import HeldOut

# Shares of requests: of pretended specialists; whose specialist is not there; who see fewer than all others.
SHARE_PRETENDED, SHARE_GONE, SHARE_FEWER = 0.3, 0.06, 0.3
# Of a request so many tokens are lost, at most, and so many words become similar ones, so that no single one decides.
MOST_LOST, MOST_SWAPPED = (0.0, 0.2, 0.4), (0.0, 0.0, 0.1, 0.2)
# Pretended specialists beside the starters: for wishes, and for topics.
GROUPS, TOPICS = 5, 5
# The most examples of one, and how many of a starter's are seen at once.
EXAMPLES, SHOWN_EXAMPLES = 4, 5
_TOGETHER = 64


@dataclass(frozen=True)
class Batch:
    """Requests with their specialists."""

    requests: list[Reading]
    texts: list[Reading]
    """What the specialists show."""
    about: Shown
    count: int
    """Specialists."""
    present: Tensor
    """(requests, count + 1): who may be chosen; none always may."""
    wanted: Tensor
    """(requests,): the right one; ``count`` is none."""
    lessons: list[Reading]
    taught: Tensor
    """(lessons, ABOUT): what they are about."""


class _Row(NamedTuple):
    reading: Reading
    present: list[bool]
    """Of the specialists; none always is."""
    wanted: int


class Tasks:
    """Makes batches from grammars."""

    def __init__(
        self,
        options: Options,
        generator: Generator,
        grammar: Grammar,
        tokenizer: Tokenizer,
        near: Mapping[int, Sequence[int]],
        apart: HeldOut | None = None,
        lessons: Lessons | None = None,
    ) -> None:
        self._seed, self._size = options.seed, options.batch_size
        self._generator, self._tokenizer = generator, tokenizer
        self._near, self._apart, self._lessons, self._taught = near, apart, lessons, options.lessons_per_step
        self._starters = built_in()
        self._names = [specialist.name for specialist in self._starters]
        self._groups = wish_groups(grammar)
        self._topics = Topics(tokenizer, near)

    def batch(self, number: int) -> Batch:
        """Batch ``number``; nothing else decides what is in it."""
        random = Random(f"{self._seed}/batch/{number}")  # noqa: S311
        beside: list[Pretended] = [*random.sample(self._groups, GROUPS), *self._topics.draw(TOPICS, random)]
        texts, about = self._shown(beside, random)
        rows = self._of_starters(number, beside, random) + self._of_pretended(beside, random)
        lessons, taught = self._lessons.draw(self._taught, random) if self._lessons else ([], torch.empty(0))
        return Batch(
            [row.reading for row in rows],
            texts,
            about,
            len(self._names) + len(beside),
            torch.tensor([[*row.present, True] for row in rows]),
            torch.tensor([row.wanted for row in rows]),
            [read_request(self._tokenizer, [("user", text)]) for text in lessons],
            taught,
        )

    def requests(self, generator: Generator, count: int) -> Iterator[tuple[list[Reading], Tensor]]:
        """Generated requests and the numbers of their labels, batch by batch, as they are."""
        for start in range(0, count, _TOGETHER):
            rows = [row for at in range(start, start + _TOGETHER) if self._allowed(row := generator.row(at))]
            readings = [read_request(self._tokenizer, turns_of(row)) for row in rows]
            yield readings, torch.tensor([LABELS.index(row.label) for row in rows])

    def _shown(self, beside: list[Pretended], random: Random) -> tuple[list[Reading], Shown]:
        shown = [
            (starter.description, random.sample(starter.examples, min(SHOWN_EXAMPLES, len(starter.examples))))
            for starter in self._starters
        ]
        shown += [
            (other.describe(random), [other.ask(random).text for _ in range(random.randint(1, EXAMPLES))])
            for other in beside
        ]
        return read_shown(self._tokenizer, shown)

    def _of_starters(self, number: int, beside: list[Pretended], random: Random) -> list[_Row]:
        """Requests of starters and of none, before all pretended specialists that could not serve them, too."""
        count = round(self._size * (1 - SHARE_PRETENDED))
        found = []
        for at in range(number * count, (number + 1) * count):
            request = self._generator.row(at)
            if self._allowed(request):
                reading = self._blurred(read_request(self._tokenizer, turns_of(request)), random)
                question = Question(request.text, request.label)
                present = self._some(random) + [not other.may_serve(question) for other in beside]
                found.append(self._settled(reading, request.label, present, random))
        return found

    def _of_pretended(self, beside: list[Pretended], random: Random) -> list[_Row]:
        """Requests of pretended specialists, which are more special than the starters and so right."""
        found = []
        for _ in range(self._size - round(self._size * (1 - SHARE_PRETENDED))):
            at = random.randrange(len(beside))
            question = beside[at].ask(random)
            reading = self._blurred(read_request(self._tokenizer, [("user", question.text)]), random)
            present = self._some(random)
            present += [number == at or not other.may_serve(question) for number, other in enumerate(beside)]
            right = len(self._names) + at
            if random.random() < SHARE_GONE * 2:
                present[right] = False
                found.append(self._settled(reading, question.family, present, random))
            else:
                found.append(_Row(reading, present, right))
        return found

    def _settled(self, reading: Reading, label: str, present: list[bool], random: Random) -> _Row:
        """A request of a starter, who may be gone, or of none."""
        none = len(present)
        if label == NONE:
            return _Row(reading, present, none)
        at = self._names.index(label)
        present[at] = random.random() >= SHARE_GONE
        return _Row(reading, present, at if present[at] else none)

    def _some(self, random: Random) -> list[bool]:
        share = random.choice((0.2, 0.5, 0.9)) if random.random() < SHARE_FEWER else 0.0
        return [random.random() >= share for _ in self._names]

    def _allowed(self, row: Request) -> bool:
        return self._apart is None or (self._apart.same(row.text) is None and not self._apart.near(row.text))

    def _blurred(self, reading: Reading, random: Random) -> Reading:
        """Without some tokens, and with other words of like meaning."""
        lost, swapped = random.choice(MOST_LOST), random.choice(MOST_SWAPPED)
        begin = reading.request + 1
        said = [self._swap(token, random) if random.random() < swapped else token for token in reading.ids[begin:]]
        if len(said) > 3:
            said = [token for token in said if random.random() >= lost]
        return Reading(reading.ids[:begin] + said, reading.request)

    def _swap(self, token: int, random: Random) -> int:
        return random.choice(self._near.get(token, (token,)))


def turns_of(row: Request) -> list[tuple[str, str]]:
    """The turns of a request with their roles."""
    return [(("user", "assistant")[at % 2], text) for at, text in enumerate(row.turns)]


def starters_shown(tokenizer: Tokenizer, specialists: Sequence[Specialist]) -> tuple[list[Reading], Shown]:
    """Everything that specialists show."""
    return read_shown(tokenizer, [(specialist.description, specialist.examples) for specialist in specialists])


def read_shown(tokenizer: Tokenizer, shown: Sequence[tuple[str, Sequence[str]]]) -> tuple[list[Reading], Shown]:
    """Descriptions and examples, one specialist after the other."""
    texts, owners, described = [], [], []
    for owner, (description, examples) in enumerate(shown):
        texts.append(read_description(tokenizer, description))
        texts += [read_request(tokenizer, [("user", example)]) for example in examples]
        owners += [owner] * (len(examples) + 1)
        described += [True] + [False] * len(examples)
    return texts, Shown(torch.tensor(owners), torch.tensor(described))
