"""Batches to learn from: requests, specialists, and who may answer what. Row ``i`` of a seed is always the same.

Most requests are of the starters. Some find their own specialist gone and then belong to none; others are of pretended
specialists, which stand beside the starters.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from synapse_engine.specialists.reading import built_in
from synapse_engine.train.coordinator.model import Shown
from synapse_engine.train.coordinator.pretended import describe, pretended, wishes
from synapse_engine.train.coordinator.reading import Reading, read_description, read_request
from synapse_engine.train.routing import noise
from synapse_engine.train.routing.grammar import mend
from synapse_engine.train.routing.requests import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import Tokenizer

    from synapse_engine.specialists.reading import Specialist
    from synapse_engine.train.coordinator.options import Options
    from synapse_engine.train.coordinator.pretended import Pretended, Wish
    from synapse_engine.train.routing.generate import Generator
    from synapse_engine.train.routing.grammar import Grammar
    from synapse_engine.train.routing.requests import Request
    from synapse_engine.train.routing.variety import HeldOut

# Shares of requests: of pretended specialists; whose specialist is not there; who see fewer than all others.
SHARE_PRETENDED, SHARE_GONE, SHARE_FEWER = 0.25, 0.06, 0.3
# Of a request so many tokens are lost, at most, and so many words become similar ones, so that no single one decides.
MOST_LOST, MOST_SWAPPED = (0.0, 0.1, 0.3), (0.0, 0.0, 0.1, 0.2)
# Pretended specialists beside the starters, the most examples of one, and how many of a starter's are seen at once.
PRETENDED, EXAMPLES, SHOWN_EXAMPLES = 10, 5, 5


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
    ) -> None:
        self._seed, self._size = options.seed, options.batch_size
        self._generator, self._grammar, self._tokenizer = generator, grammar, tokenizer
        self._near, self._apart = near, apart
        self._starters = built_in()
        self._names = [specialist.name for specialist in self._starters]
        self._pretended = pretended(wishes(grammar))

    def batch(self, number: int) -> Batch:
        """Batch ``number``; nothing else decides what is in it."""
        random = Random(f"{self._seed}/batch/{number}")  # noqa: S311
        beside = random.sample(self._pretended, PRETENDED)
        texts, owners, described = self._shown(beside, random)
        own = round(self._size * (1 - SHARE_PRETENDED))
        rows = [row for at in range(own) if self._allowed(row := self._generator.row(number * own + at))]
        own = len(rows)
        requests = [self._blurred(read_request(self._tokenizer, turns_of(row)), random) for row in rows]
        wanted, present = zip(*(self._of_starter(row, beside, random) for row in rows), strict=True)
        more, more_wanted, more_present = self._of_pretended(beside, self._size - own, random)
        return Batch(
            requests + more,
            texts,
            Shown(torch.tensor(owners), torch.tensor(described)),
            len(self._names) + PRETENDED,
            torch.tensor([*present, *more_present]),
            torch.tensor([*wanted, *more_wanted]),
        )

    def _shown(self, beside: list[Pretended], random: Random) -> tuple[list[Reading], list[int], list[bool]]:
        shown: list[tuple[str, list[str]]] = [
            (starter.description, random.sample(starter.examples, min(SHOWN_EXAMPLES, len(starter.examples))))
            for starter in self._starters
        ]
        for specialist in beside:
            examples = [
                say(self._grammar, random.choice(specialist.wishes), random) for _ in range(random.randint(1, EXAMPLES))
            ]
            shown.append((describe(specialist, self._grammar, random), examples))
        texts, owners, described = [], [], []
        for owner, (description, examples) in enumerate(shown):
            texts += [read_description(self._tokenizer, description)]
            texts += [read_request(self._tokenizer, [("user", example)]) for example in examples]
            owners += [owner] * (len(examples) + 1)
            described += [True] + [False] * len(examples)
        return texts, owners, described

    def _of_starter(self, row: Request, beside: list[Pretended], random: Random) -> tuple[int, list[bool]]:
        """Who is right, and who is there: no pretended specialist that could serve requests of this label, too."""
        present = self._some(random)
        present += [all(wish.family != row.label for wish in other.wishes) for other in beside]
        return self._settle(row.label, present, random)

    def _settle(self, label: str, present: list[bool], random: Random) -> tuple[int, list[bool]]:
        none = len(present)
        if label == NONE:
            return none, [*present, True]
        at = self._names.index(label)
        present[at] = random.random() >= SHARE_GONE
        return at if present[at] else none, [*present, True]

    def _some(self, random: Random) -> list[bool]:
        share = random.choice((0.2, 0.5, 0.9)) if random.random() < SHARE_FEWER else 0.0
        return [random.random() >= share for _ in self._names]

    def _of_pretended(
        self, beside: list[Pretended], count: int, random: Random
    ) -> tuple[list[Reading], list[int], list[list[bool]]]:
        requests, wanted, present = [], [], []
        for _ in range(count):
            at = random.randrange(len(beside))
            wish = random.choice(beside[at].wishes)
            requests.append(
                self._blurred(read_request(self._tokenizer, [("user", say(self._grammar, wish, random))]), random)
            )
            there = self._some(random)
            # It is for more than the pretended one if both could serve it, so that the latter is right.
            there += [number == at or not other.serves(wish) for number, other in enumerate(beside)]
            right = len(self._names) + at
            if random.random() < SHARE_GONE * 2:
                there[right] = False
                found, there = self._settle(wish.family, there, random)
            else:
                found, there = right, [*there, True]
            wanted.append(found)
            present.append(there)
        return requests, wanted, present

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


def say(grammar: Grammar, wish: Wish, random: Random) -> str:
    """A request for a wish, as somebody may type it."""
    text = mend(grammar.fill(wish.template, random)).strip() or "?"
    if random.random() < 0.4:
        text = noise.sentence_case(text)
    return noise.typos(text, random, 0.1) if random.random() < 0.1 else text


def turns_of(row: Request) -> list[tuple[str, str]]:
    """The turns of a request with their roles."""
    return [(("user", "assistant")[at % 2], text) for at, text in enumerate(row.turns)]


def starters_shown(tokenizer: Tokenizer, specialists: Sequence[Specialist]) -> tuple[list[Reading], Shown]:
    """Everything that specialists show."""
    texts, owners, described = [], [], []
    for owner, specialist in enumerate(specialists):
        texts.append(read_description(tokenizer, specialist.description))
        texts += [read_request(tokenizer, [("user", example)]) for example in specialist.examples]
        owners += [owner] * (len(specialist.examples) + 1)
        described += [True] + [False] * len(specialist.examples)
    return texts, Shown(torch.tensor(owners), torch.tensor(described))
