"""Prose out of mark-up, and the package files that hold it."""

import struct
import zlib
from pathlib import Path

import pytest

from synapse_engine.train.corpus import SOURCES, Source, paragraphs
from synapse_engine.train.corpus_readers import (
    clean,
    html_paragraphs,
    r_paragraphs,
    sword_paragraphs,
    text_paragraphs,
)
from synapse_engine.train.errors import DataError

SENTENCE = "This is a sentence that is long enough to be kept in the text, as it reads well."


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (f"  {SENTENCE}\n ", SENTENCE),
        (
            SENTENCE.replace("text,", "text\u00a0\u2013 \u2018quoted\u2019 ,"),
            SENTENCE.replace("text,", "text - 'quoted',"),
        ),
        ("Too short.", None),
        (SENTENCE[:-1], None),
        ("| 17 | 4711 | 0x00 | == {} [] // 1234567890 ; 99 88 77 66 55 44 33 22 11 00 --- ok.", None),
        (SENTENCE.replace("reads", "r\u00e9ads"), None),
    ],
)
def test_clean(raw: str, wanted: str | None) -> None:
    assert clean(raw) == wanted


def test_html() -> None:
    source = """<html><head><title>Not this</title></head><body><nav>Nor this</nav>
    <p>One <b>bold</b> &amp; <code>inline</code> line.<pre>code()</pre><p>Two<br>lines.</p>
    <table><tr><td>cell</td></tr></table><ul><li>Item <p>inside.</p></li></ul><script>x</script></body></html>"""
    found = [" ".join(paragraph.split()) for paragraph in html_paragraphs(source)]
    assert [paragraph for paragraph in found if paragraph] == [
        "One bold & inline line.", "Two lines.", "Item", "inside.",
    ]  # fmt: skip


def test_sword() -> None:
    marked = (
        '<chapter n="1"/><title>Heading</title><div type="x-p" sID="1"/>In the <w lemma="a">beginning</w>,'
        '<note>a note</note> all &quot;was&quot; <l level="1"/>well.<div type="x-p" eID="1"/> '
        "<table><cell>x</cell></table>Next."
    )
    blocks = [marked.encode(), b"Last one."]
    packed = [zlib.compress(block) for block in blocks]
    index = struct.pack("<III", 0, len(packed[0]), len(blocks[0])) + struct.pack("<III", 0, 0, 0)
    index += struct.pack("<III", len(packed[0]), len(packed[1]), len(blocks[1]))
    found = [" ".join(paragraph.split()) for paragraph in sword_paragraphs(index, b"".join(packed))]
    assert [paragraph for paragraph in found if paragraph] == [
        'In the beginning, all "was" well.', "Next.", "Last one.",
    ]  # fmt: skip


def test_r_database() -> None:
    def string(text: str) -> bytes:
        return bytes([0, 4, 0, 9]) + struct.pack(">i", len(text)) + text.encode()

    record = b"X\n\0\0\0\3" + b"".join(map(string, ["first line", "of a paragraph", "", "second"]))
    packed = struct.pack(">I", len(record)) + zlib.compress(record)
    assert list(r_paragraphs(packed * 2)) == ["first line of a paragraph", "second"] * 2


def test_plain_text() -> None:
    assert list(text_paragraphs("one\nstill one\n\n \n two")) == ["one\nstill one", " two"]


def test_a_source_gives_each_paragraph_once(tmp_path: Path) -> None:
    source = Source("some-doc", "Some", "public domain", "**/*.html", "html")
    (tmp_path / "b.html").write_text(f"<p>{SENTENCE}</p>")
    (tmp_path / "a.html").write_text(f"<p>{SENTENCE}</p><p>Before that comes this. {SENTENCE}</p>")
    assert list(paragraphs(source, tmp_path)) == [SENTENCE, f"Before that comes this. {SENTENCE}"]
    with pytest.raises(DataError, match="some-doc: no file matches"):
        list(paragraphs(source, tmp_path / "empty"))


def test_every_source_names_a_licence_and_a_known_kind() -> None:
    assert {source.kind for source in SOURCES} == {"html", "text", "r", "sword"}
    assert all(source.licence and source.title for source in SOURCES)
    assert len({source.title for source in SOURCES}) == len(SOURCES)
