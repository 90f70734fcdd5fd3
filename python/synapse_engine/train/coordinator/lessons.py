"""What texts are about, to learn it: texts with what a sentence model makes of them, and specialists with requests.

What a request wants is learnt from its label; but requests of one label that are about different things would come to
look the same, and a user's specialist is for one of these things.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import torch

from synapse_engine.train.routing.written import Field, WrittenSpecialist, words, written_requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from synapse_engine.train.coordinator.asking import Asking
    from synapse_engine.train.coordinator.glosses import Gloss
    from synapse_engine.train.coordinator.meanings import SentenceModel
    from synapse_engine.train.routing.generate import Generator
    from synapse_engine.train.routing.grammar import Real

_LETTERS = 240
# Axes are found on so many texts.
_SAMPLE = 20_000
# For ten requests about everything so many generated ones, and so many of the former in other languages.
_GENERATED, _ABROAD = 2, 4


class Lesson(NamedTuple):
    """A text, and another one that means the same: itself, its translation."""

    text: str
    means: str


@dataclass(frozen=True)
class Lessons:
    """Texts and unit vectors (texts, width)."""

    texts: list[str]
    vectors: Tensor


def collect(
    generator: Generator,
    real: Mapping[str, Sequence[Real]],
    specialists: Sequence[WrittenSpecialist],
    glosses: Sequence[Gloss],
    asking: Asking,
    asked: int,
) -> list[Lesson]:
    """Different texts, none long; so many requests about everything."""
    random = Random("lessons")  # noqa: S311
    texts = [generator.row(row).text for row in range(_GENERATED * asked // 10)]
    texts += [request.text for request in written_requests()]
    texts += [text for one in specialists for text in (one.description, *one.texts)]
    texts += [piece.text for kind in sorted(real) for piece in real[kind]]
    texts += [gloss.text for gloss in glosses]
    texts += [asking.english(random) for _ in range(asked)]
    found = [Lesson(text, text) for text in dict.fromkeys(text[:_LETTERS].strip() for text in texts)]
    found += [Lesson(other, english) for english, *others in words() for other in others]
    return found + [Lesson(*asking.abroad(random)) for _ in range(_ABROAD * asked // 10)]


def teach(model: SentenceModel, lessons: Sequence[Lesson], width: int) -> tuple[Lessons, Tensor]:
    """The model's vectors on their main axes, without what all have in common; and these axes, as columns."""
    meant = list(dict.fromkeys(lesson.means for lesson in lessons))
    vectors = model.embed(meant)
    vectors -= vectors.mean(0)
    sample = vectors[torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:_SAMPLE]]
    axes = torch.linalg.svd(sample, full_matrices=False).Vh[:width].T
    reduced = torch.nn.functional.normalize(vectors @ axes, dim=-1).half()
    places = {text: at for at, text in enumerate(meant)}
    return Lessons([one.text for one in lessons], reduced[[places[one.means] for one in lessons]]), axes


class Guest(NamedTuple):
    """A specialist as it stands beside others for one step: what it shows, and what is asked of it."""

    description: str
    examples: list[str]
    asked: list[str]


def guests(
    specialists: Sequence[WrittenSpecialist], fields: Sequence[Field], count: int, asked: int, random: Random
) -> Iterator[Guest]:
    """So many different ones, a third of them fields whose texts are a few words each."""
    of_fields = min(len(fields), count // 3)
    for one in random.sample(specialists, min(len(specialists), count - of_fields)):
        texts = random.sample(one.texts, len(one.texts))
        shown = random.randint(3, 7)
        yield Guest(one.description, texts[asked : asked + shown], texts[:asked])
    for field in random.sample(fields, of_fields):
        words = random.sample(field.words, len(field.words))
        cut = [words[at : at + 5] for at in range(0, len(words) - 4, 5)]
        texts = [" ".join(part[: random.randint(2, 5)]) for part in cut]
        yield Guest(field.name, texts[asked:], texts[:asked])
