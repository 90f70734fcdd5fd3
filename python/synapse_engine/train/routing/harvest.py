"""Collects real text for requests: ``python -m synapse_engine.train.routing.harvest [--corpus DIR] > real.jsonl``.

Functions and their first sentences come from the Python packages that are installed, as far as their licence is a free
one without conditions on programs that learn from them; prose comes from a folder that ``train.corpus`` has written.
Every piece keeps the name of its package and its licence.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import textwrap
from importlib import metadata
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from synapse_engine.evolve.sentences import sentences, spoil
from synapse_engine.train.errors import DataError
from synapse_engine.train.routing.grammar import Real

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PER_PACKAGE, PER_SOURCE = 150, 400
_FREE = re.compile(r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|Zlib|Unlicense)\b", re.IGNORECASE)
_BOUND = re.compile(r"\bL?GPL|Mozilla|MPL|proprietary", re.IGNORECASE)
_LINES = range(4, 26)


def packages() -> Iterator[tuple[str, list[Path]]]:
    """Freely licensed distributions as ``name version (licence)``, with their Python files, in order of name."""
    found = {distribution.metadata["Name"]: distribution for distribution in metadata.distributions()}
    for name in sorted(filter(None, found)):
        distribution = found[name]
        licence = licence_of(distribution.metadata)
        files = sorted({Path(str(file.locate())) for file in distribution.files or () if file.suffix == ".py"})
        if licence and files:
            yield f"{name} {distribution.version} ({licence})", files


def licence_of(fields: metadata.PackageMetadata) -> str | None:
    """The free licence that a package states, in at most 60 letters; None without one, or with a condition."""
    stated = [*fields.get_all("License-Expression", []), *fields.get_all("License", [])]
    classifiers = [line.split("::")[-1].strip() for line in fields.get_all("Classifier", []) if "License ::" in line]
    for licence in [*stated, ", ".join(classifiers)]:
        first = licence.strip().split("\n")[0][:60]
        if first and _FREE.search(first):
            return None if _BOUND.search(first) else first
    return None


def functions(files: Iterable[Path], source: str) -> Iterator[tuple[str, Real]]:
    """Short documented functions: their code without the docstring, and what they do, as a wish."""
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (OSError, ValueError, SyntaxError, RecursionError):
            continue  # a package may hold files for other versions, or broken ones for its tests
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (code := _code(node, text)):
                yield "function", Real(code, source)
                if task := _task(ast.get_docstring(node) or ""):
                    yield "task", Real(task, source)


def _code(node: ast.FunctionDef, text: str) -> str | None:
    if not ast.get_docstring(node) or (node.end_lineno or 0) - node.lineno + 1 not in _LINES or len(node.body) < 2:
        return None
    lines = text.splitlines()
    head = lines[node.lineno - 1 : node.body[0].lineno - 1]
    code = textwrap.dedent("\n".join([*head, *lines[node.body[0].end_lineno or 0 : node.end_lineno]])).strip()
    return code if 60 <= len(code) <= 900 else None


def _task(docstring: str) -> str | None:
    """The first sentence of a docstring as an order, without references to the code around it."""
    first = re.split(r"(?<=[.!?])\s|\n\s*\n", docstring.strip(), maxsplit=1)[0].replace("\n", " ").rstrip(".")
    plain = re.sub(r"\s+", " ", re.sub(r":\w+:`~?([^`]*)`|``?([^`]*)``?", r"\1\2", first)).strip()
    if not 4 <= len(plain.split()) <= 25 or not re.match(r"[A-Z][a-z]+ ", plain) or re.search(r"[:@>{}]|self\b", plain):
        return None
    return plain[0].lower() + plain[1:]


def prose(corpus: Path) -> Iterator[tuple[str, Real]]:
    """Paragraphs of a corpus of ``train.corpus``, and sentences from it, as they are and spoiled."""
    try:
        records = json.loads((corpus / "sources.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{corpus}: has no sources.json", "python -m synapse_engine.train.corpus DIR") from error
    for record in records:
        source = f"{record['package']} {record['version']} ({record['licence']})"
        random = Random(record["sha256"])  # noqa: S311
        lines = (corpus / record["file"]).read_text(encoding="utf-8").splitlines()
        chosen = random.sample(lines, min(PER_SOURCE, len(lines)))
        yield from (("prose", Real(line, source)) for line in chosen if 150 <= len(line) <= 900)
        for sentence in sentences("\n".join(chosen))[:PER_SOURCE]:
            yield "sentence", Real(sentence, source)
            yield "spoiled", Real(spoil(sentence, random).text, source)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m synapse_engine.train.routing.harvest", description=__doc__)
    parser.add_argument("--corpus", type=Path, help="a folder that synapse_engine.train.corpus has written")
    options = parser.parse_args()
    pieces = [piece for source, files in packages() for piece in islice(functions(files, source), PER_PACKAGE)]
    pieces += prose(options.corpus) if options.corpus else []
    for kind, real in pieces:
        sys.stdout.write(json.dumps({"kind": kind, "text": real.text, "source": real.source}) + "\n")


if __name__ == "__main__":
    main()
