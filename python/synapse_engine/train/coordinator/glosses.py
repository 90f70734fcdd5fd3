"""Words, definitions and sentences of WordNet: ``python -m synapse_engine.train.coordinator.glosses > glosses.jsonl``.

Texts on everything under the sun, for what texts are about. Writing them needs ``apt-get`` and ``dpkg-deb`` and the
machine's own package sources; the format is wndb(5WN)'s.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from synapse_engine.train.corpus import unpack
from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "wordnet-base"
_KINDS = ("noun", "verb", "adj", "adv")
_NAMES = 3


class Gloss(NamedTuple):
    """A text of WordNet's."""

    text: str
    kind: str = ""
    """The part of speech of what it defines; of a sentence, nothing."""
    names: tuple[str, ...] = ()
    """What it defines, the most common name first."""


def glosses(folder: Path) -> Iterator[Gloss]:
    """What each sense is called and means, and its sentences, in WordNet's order, from the folder with ``data.*``."""
    random = Random("glosses")  # noqa: S311
    for kind in _KINDS:
        for line in (folder / f"data.{kind}").read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue  # the licence
            head, _, gloss = line.partition(" | ")
            names = _names(head)
            meaning = re.sub(r';?\s*"[^"]*"?', "", gloss).strip(" ;")
            shown = tuple(names[:_NAMES])
            yield Gloss(random.choice((f"{', '.join(shown)}: {meaning}", meaning)), kind, shown)
            yield from (Gloss(sentence) for sentence in re.findall(r'"([^"]+)"', gloss))


def read_glosses(file: Path) -> list[Gloss]:
    """What ``main`` wrote."""
    try:
        records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return [Gloss(record["text"], record["kind"], tuple(record["names"])) for record in records]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: {error}", "python -m synapse_engine.train.coordinator.glosses writes one") from error


def _names(head: str) -> list[str]:
    """offset, file, kind, number of words in hexadecimal, then each word with a number."""
    parts = head.split(" ")
    count = int(parts[3], 16)
    return [re.sub(r"\(.*\)", "", parts[4 + 2 * at]).replace("_", " ") for at in range(count)]


def main() -> None:
    """The command line: no options."""
    with tempfile.TemporaryDirectory() as place:
        version = unpack(PACKAGE, Path(place))
        found = next(Path(place).glob("**/data.noun"), None)
        if found is None:
            raise DataError(f"{PACKAGE}: no data.noun", "the package may have another layout now")
        for gloss in glosses(found.parent):
            record = gloss._asdict() | {"source": f"{PACKAGE} {version} (WordNet 3.0 licence)"}
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
