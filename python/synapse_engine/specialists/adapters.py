"""Adapters of specialists: which files make one up, and which of them an engine has loaded. Reads no weights."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from synapse_engine._engine import RequestError
from synapse_engine.specialists.reading import SpecialistError
from synapse_engine.store.digest import sha256_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from synapse_engine.specialists.reading import Specialist

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "synapse/"
# What an engine names when there is no room for an adapter.
_FULL = ("max_adapters", "max_adapter_bytes")
_HINT = f"an adapter is a PEFT folder ({CONFIG} and {WEIGHTS}) or a GGUF file"


@dataclass(frozen=True)
class AdapterFiles:
    """The files that an adapter consists of."""

    path: Path
    """What the engine opens."""
    parts: tuple[Path, ...]

    @classmethod
    def at(cls, path: Path) -> AdapterFiles:
        """The adapter that a specialist names; raises SpecialistError if there is none."""
        parts = (path,) if path.suffix == ".gguf" else (_folder(path) / CONFIG, _folder(path) / WEIGHTS)
        for part in parts:
            if not part.is_file():
                error = SpecialistError(f"adapter {path}: {part.name} is missing", _HINT)
                error.field = "adapter"
                raise error
        return cls(path, parts)

    @classmethod
    def are_at(cls, path: Path) -> bool:
        """Whether there is an adapter."""
        try:
            cls.at(path)
        except (SpecialistError, OSError):
            return False
        return True

    def within(self, folder: Path) -> Path:
        """What the engine opens when ``folder`` holds copies of the files."""
        return folder if self.path.suffix != ".gguf" else folder / self.path.name

    def digest(self) -> str:
        """Changes with any byte."""
        return hashlib.sha256("".join(map(sha256_of, self.parts)).encode()).hexdigest()[:16]

    def state(self) -> tuple[tuple[str, int, int, int], ...]:
        """Changes when a file is written or replaced."""
        found = [(str(part), part.stat()) for part in self.parts]
        return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found)


def _folder(path: Path) -> Path:
    return path.parent if path.name == WEIGHTS else path


class AdapterEngine(Protocol):
    """What is needed of an engine; see ``_engine.Engine``."""

    def load_adapter(self, name: str, path: str) -> dict[str, Any]:
        """Loads an adapter, or replaces it."""

    def unload_adapter(self, name: str) -> None:
        """Takes it out."""

    def adapters(self) -> list[dict[str, Any]]:
        """What is loaded, each with its ``name``."""

    def submit(self, request: dict[str, Any], queue: Any) -> int:
        """Queues a request, which holds its adapters from then on."""


class Shelf:
    """Which adapters of specialists one engine has: loaded at first use, replaced when their files changed.

    If the engine has no room, those of specialists that were unused for longest make it; others stay.
    """

    def __init__(self, engine: AdapterEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        # The longest unused first.
        self._loaded: dict[str, tuple[tuple[str, int, int, int], ...]] = {}
        # Where to find again what was taken out.
        self._asked: dict[str, Path] = {}

    def ready(self, specialist: Specialist) -> str | None:
        """The engine's name for the specialist's adapter, which is loaded then; None if it has none.

        Raises SpecialistError if files are missing, and the engine's errors. Blocks while weights are read.
        """
        if specialist.adapter is None:
            return None
        name = PREFIX + specialist.name
        with self._lock:
            self._asked[name] = specialist.adapter
            self._ready(name, keep={name})
        return name

    def submit(self, request: dict[str, Any], queue: Any) -> int:
        """The engine's ``submit``, which fails if an adapter was taken out since it was made ready; it comes back here.

        Raises what ``ready`` and the engine do. Blocks while weights are read, which is rare.
        """
        try:
            return self._engine.submit(request, queue)
        except RequestError as error:
            names = [name for name, _ in request.get("adapters") or ()]
            if error.param != "adapters" or self._asked.keys().isdisjoint(names):
                raise
        # With the lock held, nobody makes room again before the request holds what it needs.
        with self._lock:
            self._restore(names)
            return self._engine.submit(request, queue)

    def unload(self, name: str) -> None:
        """Takes an adapter out of the engine, whoever has loaded it; raises the engine's RequestError without one."""
        with self._lock:
            self._loaded.pop(name, None)
            self._engine.unload_adapter(name)

    def _restore(self, names: Collection[str]) -> None:
        here = {adapter["name"] for adapter in self._engine.adapters()}
        for name in names:
            if name in self._asked and name not in here:
                self._loaded.pop(name, None)
                self._ready(name, keep=names)

    def _ready(self, name: str, keep: Collection[str]) -> None:
        files = AdapterFiles.at(self._asked[name])
        state = files.state()
        if self._loaded.get(name) != state:
            self._load(name, files.path, keep)
        self._loaded.pop(name, None)
        self._loaded[name] = state

    def _load(self, name: str, path: Path, keep: Collection[str]) -> None:
        while True:
            try:
                self._engine.load_adapter(name, str(path))
            except RequestError as error:
                unused = next((other for other in self._loaded if other not in keep), None)
                if error.param not in _FULL or unused is None:
                    raise
                del self._loaded[unused]
                self._engine.unload_adapter(unused)
            else:
                return
