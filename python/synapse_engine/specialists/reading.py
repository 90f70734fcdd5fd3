"""Reads specialists from TOML files. Trusts nothing in them, and says what to change."""

from __future__ import annotations

import difflib
import re
import stat
import sys
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# The order in which the starters are listed everywhere.
STARTERS = ("general", "math", "code", "sql", "writing", "language", "grammar")
MAX_FILE_BYTES = 256 * 1024
MAX_EXAMPLES, MAX_EXAMPLE_LETTERS = 64, 4000
MAX_DESCRIPTION_LETTERS, MAX_PROMPT_LETTERS = 1000, 32_000
MAX_PATH_LETTERS = 4096
# Words that stand for something else where a specialist is named.
RESERVED = ("auto", "none", "synapse")
_WHOLE, _ANY = "a whole number", "a number"
# The options of a generation that make sense as a habit of a specialist, each with its least and greatest value.
SAMPLING: dict[str, tuple[str, float, float]] = {
    "max_tokens": (_WHOLE, 1, 1_000_000),
    "temperature": (_ANY, 0, 2),
    "top_k": (_WHOLE, 0, 1_000_000),
    "top_p": (_ANY, 0, 1),
    "min_p": (_ANY, 0, 0.999),
    "typical_p": (_ANY, 0.001, 1),
    "repetition_penalty": (_ANY, 0.1, 10),
    "presence_penalty": (_ANY, -2, 2),
    "frequency_penalty": (_ANY, -2, 2),
}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class SpecialistError(Exception):
    """A specialist that cannot be used; ``hint`` says what to do, ``field`` names the field at fault, if one is."""

    field: str | None = None

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Specialist:
    """What a request can be routed to."""

    name: str
    description: str
    examples: tuple[str, ...]
    system_prompt: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    adapter: Path | None = None
    """A PEFT folder, its adapter_model.safetensors, or a GGUF file. As written, until a file's folder is known."""
    source: Path | None = None
    """The file it stands in; None for a starter, and for one that stands in no file."""


@cache
def built_in() -> tuple[Specialist, ...]:
    """The starters that come with the package, in the order of ``STARTERS``."""
    folder = resources.files(__package__)
    return tuple(parse_specialist((folder / f"{name}.toml").read_text("utf-8"), f"{name}.toml") for name in STARTERS)


def read_folder(folder: Path) -> tuple[Specialist, ...]:
    """All ``*.toml`` files of a folder, by name."""
    found: dict[str, Path] = {}
    specialists = []
    for file in sorted(folder.glob("*.toml")):
        specialist = read_specialist(file)
        if specialist.name in found:
            message = f"{file}: the name {specialist.name!r} is taken by {found[specialist.name].name}"
            raise SpecialistError(message, "give one of them another name")
        found[specialist.name] = file
        specialists.append(specialist)
    return tuple(specialists)


def read_specialist(file: Path) -> Specialist:
    """One file; raises ``SpecialistError`` on anything that is not a sound specialist."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SpecialistError(f"{file}: is no file", "name a TOML file")
        if found.st_size > MAX_FILE_BYTES:
            message = f"{file}: {found.st_size} bytes; a specialist has at most {MAX_FILE_BYTES}"
            raise SpecialistError(message, "name the TOML file; an adapter lies beside it")
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SpecialistError(f"{file}: {error.strerror}", "name a TOML file that you may read") from error
    except UnicodeDecodeError as error:
        raise SpecialistError(f"{file}: not UTF-8 at byte {error.start}", "save the file as UTF-8") from error
    specialist = parse_specialist(text, str(file))
    adapter = specialist.adapter and file.absolute().parent / specialist.adapter.expanduser()
    return replace(specialist, adapter=adapter, source=file)


def parse_specialist(text: str, where: str) -> Specialist:
    """The specialist of a TOML document; ``where`` names it in errors."""
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecialistError(f"{where}: no TOML: {error}", 'a line is `name = "value"`') from error
    except RecursionError:
        raise SpecialistError(f"{where}: nested too deeply") from None
    return specialist_of(fields, where)


def specialist_of(fields: Mapping[str, Any], where: str) -> Specialist:
    """The specialist with these fields, each of which is checked."""
    _refuse_unknown(where, "field", fields, _FIELDS)
    for name in ("name", "description", "examples"):
        if name not in fields:
            raise SpecialistError(f"{where}: the field `{name}` is missing", "specialists/README.md lists all fields")
    return Specialist(**{name: _checked(where, name, value) for name, value in fields.items()})


def _checked(where: str, name: str, value: Any) -> Any:
    try:
        return _FIELDS[name](f"{where}: `{name}`", value)
    except SpecialistError as error:
        error.field = name
        raise


def _name(where: str, value: Any) -> str:
    text = _text(32)(where, value)
    if not _NAME.fullmatch(text):
        raise SpecialistError(f"{where}: {text!r} is no name", "use small letters a-z, digits, - and _, a letter first")
    if text in RESERVED:
        raise SpecialistError(f"{where}: {text!r} means something else", "choose another name")
    return text


def _text(longest: int, *, empty: bool = False) -> Callable[[str, Any], str]:
    def check(where: str, value: Any) -> str:
        if not isinstance(value, str):
            raise SpecialistError(f"{where}: expected a text, found {_kind(value)}", 'write it in quotes: "..."')
        if len(value) > longest:
            raise SpecialistError(f"{where}: {len(value)} letters; at most {longest} are allowed")
        if not empty and not value.strip():
            raise SpecialistError(f"{where}: is empty", "say in a sentence or two what it is for")
        return value.strip()

    return check


def _examples(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        hint = "write a list of texts: [...]"
        raise SpecialistError(f"{where}: expected a list of requests, found {_kind(value)}", hint)
    if not 1 <= len(value) <= MAX_EXAMPLES:
        hint = "eight to twelve varied requests work well"
        raise SpecialistError(f"{where}: expected 1 to {MAX_EXAMPLES} requests, found {len(value)}", hint)
    check = _text(MAX_EXAMPLE_LETTERS)
    texts = tuple(check(f"{where}, number {number}", text) for number, text in enumerate(value, 1))
    if len({text.casefold() for text in texts}) < len(texts):
        raise SpecialistError(f"{where}: a request stands there twice", "each should show something new")
    return texts


def _sampling(where: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        hint = "write a table: [sampling]"
        raise SpecialistError(f"{where}: expected a table of options, found {_kind(value)}", hint)
    _refuse_unknown(where, "option", value, SAMPLING)
    return {name: _number(f"{where}.{name}", number, *SAMPLING[name]) for name, number in value.items()}


def _path(where: str, value: Any) -> Path:
    text = _text(MAX_PATH_LETTERS)(where, value)
    if "\0" in text:
        raise SpecialistError(f"{where}: {text!r} is no path", "name a PEFT folder or a GGUF file")
    return Path(text)


def _number(where: str, value: Any, wanted: str, least: float, greatest: float) -> float:
    kinds = (int,) if wanted == _WHOLE else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise SpecialistError(f"{where}: expected {wanted}, found {_kind(value)}")
    if not least <= value <= greatest:  # a NaN fails, too
        raise SpecialistError(f"{where}: expected {wanted} from {least} to {greatest}, found {value}")
    return value


def _kind(value: Any) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


def _refuse_unknown(where: str, what: str, found: Mapping[str, Any], known: Iterable[str]) -> None:
    for name in found:
        if name not in known:
            similar = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean `{similar[0]}`?" if similar else f"known: {', '.join(known)}"
            raise SpecialistError(f"{where}: unknown {what} {name[:60]!r}", hint)


_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "description": _text(MAX_DESCRIPTION_LETTERS),
    "examples": _examples,
    "system_prompt": _text(MAX_PROMPT_LETTERS, empty=True),
    "sampling": _sampling,
    "adapter": _path,
}
