"""The models on this machine: find, list, check, remove. Never goes out on the network."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .catalogue import catalogue
from .digest import sha256_of
from .errors import DamagedError, UnknownModelError
from .lock import locked, locked_if_free
from .manifest import MANIFEST_FILE, FileRecord, Manifest, read_manifest
from .names import PathName, as_argument, folder_name, parse_name
from .paths import home
from .progress import Progress

PARTIAL, OLD, TRASH = ".partial-", ".old-", ".trash-"


@dataclass(frozen=True)
class Installed:
    """A model that is all there."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.manifest.name

    @property
    def load_path(self) -> Path:
        """What the engine opens: the GGUF file, or the folder of safetensors."""
        ggufs = [file.name for file in self.manifest.files if file.name.lower().endswith(".gguf")]
        return self.folder / ggufs[0] if ggufs else self.folder


@dataclass(frozen=True)
class FileCheck:
    """What ``verify`` found about one file: ``ok``, ``missing``, ``wrong size`` or ``wrong digest``."""

    file: FileRecord
    state: str


class Store:
    """The folder of installed models: one folder each; what begins with a dot is work in progress."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or home().models

    def installed(self) -> list[Installed]:
        """All sound models, newest last."""
        return sorted(self._scan(), key=lambda model: (model.manifest.pulled, model.name))

    def damaged(self) -> list[Path]:
        """Folders that should be models and cannot be read."""
        return [folder for folder in self._folders() if not _is_readable(folder)]

    def get(self, name: str) -> Installed | None:
        """The installed model of that name, or None; raises BadNameError on a path."""
        folder = self.root / folder_name(name)
        self._recover(folder.name)
        return Installed(folder, read_manifest(folder)) if (folder / MANIFEST_FILE).is_file() else None

    def find(self, name: str) -> Installed:
        """Like ``get``, but raises UnknownModelError with what to do."""
        model = self.get(name)
        if model is None:
            raise UnknownModelError(f"the model {name!r} is not installed", self._hint_for(name))
        return model

    def locate(self, name: str) -> Path:
        """The path the engine opens for a name; a path stands for itself."""
        parsed = parse_name(name)
        if not isinstance(parsed, PathName):
            return self.find(name).load_path
        if not parsed.path.exists():
            raise UnknownModelError(
                f"{name!r}: no such file or folder", "synapse ls shows the names of installed models"
            )
        return parsed.path

    def remove(self, name: str) -> Installed:
        """Deletes an installed model; it is out of sight at once even if the deleting is interrupted."""
        with self.lock(folder_name(name)):
            model = self.find(name)
            trash = self.root / (TRASH + model.folder.name)
            shutil.rmtree(trash, ignore_errors=True)
            model.folder.replace(trash)
            shutil.rmtree(trash)
        return model

    def verify(self, model: Installed, progress: Progress) -> list[FileCheck]:
        """Reads every byte of a model and compares with the digests taken when it was installed."""
        checks = []
        for file in model.manifest.files:
            progress.start(file.name, file.size)
            checks.append(FileCheck(file, _check(model.folder / file.name, file, progress)))
            progress.finish()
        return checks

    @contextmanager
    def lock(self, folder: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[int]:
        """Excludes everyone else from changing the model of that folder name."""
        with locked(self._lock_path(folder), on_wait) as descriptor:
            self._tidy(folder)
            yield descriptor

    def _scan(self) -> Iterator[Installed]:
        for folder in self._folders():
            try:
                yield Installed(folder, read_manifest(folder))
            except DamagedError:
                continue

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        for path in self.root.iterdir():
            if path.name.startswith(OLD):
                self._recover(path.name.removeprefix(OLD))
        return [path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")]

    def _recover(self, folder: str) -> None:
        """Puts back the old version of a model whose replacement was killed between its two renames."""
        if not (self.root / (OLD + folder)).is_dir() or (self.root / folder).exists():
            return
        with locked_if_free(self._lock_path(folder)) as held:
            if held:
                self._tidy(folder)

    def _tidy(self, folder: str) -> None:
        """Under the lock: ends what an earlier, killed process began."""
        old, current = self.root / (OLD + folder), self.root / folder
        if old.is_dir() and not current.exists():
            old.replace(current)
        for leftover in (old, self.root / (TRASH + folder)):
            if leftover.exists():
                shutil.rmtree(leftover)

    def _lock_path(self, folder: str) -> Path:
        return self.root / ".locks" / folder

    def _hint_for(self, name: str) -> str:
        if Path(name).exists():
            return f"for the one that lies here, write {as_argument(Path(name))}"
        if catalogue().get(name) or "/" in name:
            return f"get it with: synapse pull {name}"
        near = catalogue().similar(name) or [model.name for model in self.installed()]
        return f"did you mean {' or '.join(near[:3])}?" if near else "synapse ls --all shows what can be pulled"


def _is_readable(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except DamagedError:
        return False
    return True


def _check(path: Path, file: FileRecord, progress: Progress) -> str:
    if not path.is_file():
        return "missing"
    if path.stat().st_size != file.size:
        return "wrong size"
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress.update(done)

    return "ok" if sha256_of(path, on_bytes) == file.sha256 else "wrong digest"
