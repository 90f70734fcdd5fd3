"""Writes requests without end: ``python -m synapse_engine.train.routing.generate --count 200000 > requests.jsonl``.

Row ``i`` of a seed depends on nothing but the two, so that a stream can start anywhere and be cut into parts.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.routing import noise
from synapse_engine.train.routing.grammar import Expansion, Grammar, Real, mend
from synapse_engine.train.routing.requests import LABELS, NONE, Request, read_requests
from synapse_engine.train.routing.variety import HeldOut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LANGUAGES = ("de", "fr", "es", "it", "pt")
# Share of rows: without label of a specialist; in another language; in two; after earlier turns; inside a story.
SHARE_NONE, SHARE_FOREIGN, SHARE_MIXED, SHARE_TURNS, SHARE_STORY = 0.1, 0.25, 0.03, 0.15, 0.12
SHARE_MISLEAD, SHARE_PASTE, SHARE_REAL = 0.18, 0.15, 0.2
# A longer request loses its beginning; what is wanted mostly stands at the end.
MAX_LETTERS = 4000


def grammar(real: Mapping[str, Sequence[Real]] | None = None) -> Grammar:
    """The grammars that come with the package, and real text for those of their sections that ask for it."""
    folder = resources.files(__package__) / "grammars"
    files = {name: (folder / f"{name}.txt").read_text("utf-8") for name in ("common", *LABELS, *LANGUAGES)}
    return Grammar(files, real)


def read_real(file: Path) -> dict[str, list[Real]]:
    """What ``harvest`` wrote: pieces of real text by kind."""
    found: dict[str, list[Real]] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            found.setdefault(record["kind"], []).append(Real(record["text"], record["source"]))
    return found


@dataclass
class _Draft:
    """A request on its way: its text, what was done to it, and the sources of real text in it."""

    text: str
    language: str
    traits: list[str]
    state: Expansion


class Generator:
    """Requests of all kinds, from grammars and, if given, real text."""

    def __init__(self, seed: int, grammars: Grammar) -> None:
        self._seed = seed
        self._grammar = grammars

    def stream(self, start: int = 0) -> Iterator[Request]:
        """Row ``start`` and all that follow."""
        while True:
            yield self.row(start)
            start += 1

    def row(self, index: int) -> Request:
        """One row; always the same for a seed, an index and the same grammars."""
        random = Random(f"{self._seed}/{index}")  # noqa: S311
        label = NONE if random.random() < SHARE_NONE else random.choice(STARTERS)
        before: tuple[str, ...] = ()
        if random.random() < SHARE_TURNS:
            before, draft = self._conversation(label, random)
        else:
            draft = self._single(label, random)
        self._disturb(draft, label, random)
        source = "; ".join(["grammar", *sorted(set(draft.state.sources))])
        return Request((*before, draft.text[-MAX_LETTERS:].strip()), label, source, tuple(draft.traits))

    def _single(self, label: str, random: Random) -> _Draft:
        draft = self._wish(label, random)
        if label == NONE:
            return draft
        if random.random() < SHARE_STORY:
            self._tell(draft, random)
        elif random.random() < 0.3:
            self._frame(draft, random)
        return draft

    def _wish(self, label: str, random: Random) -> _Draft:
        """What is wanted, in one language, without anything around it."""
        if random.random() < SHARE_FOREIGN:
            language = random.choice(LANGUAGES)
            state = Expansion()
            return _Draft(
                self._grammar.expand(f"{language}.{label}", random, state), language, [f"lang:{language}"], state
            )
        kinds = ("mislead", "paste", "real", "request")
        weights = [SHARE_MISLEAD, SHARE_PASTE, SHARE_REAL if self._grammar.has_real(f"{label}.real") else 0.0]
        kind = random.choices(kinds, [*weights, 1 - sum(weights)])[0]
        state = Expansion()
        text = mend(self._grammar.expand(f"{label}.{kind}", random, state))
        traits = {"mislead": ["mislead"], "paste": ["paste"], "real": ["paste", "real"], "request": []}[kind]
        return _Draft(text, "en", list(traits), state)

    def _conversation(self, label: str, random: Random) -> tuple[tuple[str, ...], _Draft]:
        """Earlier turns, and a request that goes on with them or, just as often, leaves them."""
        turns: list[str] = []
        goes_on = label != NONE and random.random() < 0.5
        language = random.choice(LANGUAGES) if random.random() < SHARE_FOREIGN else "en"
        earlier = [label if goes_on else random.choice(STARTERS) for _ in range(random.choice((1, 1, 2, 3)))]
        for topic in earlier:
            turns += [self._asked(topic, language, random), self._answered(topic, language, random)]
        if not goes_on:
            draft = self._wish(label, random)
            draft.traits += ["multi"]
            return tuple(turns), draft
        state = Expansion()
        section = f"{label}.followup" if language == "en" else f"{language}.followup_{label}"
        text = self._grammar.expand(section, random, state)
        traits = ["multi", "followup", *([] if language == "en" else [f"lang:{language}"])]
        return tuple(turns), _Draft(mend(text) if language == "en" else text, language, traits, state)

    def _asked(self, topic: str, language: str, random: Random) -> str:
        """An earlier request; some people mix languages."""
        if language == "en" or random.random() < 0.2:
            return self._wish(topic, random).text
        return self._grammar.expand(f"{language}.{topic}", random)

    def _answered(self, topic: str, language: str, random: Random) -> str:
        """What an assistant may have said, longer now and then."""
        reply = mend(self._grammar.expand(f"{topic}.reply", random))
        if language != "en" and random.random() < 0.7:
            reply = self._grammar.expand(f"{language}.sentence", random)
        if random.random() < 0.3:
            reply += "\n\n" + mend(self._grammar.expand(f"{topic}.reply", random))
        return reply

    def _tell(self, draft: _Draft, random: Random) -> None:
        """A story before the request, seldom behind it."""
        story = noise.sentence_case(self._story(draft.language, random))
        between = random.choice((" ", "\n", "\n\n"))
        wish = noise.sentence_case(draft.text)
        draft.text = f"{wish}{between}{story}" if random.random() < 0.2 else f"{story}{between}{wish}"
        draft.traits.append("long")

    def _story(self, language: str, random: Random) -> str:
        if language == "en":
            return mend(self._grammar.expand("common.background", random))
        section = f"{language}.sentence"
        return ". ".join(self._grammar.expand(section, random) for _ in range(random.randint(3, 9))) + "."

    def _frame(self, draft: _Draft, random: Random) -> None:
        """A greeting before the request, thanks behind it, or both; in two languages now and then."""
        file = {"en": "common"}.get(draft.language, draft.language)
        if random.random() < SHARE_MIXED / 0.3:
            file = random.choice([name for name in ("common", *LANGUAGES) if name != file])
            draft.traits.append("mixed")
        which = random.choice(("opening", "closing", "both"))
        if which != "closing":
            draft.text = f"{self._grammar.expand(f'{file}.opening', random)} {draft.text}"
        if which != "opening":
            end = "\n" if "\n" in draft.text else random.choice((" ", ", ", ". ", "\n", " - "))
            draft.text = f"{draft.text}{end}{self._grammar.expand(f'{file}.closing', random)}"

    def _disturb(self, draft: _Draft, label: str, random: Random) -> None:
        """Typing as people do; misspelt words of a grammar question are its content and stay."""
        if random.random() < 0.45:
            draft.text = noise.sentence_case(draft.text)
        if random.random() < 0.15 and label != "grammar":
            draft.text = noise.typos(draft.text, random, random.choice((0.05, 0.1, 0.2, 0.35)))
            draft.traits.append("typo")
        if random.random() < 0.06:
            draft.text = noise.shorthand(draft.text, random)
        if random.random() < 0.2:
            draft.text = noise.case(draft.text, random)
            draft.traits.append("case")
        if random.random() < 0.25 and label != NONE:
            draft.text = noise.marks(draft.text, random)
            draft.traits.append("marks")
        if not draft.text.strip():
            draft.text = "?"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m synapse_engine.train.routing.generate", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="the first row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", type=Path, help="pieces of real text, as `harvest` writes them")
    parser.add_argument("--apart", type=Path, help="held-out requests; rows that are the same or near are left out")
    options = parser.parse_args()
    held_out = HeldOut(request.text for request in read_requests(options.apart)) if options.apart else None
    generator = Generator(options.seed, grammar(read_real(options.real) if options.real else None))
    for index in range(options.start, options.start + options.count):
        row = generator.row(index)
        if held_out is None or (held_out.same(row.text) is None and not held_out.near(row.text)):
            sys.stdout.write(row.to_json() + "\n")


if __name__ == "__main__":
    main()
