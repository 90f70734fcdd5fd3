"""Paragraphs of English prose out of the formats in which Debian packages hold them. Knows no package."""

from __future__ import annotations

import re
import struct
import zlib
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_CHARACTERS = 60
MIN_LETTERS = 0.72  # of all characters; tables, code and references have fewer
_PLAIN = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": " - ", "\u2026": "...",
    "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u00ad": None, "\u200b": None, "\u00b6": None, "`": "'",
})  # fmt: skip
_SENTENCE_END = re.compile(r"""[.!?]["')\]]*$""")


def clean(paragraph: str) -> str | None:
    """One line of plain text, or nothing if it does not read like sentences."""
    text = re.sub(r"\s+", " ", paragraph.translate(_PLAIN)).strip()
    text = re.sub(r" ([,.;:!?])", r"\1", text)
    text = re.sub(r"\(\s*\)|\[\s*\]", "", text)
    if len(text) < MIN_CHARACTERS or not text.isascii() or not _SENTENCE_END.search(text):
        return None
    return text if sum(map(str.isalpha, text)) >= MIN_LETTERS * len(text) else None


def html_paragraphs(source: str) -> Iterator[str]:
    """The text of ``p``, ``dd`` and ``blockquote`` elements, without code blocks, tables and navigation."""
    parser = _Paragraphs()
    parser.feed(source)
    parser.close()
    yield from parser.found


class _Paragraphs(HTMLParser):
    _BREAKS = frozenset({"p", "dd", "dt", "li", "div", "td", "blockquote", "section", "h1", "h2", "h3", "h4", "body"})
    _SKIPPED = frozenset({"pre", "table", "script", "style", "nav", "head", "sup"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._text: list[str] = []
        self._skipping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens a paragraph, or something to pass over."""
        del attrs
        if tag in self._SKIPPED:
            self._skipping.append(tag)
        elif tag in self._BREAKS:
            self._end()
        elif tag == "br":
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """Closes what the start tag opened."""
        if tag in self._skipping:
            while self._skipping.pop() != tag:
                pass
        elif tag in self._BREAKS:
            self._end()

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        if not self._skipping:
            self._text.append(data)

    def close(self) -> None:
        """Ends the last paragraph."""
        super().close()
        self._end()

    def _end(self) -> None:
        if self._text:
            self.found.append("".join(self._text))
        self._text = []


def sword_paragraphs(index: bytes, blocks: bytes) -> Iterator[str]:
    """A module of the SWORD project: zlib blocks of OSIS mark-up, and an index of (offset, packed, unpacked) u32."""
    for offset, packed, _ in struct.iter_unpack("<III", index):
        if packed:
            yield from _osis_paragraphs(zlib.decompress(blocks[offset : offset + packed]).decode("utf-8", "replace"))


def _osis_paragraphs(source: str) -> Iterator[str]:
    source = re.sub(r"<(note|table|title)\b.*?</\1>", " ", source, flags=re.DOTALL)
    source = re.sub(r"<(div|chapter|p|title|table)\b[^>]*>", "\n", source)
    source = re.sub(r"</?(l|lg|lb|verse|q)\b[^>]*>", " ", source)
    yield from re.sub(r"<[^>]*>", "", source).replace("&quot;", '"').replace("&amp;", "&").split("\n")


def r_paragraphs(source: bytes) -> Iterator[str]:
    """Character vectors of an R database: records of a u32 unpacked length and a zlib stream, lines of text in each."""
    while source:
        stream = zlib.decompressobj()
        yield from _joined(_r_strings(stream.decompress(source[4:])))
        source = stream.unused_data


def _r_strings(record: bytes) -> Iterator[str]:
    # A string is its type (9) under flag bits that say its encoding, then a length; -1 means "not available".
    for match in re.finditer(rb"\x00[\x00-\x0f]\x00\x09(?=(....))", record, re.DOTALL):
        length = struct.unpack(">i", match[1])[0]
        if 0 <= length < 1000:
            start = match.end() + 4
            yield record[start : start + length].decode("utf-8", "replace")


def _joined(lines: Iterator[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for line in lines:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield " ".join(paragraph)
            paragraph = []
    yield " ".join(paragraph)


def text_paragraphs(source: str) -> Iterator[str]:
    """Paragraphs of a plain text file, which empty lines part."""
    yield from re.split(r"\n\s*\n", source)
