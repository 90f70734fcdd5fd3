"""A model that is already on this machine, as a file or a folder. Copies or links; never moves."""

import os
from pathlib import Path

from synapse_engine.store.digest import sha256_of
from synapse_engine.store.errors import StoreError, UnknownModelError
from synapse_engine.store.headers import is_packed
from synapse_engine.store.manifest import FileRecord, is_plain_file_name

from .base import Workplace, copy_stream, settle

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
)


def belongs_to_model(name: str) -> bool:
    """True for the files of a Hugging Face repository that loading needs."""
    return not is_packed(name) and (
        name.endswith((".safetensors", ".safetensors.index.json"))
        or name in COMPANIONS
        or (name.startswith(("tokenizer", "special_tokens_map", "added_tokens")) and name.endswith((".json", ".model")))
    )


class FolderSource:
    """Copies (or, asked to, hard-links) the user's own files."""

    licence: str | None = None

    def __init__(self, path: Path, *, link: bool = False) -> None:
        self._path = path.absolute()
        self._link = link
        self.label = str(self._path)
        self._files: list[Path] = []

    def prepare(self) -> str:
        """The paths, sizes and times of change of what will be copied."""
        self._files = self._find()
        return "\n".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in self._files)

    def space_needed(self, folder: Path) -> int:
        """What is not copied yet; a link needs nothing."""
        if self._link:
            return 0
        return sum(file.stat().st_size - _there(folder / file.name) for file in self._files)

    def fetch(self, place: Workplace) -> list[FileRecord]:
        """Copies the files, or what an interrupted copy left to do."""
        return [self._take(file, place) for file in self._files]

    def _find(self) -> list[Path]:
        if self._path.is_file():
            return [self._path, *self._beside()]
        if not self._path.is_dir():
            raise UnknownModelError(f"{self._path}: no such file or folder")
        ggufs = sorted(self._path.glob("*.gguf"))
        if len(ggufs) > 1:
            names = ", ".join(file.name for file in ggufs)
            raise StoreError(f"{self._path} has several models: {names}", "give the path of one of the files")
        found = ggufs or sorted(file for file in self._path.iterdir() if file.is_file() and belongs_to_model(file.name))
        if not any(is_weights(file.name) for file in found):
            raise StoreError(f"{self._path} has no .gguf and no .safetensors file", "give the folder of a model")
        return found

    def _beside(self) -> list[Path]:
        """The configuration and tokenizer that a lone safetensors file needs."""
        if self._path.suffix.lower() == ".gguf":
            return []
        others = (file for file in self._path.parent.iterdir() if file.is_file() and not is_weights(file.name))
        return sorted(file for file in others if belongs_to_model(file.name) and not file.name.endswith(".index.json"))

    def _take(self, file: Path, place: Workplace) -> FileRecord:
        if not is_plain_file_name(file.name):
            raise StoreError(f"{file.name!r} cannot be a file name on every system", "rename the file")
        size, target = file.stat().st_size, place.folder / file.name
        if target.exists():
            return FileRecord(file.name, size, sha256_of(target))
        if self._link and _linked(file, target):
            return FileRecord(file.name, size, sha256_of(target))
        part = target.with_name(target.name + ".part")
        with file.open("rb") as stream:
            found = copy_stream(stream, part, size, place.progress)
        return settle(part, target, size, None, found)


def is_weights(name: str) -> bool:
    """True for the files that hold the weights themselves."""
    return name.lower().endswith((".gguf", ".safetensors"))


def _linked(file: Path, target: Path) -> bool:
    try:
        os.link(file.resolve(), target)
    except OSError:
        return False
    return True


def _there(target: Path) -> int:
    part = target.with_name(target.name + ".part")
    return next((path.stat().st_size for path in (target, part) if path.is_file()), 0)
