"""Grammars with many slots, read from text files and expanded at random. Knows the notation, not what is written in it.

A file holds sections, ``[name]`` with an alternative a line or ``[name ;]`` with alternatives between semicolons. In an
alternative ``{name}`` stands for one of a section (of this file, else of ``common``; ``{file.name}`` of another),
``{a|b|}`` for one of its parts, ``{2..9}`` and ``{0.5..9.9}`` for a number, ``{x=name}`` remembers what it chose and
``{$x}`` repeats it, ``\\n`` ends a line, ``\\{`` and ``\\}`` are braces. ``*3`` before a line makes it
three times as likely.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from random import Random

MAX_DEPTH = 40
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", "{": "\1", "}": "\2"}
_BRACES = {1: "{", 2: "}"}
_HEAD = re.compile(r"\[([a-z_]+)( ;)?\]")
_NUMBER = re.compile(r"(\d+(?:\.(\d+))?)\.\.(\d+(?:\.\d+)?)")
_INSIDE, _OUTSIDE = re.compile(r"[{}|]"), re.compile(r"[{}]")
_REFERENCE = re.compile(r"(?:([a-z_]+)=)?((?:[a-z_]+\.)?[a-z_]+)")


class GrammarError(ValueError):
    """A grammar that does not hold together; names the file and the section."""


@dataclass(frozen=True)
class Number:
    """A number, both bounds included; ``digits`` after the point."""

    low: float
    high: float
    digits: int


@dataclass(frozen=True)
class Reference:
    """One alternative of a section, remembered as ``variable`` if that is not empty."""

    section: str
    variable: str


@dataclass(frozen=True)
class Repeat:
    """What a variable remembers."""

    variable: str


@dataclass(frozen=True)
class Choice:
    """One of several parts."""

    parts: tuple[Template, ...]


Template = tuple[str | Number | Reference | Repeat | Choice, ...]


@dataclass
class Expansion:
    """What one expansion remembers: variables, and the sources of the real text that it used."""

    variables: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Real:
    """A piece of text that somebody wrote, and where it is from, with its licence."""

    text: str
    source: str


class Grammar:
    """The sections of several files, as ``file.section``."""

    def __init__(self, files: Mapping[str, str], real: Mapping[str, Sequence[Real]] | None = None) -> None:
        self._real = {f"real.{kind}": tuple(pieces) for kind, pieces in (real or {}).items() if pieces}
        raw = {f"{file}.{name}": lines for file, text in files.items() for name, lines in _sections(file, text)}
        self._names = {*raw, "real.function", "real.task", "real.prose", "real.sentence", "real.spoiled"}
        self._sections = {name: tuple(self._parse(name, line) for line in lines) for name, lines in raw.items()}

    def __contains__(self, section: str) -> bool:
        return section in self._sections

    def sections(self) -> dict[str, int]:
        """All sections, and how many alternatives each has."""
        return {name: len(alternatives) for name, alternatives in self._sections.items()}

    def templates(self, section: str) -> tuple[Template, ...]:
        """The alternatives of a section."""
        return self._sections[section]

    def part(self, keep: Callable[[str, int], bool]) -> Grammar:
        """With the alternatives that ``keep(section, number)`` chooses; a section that would be empty stays whole."""
        other = Grammar({}, {})
        other.__dict__ = self.__dict__ | {
            "_sections": {
                name: tuple(one for at, one in enumerate(templates) if keep(name, at)) or templates
                for name, templates in self._sections.items()
            }
        }
        return other

    def reachable(self, start: Iterable[str]) -> set[str]:
        """All sections that texts of these sections can draw on, themselves included."""
        found: set[str] = set()
        waiting = [name for name in start if name in self._sections]
        while waiting:
            found.add(name := waiting.pop())
            asked = {node.section for template in self._sections[name] for node in _references(template)}
            waiting += [other for other in asked if other in self._sections and other not in found]
        return found

    def has_real(self, section: str) -> bool:
        """Whether there is real text for every kind that the alternatives of a section ask for."""
        asked = {node.section for template in self._sections.get(section, ()) for node in _references(template)}
        real = {name for name in asked if name.startswith("real.")}
        return bool(real) and real <= set(self._real)

    def expand(self, section: str, random: Random, state: Expansion | None = None) -> str:
        """A random text of a section; ``state`` learns what real text went into it."""
        pieces: list[str] = []
        self._reference(Reference(section, ""), random, state or Expansion(), pieces, 0)
        return "".join(pieces)

    def fill(self, template: Template, random: Random) -> str:
        """A random text of one alternative."""
        pieces: list[str] = []
        self._template(template, random, Expansion(), pieces, 0)
        return "".join(pieces)

    def _reference(self, node: Reference, random: Random, state: Expansion, out: list[str], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise GrammarError(f"{node.section}: refers to itself without end")
        start = len(out)
        if node.section in self._real:
            real = random.choice(self._real[node.section])
            state.sources.append(real.source)
            out.append(real.text)
        else:
            self._template(random.choice(self._sections[node.section]), random, state, out, depth + 1)
        if node.variable:
            state.variables[node.variable] = "".join(out[start:])

    def _template(self, template: Template, random: Random, state: Expansion, out: list[str], depth: int) -> None:
        for node in template:
            if isinstance(node, str):
                out.append(node)
            elif isinstance(node, Number):
                out.append(_number(node, random))
            elif isinstance(node, Repeat):
                out.append(state.variables.get(node.variable, ""))
            elif isinstance(node, Choice):
                self._template(random.choice(node.parts), random, state, out, depth)
            else:
                self._reference(node, random, state, out, depth)

    def _parse(self, section: str, line: str) -> Template:
        template, end = self._parse_until(section, line, 0, nested=False)
        if end != len(line):
            raise GrammarError(f"{section}: a brace closes that never opened: {line[:80]}")
        return template[0]

    def _parse_until(self, section: str, line: str, at: int, *, nested: bool) -> tuple[list[Template], int]:
        """The parts between bars up to the end or, nested, behind the closing brace."""
        parts: list[list[str | Number | Reference | Repeat | Choice]] = [[]]
        while at < len(line):
            letter = line[at]
            if letter == "{":
                inner, at = self._parse_until(section, line, at + 1, nested=True)
                parts[-1].append(self._braces(section, inner))
            elif letter == "}":
                break
            elif letter == "|" and nested:
                parts.append([])
                at += 1
            else:
                end = (_INSIDE if nested else _OUTSIDE).search(line, at + 1)
                stop = end.start() if end else len(line)
                parts[-1].append(line[at:stop].translate(_BRACES))
                at = stop
        if nested:
            if at == len(line):
                raise GrammarError(f"{section}: a brace stays open: {line[:80]}")
            at += 1
        return [tuple(part) for part in parts], at

    def _braces(self, section: str, parts: list[Template]) -> Number | Reference | Repeat | Choice:
        if len(parts) > 1:
            return Choice(tuple(parts))
        if len(parts[0]) == 1 and isinstance(text := parts[0][0], str):
            if number := _NUMBER.fullmatch(text):
                return Number(float(number[1]), float(number[3]), len(number[2] or ""))
            if text.startswith("$"):
                return Repeat(text[1:])
            if (reference := _REFERENCE.fullmatch(text)) and (name := self._resolve(section, reference[2])):
                return Reference(name, reference[1] or "")
        raise GrammarError(f"{section}: nothing is called {{{parts[0]!r}}}")

    def _resolve(self, section: str, name: str) -> str | None:
        file = section.split(".", maxsplit=1)[0]
        return next((full for full in (f"{file}.{name}", f"common.{name}", name) if full in self._names), None)


def _references(template: Template) -> Iterator[Reference]:
    for node in template:
        if isinstance(node, Reference):
            yield node
        elif isinstance(node, Choice):
            for part in node.parts:
                yield from _references(part)


def _sections(file: str, text: str) -> Iterator[tuple[str, list[str]]]:
    name, lines, semicolons = "", [""], False
    for line in [*text.splitlines(), "[end]"]:
        if head := _HEAD.fullmatch(line):
            if name:
                yield name, _alternatives(file, name, lines, semicolons=semicolons)
            name, lines, semicolons = head[1], [], head[2] is not None
        elif line.strip() and not line.startswith("# "):
            lines.append(line)


def _alternatives(file: str, name: str, lines: list[str], *, semicolons: bool) -> list[str]:
    found: list[str] = []
    items = [item.strip() for item in " ".join(lines).split(";")] if semicolons else lines
    for item in filter(None, items):
        weight = re.match(r"\*(\d) ", item)
        body = item[weight.end() :] if weight else item
        found += [_unescape(body)] * int(weight[1] if weight else 1)
    if not found:
        raise GrammarError(f"{file}.{name}: has no alternative")
    return found


def _unescape(text: str) -> str:
    """Line ends, tabs and backslashes; escaped braces become control characters until the line is taken apart."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text)


def _number(node: Number, random: Random) -> str:
    if not node.digits:
        return str(random.randint(int(node.low), int(node.high)))
    return f"{random.uniform(node.low, node.high):.{node.digits}f}"


def mend(text: str) -> str:
    """English as it comes out of slots: "an" before vowels, no article behind "my", one mark at the end."""
    text = re.sub(r"\b(my|our|the|this|her|his|their) an? ", r"\1 ", text)
    text = re.sub(r"\b([Aa]) (?=[aeiou](?!ni|ur|ne ))", r"\1n ", text)
    text = re.sub(r"\b([Aa])n (?=[bcdfgjklmnpqrtvwyz][a-z])", r"\1 ", text)
    return text.replace("?.", "?").replace("??.", "?")
