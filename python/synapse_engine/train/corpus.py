"""Builds the text of the demonstration models from Debian packages: ``python -m synapse_engine.train.corpus DIR``.

Writes one ``NAME.txt`` for each source, a paragraph a line, and ``sources.json`` with versions, licences and digests.
Needs ``apt-get`` and ``dpkg-deb`` and the machine's own package sources.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine.train.corpus_readers import (
    clean,
    html_paragraphs,
    r_paragraphs,
    sword_paragraphs,
    text_paragraphs,
)
from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Source:
    """One package: which of its files are read, how, and under which licence the text stands."""

    package: str
    title: str
    licence: str
    files: str  # a glob below the unpacked package
    kind: str  # html, text, r, or sword


SOURCES = (
    Source("r-cran-janeaustenr", "The novels of Jane Austen", "public domain", "**/data/Rdata.rdb", "r"),
    Source("sword-comm-tdavid", "C. H. Spurgeon, The Treasury of David", "public domain", "**/tdavid/?t.czs", "sword"),
    Source("sword-comm-mhcc", "Matthew Henry's Concise Commentary", "public domain", "**/mhcc/?t.bzs", "sword"),
    Source("sword-comm-scofield", "Scofield Reference Notes, 1917", "public domain", "**/scofield/?t.?zs", "sword"),
    Source("sword-text-web", "World English Bible", "public domain", "**/engWEB2015eb/?t.bzs", "sword"),
    Source("dict-devil", "Ambrose Bierce, The Devil's Dictionary", "public domain", "**/devil.dict.dz", "text"),
    Source("sqlite3-doc", "SQLite documentation", "public domain", "**/sqlite3/*.html", "html"),
    Source("anarchism", "An Anarchist FAQ", "GPL-2", "**/html/*.html", "html"),
    Source("debian-handbook", "Debian Administrator's Handbook", "GPL-2+ or CC-BY-SA-3.0", "**/en-US/*.html", "html"),
    Source("postgresql-doc-15", "PostgreSQL 15 documentation", "PostgreSQL", "**/html/*.html", "html"),
    Source("python3.11-doc", "Python 3.11: tutorial", "PSF-2.0", "**/html/tutorial/*.html", "html"),
    Source("python3.11-doc", "Python 3.11: how-tos", "PSF-2.0", "**/html/howto/*.html", "html"),
    Source("python3.11-doc", "Python 3.11: questions", "PSF-2.0", "**/html/faq/*.html", "html"),
    Source("rust-doc", "The Rust Programming Language", "MIT or Apache-2.0", "**/html/book/ch*.html", "html"),
    Source("rust-doc", "The Rust Reference", "MIT or Apache-2.0", "**/html/reference/**/*.html", "html"),
)  # fmt: skip


def paragraphs(source: Source, folder: Path) -> Iterator[str]:
    """All clean paragraphs of a source, in the order of its files, without repetitions."""
    files = sorted(folder.glob(source.files))
    if not files:
        raise DataError(f"{source.package}: no file matches {source.files}", "the package may have another layout now")
    seen: set[str] = set()
    for file in files:
        for raw in _read(file, source.kind):
            text = clean(raw)
            if text is not None and text not in seen:
                seen.add(text)
                yield text


def _read(file: Path, kind: str) -> Iterator[str]:
    data = file.read_bytes()
    if kind == "sword":
        return sword_paragraphs(data, file.with_suffix(file.suffix[:-1] + "z").read_bytes())
    if kind == "r":
        return r_paragraphs(data)
    if kind == "html":
        return html_paragraphs(data.decode("utf-8", "replace"))
    return text_paragraphs((gzip.decompress(data) if file.suffix == ".dz" else data).decode("utf-8", "replace"))


def unpack(package: str, folder: Path) -> str:
    """Downloads a package, unpacks it below ``folder`` and returns its version."""
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        _run(["apt-get", "download", package], downloads)
        (archive,) = Path(downloads).glob("*.deb")
        _run(["dpkg-deb", "--extract", str(archive), str(folder / package)], downloads)
        return _run(["dpkg-deb", "--field", str(archive), "Version"], downloads).strip()


def _run(command: list[str], folder: str) -> str:
    try:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise DataError(f"{command[0]} is not installed", "the corpus is built on a Debian machine") from error
    except subprocess.CalledProcessError as error:
        raise DataError(f"{' '.join(command)}: {error.stderr.strip()}", "apt-get update") from error


def build(folder: Path) -> list[dict[str, object]]:
    """Writes the corpus and returns the records of ``sources.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch)
        versions = {package: unpack(package, unpacked) for package in dict.fromkeys(s.package for s in SOURCES)}
        for source in SOURCES:
            text = "\n".join(paragraphs(source, unpacked / source.package)) + "\n"
            name = re.sub(r"[^a-z0-9]+", "-", source.title.lower()).strip("-") + ".txt"
            (folder / name).write_text(text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            records.append(
                asdict(source)
                | {"version": versions[source.package], "file": name, "bytes": len(text), "sha256": digest}
            )
            print(f"{len(text) / 1e6:6.2f} MB  {name}", flush=True)
    (folder / "sources.json").write_text(json.dumps(records, indent=2) + "\n")
    return records


if __name__ == "__main__":
    build(Path(sys.argv[1]))
