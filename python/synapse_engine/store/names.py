"""What a user may call a model: a name, a repository on the hub, or a path. Touches no disk and no network."""

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import BadNameError

HUB_PREFIX = "hf.co/"
MODEL_SUFFIXES = (".gguf", ".safetensors")

_LONGEST_PART = 96
_HUB_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/(?P<repo>.+)", re.IGNORECASE)
_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_LOOKS_LIKE_PATH = re.compile(r"[/~\\]|\.{1,2}(?:[/\\]|$)|[A-Za-z]:[/\\]")


@dataclass(frozen=True)
class PlainName:
    """A name of the catalogue, or one that the user gave: ``smollm2-135m-instruct``."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class HubName:
    """A repository on the Hugging Face hub: ``hf.co/organisation/repository[@revision]``."""

    organisation: str
    repository: str
    revision: str | None = None

    @property
    def repo_id(self) -> str:
        """As the hub writes it: ``organisation/repository``."""
        return f"{self.organisation}/{self.repository}"

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.repo_id}"


@dataclass(frozen=True)
class PathName:
    """A file or folder of the user's own."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


def parse_name(text: str) -> PlainName | HubName | PathName:
    """Reads what the user typed; raises BadNameError."""
    if not text or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise BadNameError(f"{text!r} is not a model name", "names look like smollm2-135m-instruct or hf.co/org/repo")
    address = _HUB_ADDRESS.fullmatch(text)
    if address:
        return _hub_name(address["repo"].rstrip("/"), text)
    if _LOOKS_LIKE_PATH.match(text) or text.lower().endswith(MODEL_SUFFIXES):
        return PathName(_expanded(text))
    if "/" in text:
        return _hub_name(text, text)
    return PlainName(_part(text, text))


def stored_name(text: str) -> str:
    """The spelling under which a model is installed; refuses paths."""
    parsed = parse_name(text)
    if isinstance(parsed, PathName):
        raise BadNameError(
            f"{text!r} is a path, not the name of an installed model", "synapse ls shows the names of installed models"
        )
    return str(parsed)


def folder_name(name: str) -> str:
    """One folder for each name, on disks that ignore case too; ``--`` is not allowed inside a part."""
    return stored_name(name).lower().replace("/", "--")


def name_for_path(path: Path) -> str:
    """A plain name made from a file's or folder's own."""
    stem = path.stem if path.suffix.lower() in MODEL_SUFFIXES else path.name
    slug = re.sub(r"[^a-z0-9._]+", "-", stem.lower())
    slug = re.sub(r"-{2,}|\.{2,}", "-", slug).strip("-._")[:_LONGEST_PART].rstrip("-._")
    if not slug:
        raise BadNameError(f"no model name can be made from {str(path)!r}", "give one with --name")
    return slug


def as_argument(path: Path) -> str:
    """How a command must be given the path, so that it does not take it for the name of a model."""
    text = str(path)
    return text if _LOOKS_LIKE_PATH.match(text) or text.lower().endswith(MODEL_SUFFIXES) else f"./{text}"


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadNameError(f"{text!r}: no such user, or no home folder", "write the path in full") from error


def _hub_name(repo: str, text: str) -> HubName:
    repo, _, revision = repo.partition("@")
    parts = repo.split("/")
    if len(parts) != 2:
        raise BadNameError(f"{text!r} is not a repository of the hub", "write hf.co/organisation/repository")
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise BadNameError(f"{revision!r} is not a revision", "use a branch, a tag or a commit after the @")
    return HubName(_part(parts[0], text), _part(parts[1], text), revision or None)


def _part(part: str, text: str) -> str:
    if len(part) > _LONGEST_PART:
        raise BadNameError(f"the model name {text[:32]!r}... is too long", f"use at most {_LONGEST_PART} characters")
    if not _PART.fullmatch(part) or ".." in part or "--" in part:
        raise BadNameError(
            f"{text!r} is not a model name",
            "names have letters, digits and single . _ - between them, or are hf.co/org/repo, or a path with a slash",
        )
    return part
