"""The models known by a short name, read from ``catalogue.toml``. Knows where to look, not how to fetch."""

import difflib
import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class BundledSource:
    """A folder of this package, below ``synapse_engine/models``."""

    folder: str


@dataclass(frozen=True)
class PackageSource:
    """A wheel that carries the model as one of its files."""

    package: str
    version: str
    download_size: int
    member: str
    size: int
    sha256: str


@dataclass(frozen=True)
class HubSource:
    """A repository on the hub. ``file`` picks one file (a GGUF); without it the safetensors are taken."""

    repository: str
    revision: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue."""

    name: str
    description: str
    licence: str
    size: int
    quant: str
    sources: tuple[BundledSource | PackageSource | HubSource, ...]

    @property
    def bundled(self) -> bool:
        """Whether it needs no network."""
        return any(isinstance(source, BundledSource) for source in self.sources)


@dataclass(frozen=True)
class Catalogue:
    """All of them, in order, and the one that ``synapse up`` takes when nothing is installed."""

    default: str
    entries: tuple[Entry, ...]

    def get(self, name: str) -> Entry | None:
        """The entry of that name, whatever its case."""
        return next((entry for entry in self.entries if entry.name == name.lower()), None)

    def similar(self, name: str) -> list[str]:
        """Names that the user may have meant."""
        return difflib.get_close_matches(name.lower(), [entry.name for entry in self.entries], n=3, cutoff=0.5)


@cache
def catalogue() -> Catalogue:
    """The catalogue that this version of the package carries."""
    return parse_catalogue((resources.files(__package__) / "catalogue.toml").read_text(encoding="utf-8"))


def parse_catalogue(text: str) -> Catalogue:
    """Reads a catalogue; raises KeyError, TypeError or ValueError on one that is not sound."""
    record = tomllib.loads(text)
    entries = tuple(_entry(name, fields) for name, fields in record["models"].items())
    if record["default"] not in {entry.name for entry in entries}:
        raise ValueError(f"the default {record['default']!r} is not in the catalogue")
    return Catalogue(record["default"], entries)


def _entry(name: str, fields: dict[str, Any]) -> Entry:
    sources = tuple(_source(dict(source)) for source in fields["sources"])
    return Entry(name=name, **{**fields, "sources": sources})


def _source(fields: dict[str, Any]) -> BundledSource | PackageSource | HubSource:
    kind = fields.pop("kind")
    if kind == "bundled":
        return BundledSource(**fields)
    if kind == "package":
        return PackageSource(**fields)
    if kind == "hub":
        return HubSource(**fields)
    raise ValueError(f"{kind!r} is not a kind of source")
