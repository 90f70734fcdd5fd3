"""How varied a set of texts is, and how near two sets are. Knows words, not labels.

``python -m synapse_engine.train.routing.variety FILE [--beside HELD_OUT]`` prints both as a table.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine.train.routing.requests import normalised, read_requests, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Two texts are near duplicates if they share this much of the three-word sequences that either has.
NEAR = 0.7
# A sequence in more texts than this says nothing about any two of them.
_COMMON = 200


@dataclass(frozen=True)
class Variety:
    """Of one set of texts."""

    texts: int
    distinct: float
    """Share of texts that no earlier one equals but for case and marks."""
    vocabulary: int
    fresh_3: float
    """Distinct three-word sequences over all of them."""
    fresh_5: float
    near: float
    """Share of texts to which another, different one is a near duplicate."""


def measure(texts: Sequence[str]) -> Variety:
    """Counts words, sequences and near duplicates."""
    tokens = [words(text) for text in texts]
    three, five = (Counter(gram for text in tokens for gram in grams(text, n)) for n in (3, 5))
    kinds = {" ".join(text) for text in tokens}
    return Variety(
        texts=len(texts),
        distinct=len(kinds) / max(len(texts), 1),
        vocabulary=len({word for text in tokens for word in text}),
        fresh_3=len(three) / max(three.total(), 1),
        fresh_5=len(five) / max(five.total(), 1),
        near=near_duplicates([kind.split() for kind in sorted(kinds)]),
    )


def grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every n words in a row."""
    return [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]


def near_duplicates(texts: Sequence[Sequence[str]]) -> float:
    """Share of texts that have a near duplicate among the others; a text of less than three words has none."""
    sets = [frozenset(grams(text, 3)) for text in texts]
    where: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, found in enumerate(sets):
        for gram in found:
            where[gram].append(number)
    return sum(_has_near(number, sets, where) for number in range(len(sets))) / max(len(sets), 1)


def _has_near(number: int, sets: Sequence[frozenset[tuple[str, ...]]], where: dict[tuple[str, ...], list[int]]) -> bool:
    mine = sets[number]
    shared = Counter(other for gram in mine if len(where[gram]) <= _COMMON for other in where[gram] if other != number)
    return any(
        len(mine & sets[other]) >= NEAR * len(mine | sets[other])
        for other, count in shared.items()
        if count >= NEAR * len(mine) / 2
    )


@dataclass(frozen=True)
class Overlap:
    """How much of held-out texts is in another set."""

    same: tuple[str, ...]
    """Held-out texts that the other set has, too, but for case and marks."""
    near: tuple[str, ...]
    """Held-out texts of which at least half of the five-word sequences are in one text of the other set."""


class HeldOut:
    """Texts that others are compared with, one at a time."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = {normalised(text): text for text in texts}
        self._sizes = {text: len(set(grams(text.split(), 5))) for text in self._texts}
        self._where: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for text in self._texts:
            for gram in grams(text.split(), 5):
                self._where[gram].add(text)

    def same(self, other: str) -> str | None:
        """The held-out text that is the same but for case and marks."""
        return self._texts.get(normalised(other))

    def near(self, other: str) -> list[str]:
        """The held-out texts of which at least half of the five-word sequences are in this one."""
        hits = Counter(text for gram in set(grams(words(other), 5)) for text in self._where.get(gram, ()))
        return [self._texts[text] for text, count in hits.items() if 2 * count >= self._sizes[text]]


def overlap(held_out: Iterable[str], others: Iterable[str]) -> Overlap:
    """Looks for every held-out text in a stream of others, which may be long."""
    apart = HeldOut(held_out)
    same: set[str] = set()
    near: set[str] = set()
    for other in others:
        if (text := apart.same(other)) is not None:
            same.add(text)
        near.update(apart.near(other))
    return Overlap(tuple(sorted(same)), tuple(sorted(near)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m synapse_engine.train.routing.variety", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--beside", type=Path, help="held-out requests, looked for among the others")
    parser.add_argument("--limit", type=int, default=20000, help="texts that are compared with each other")
    options = parser.parse_args()
    requests = list(read_requests(options.file))
    labels = sorted({request.label for request in requests})
    print(f"{'':10} {'texts':>7} {'distinct':>8} {'words':>7} {'fresh 3':>8} {'fresh 5':>8} {'near':>7}")
    for label in ["all", *labels]:
        texts = [request.text for request in requests if label in ("all", request.label)]
        found = measure(list(islice(texts, options.limit)))
        print(
            f"{label:10} {found.texts:7} {found.distinct:8.1%} {found.vocabulary:7} {found.fresh_3:8.1%}"
            f" {found.fresh_5:8.1%} {found.near:7.1%}"
        )
    if options.beside:
        held_out = [request.text for request in read_requests(options.beside)]
        both = overlap(held_out, (request.text for request in requests))
        print(f"held out: {len(held_out)}; the same: {len(both.same)}; near: {len(both.near)}")
        for text in (*both.same, *both.near):
            print(f"  {text!r}")


if __name__ == "__main__":
    main()
