"""All specialists of a user: the starters, and the TOML files of a folder, which win by name. Routes nothing."""

from __future__ import annotations

import difflib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synapse_engine.specialists import writing
from synapse_engine.specialists.adapters import AdapterFiles
from synapse_engine.specialists.reading import SpecialistError, built_in, read_specialist
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from synapse_engine.specialists.reading import Specialist


class UnknownSpecialistError(SpecialistError):
    """A name that no specialist has."""


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used."""

    file: Path
    error: SpecialistError


@dataclass(frozen=True)
class _Shown:
    """What the folder held when it was looked at last."""

    state: tuple[object, ...]
    specialists: tuple[Specialist, ...]
    problems: tuple[Problem, ...]
    adapters: tuple[Path, ...]
    """All that files name, whether they are there or not."""


class Library:
    """Specialists by name. Files may come, change and go at any time; every call sees them as they are then.

    ``folder``: where the user's files lie, by default the one of ``SYNAPSE_HOME``. May be used from any thread.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home().specialists
        self._lock = threading.Lock()
        self._shown: _Shown | None = None

    def all(self) -> tuple[Specialist, ...]:
        """The starters in their order, then the others by name."""
        return self._current().specialists

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with files that cannot be used; the others can."""
        return self._current().problems

    def find(self, name: str) -> Specialist:
        """The specialist of this name; raises UnknownSpecialistError."""
        current = self._current()
        for specialist in current.specialists:
            if specialist.name == name:
                return specialist
        broken = next((problem for problem in current.problems if problem.file.stem == name), None)
        message = f"there is no specialist {name[:60]!r}"
        if broken is not None:
            raise UnknownSpecialistError(f"{message}: {broken.error}", broken.error.hint)
        raise UnknownSpecialistError(message, self._hint_for(name))

    def add(self, path: Path) -> Specialist:
        """Copies the specialist of a TOML file, or of a folder with one, into the library with its adapter."""
        return self.put(read_specialist(_only_file(path) if path.is_dir() else path))

    def put(self, specialist: Specialist) -> Specialist:
        """Adds a specialist, or replaces the one of this name; its adapter is copied. Raises SpecialistError."""
        taken = {known.source.name: known.name for known in self.all() if known.source is not None}
        return read_specialist(writing.write(self.folder, specialist, taken))

    def remove(self, name: str) -> None:
        """Removes the user's specialist of this name; a starter that it stood in for is there again."""
        writing.remove(self.folder, self.check_removable(name))

    def check_removable(self, name: str) -> Path:
        """The file that ``remove`` would remove, which may be one that cannot be used; raises SpecialistError."""
        file = next((problem.file for problem in self.problems() if problem.file.stem == name), None)
        file = file or self.find(name).source
        if file is None:
            hint = "a specialist of your own with this name takes its place"
            raise SpecialistError(f"{name} comes with the package and cannot be removed", hint)
        return file

    def _hint_for(self, name: str) -> str:
        names = [specialist.name for specialist in self._current().specialists]
        near = difflib.get_close_matches(name, names, n=1)
        return f"did you mean {near[0]}?" if near else f"there is {', '.join(names)}"

    def _current(self) -> _Shown:
        with self._lock:
            if self._shown is None or self._shown.state != self._state(self._shown.adapters):
                self._shown = self._look()
            return self._shown

    def _look(self) -> _Shown:
        # Taken before the files are read: one that changes meanwhile is read again by the next call.
        files = self._files()
        problems: list[Problem] = []
        mine: dict[str, Specialist] = {}
        adapters: list[Path] = []
        for file in sorted(self.folder.glob("*.toml")) if files else []:
            try:
                specialist = read_specialist(file)
                adapters += [specialist.adapter] if specialist.adapter else []
                mine[specialist.name] = _usable(specialist, file, mine)
            except SpecialistError as error:
                problems.append(Problem(file, error))
        starters = [mine.pop(starter.name, starter) for starter in built_in()]
        specialists = (*starters, *(mine[name] for name in sorted(mine)))
        return _Shown((*files, *_there(adapters)), specialists, tuple(problems), tuple(adapters))

    def _state(self, adapters: Sequence[Path]) -> tuple[object, ...]:
        """Changes when a file comes, changes or goes, or an adapter comes or goes."""
        return (*self._files(), *_there(adapters))

    def _files(self) -> tuple[object, ...]:
        try:
            entries = sorted(os.scandir(self.folder), key=lambda entry: entry.name)
        except OSError:
            return ()
        return tuple(_file_state(entry) for entry in entries if entry.name.endswith(".toml"))


def _there(paths: Sequence[Path]) -> tuple[object, ...]:
    return tuple(AdapterFiles.are_at(path) for path in paths)


def _file_state(entry: os.DirEntry[str]) -> tuple[object, ...]:
    try:
        stat = entry.stat()
    except OSError:
        return (entry.name,)
    return entry.name, stat.st_mtime_ns, stat.st_size, stat.st_ino


def _usable(specialist: Specialist, file: Path, others: Mapping[str, Specialist]) -> Specialist:
    """The same, if its name is free and its adapter there."""
    if specialist.name in others:
        message = f"{file}: the name {specialist.name!r} is taken by {others[specialist.name].source}"
        raise SpecialistError(message, "give one of them another name")
    if specialist.adapter is not None:
        try:
            AdapterFiles.at(specialist.adapter)
        except SpecialistError as error:
            raise SpecialistError(f"{file}: {error}", error.hint) from error
    return specialist


def _only_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.toml"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files[:5]) or "none"
        raise SpecialistError(f"{folder}: expected one TOML file, found {found}", "name the file")
    return files[0]
