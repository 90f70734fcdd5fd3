"""Makes perplexity.txt from the Jargon File 4.4.7 (public domain), as Debian's `jargon-text` 4.4.7-4.1 ships it.

    apt-get download jargon-text && dpkg-deb -x jargon-text_*.deb jargon
    python bench/data/make_text.py jargon/usr/share/doc/jargon-text/jargon.txt.gz

Takes the chapters that are running prose, one paragraph per line, without tables and lists.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

# First heading of a part that is taken, heading of the part after it.
PARTS = [
    ("Chapter 1. Hacker Slang and Hacker Culture", "Chapter 3. Revision History"),
    ("Chapter 4. Jargon Construction", "Chapter 10. Pronunciation Guide"),
    ("The Meaning of ‘Hack’", "The Story of Mel"),  # noqa: RUF001
    ("Reading Habits", "Politics"),
    ("Personality Characteristics", "Miscellaneous"),
]
MINIMUM_WORDS = 8
CROSS_REFERENCE = re.compile(r"\{([^{}]*)\}")


def part(text: str, start: str, end: str) -> str:
    """The text between two headings, each a whole line."""
    after = text.split(f"\n{start}\n", 1)[1]
    return after.split(f"\n{end}\n", 1)[0]


def paragraphs(text: str) -> list[str]:
    """Paragraphs long enough to be prose, each on one line, cross references without their braces."""
    joined = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return [CROSS_REFERENCE.sub(r"\1", one) for one in joined if len(one.split()) >= MINIMUM_WORDS and "│" not in one]


def main() -> None:
    """Writes perplexity.txt beside this script."""
    source = gzip.decompress(Path(sys.argv[1]).read_bytes()).decode().replace("\N{NO-BREAK SPACE}", " ")
    found = [one for start, end in PARTS for one in paragraphs(part(source, start, end))]
    Path(__file__).with_name("perplexity.txt").write_text("\n\n".join(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
