"""What feedback taught, in a file that all processes of a user share. Knows files and locks, not how it is learnt."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from synapse_engine._engine import RequestError
from synapse_engine.routing.errors import RoutingError
from synapse_engine.store.lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from synapse_engine.routing.parts import Bias

log = logging.getLogger(__name__)
T = TypeVar("T")
_State = tuple[int, int, int]


class KeptBias:
    """A ``Bias`` whose every change is on disk, and seen by other processes, when the call returns.

    ``empty``: one that has learnt nothing. ``tell`` hears of a file that cannot be used; it is set aside.
    """

    def __init__(self, path: Path, empty: Bias, tell: Callable[[str], None] = log.warning) -> None:
        self.path = path
        self._tell = tell
        self._empty = empty
        self._current = empty.copy()
        self._state: _State | None = None
        self._lock = threading.RLock()
        self._locked = False

    def bias(self, embedding: Sequence[float], names: Sequence[str]) -> dict[str, float]:
        """See ``_engine.HebbianBias``."""
        return self._fresh().bias(embedding, names)

    def active(self, embedding: Sequence[float]) -> list[dict[str, Any]]:
        """See ``_engine.HebbianBias``."""
        return self._fresh().active(embedding)

    def describe(self) -> list[dict[str, Any]]:
        """See ``_engine.HebbianBias``."""
        return self._fresh().describe()

    def export_json(self) -> str:
        """See ``_engine.HebbianBias``."""
        return self._fresh().export_json()

    def copy(self) -> Bias:
        """One of its own that is not kept."""
        return self._fresh().copy()

    def learn(self, embedding: Sequence[float], rewards: dict[str, float], *, label: str = "") -> dict[str, Any]:
        """See ``_engine.HebbianBias``."""
        return self._change(lambda bias: bias.learn(embedding, rewards, label=label))

    def reset(self, *, region: int | None = None, specialist: str | None = None) -> int:
        """See ``_engine.HebbianBias``."""
        return self._change(lambda bias: bias.reset(region=region, specialist=specialist))

    def import_json(self, text: str) -> None:
        """See ``_engine.HebbianBias``; raises RoutingError for what is no such export."""
        try:
            self._change(lambda bias: bias.import_json(text))
        except RequestError as error:
            raise RoutingError(str(error), "give what `synapse feedback export` wrote", error.param) from error

    def _change(self, change: Callable[[Bias], T]) -> T:
        with self._alone():
            fresh = self._fresh().copy()
            result = change(fresh)
            self._write(fresh.export_json())
            self._current, self._state = fresh, self._look()
            return result

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread and no other process changes the file meanwhile."""
        with self._lock:
            if self._locked:
                yield
                return
            with locked(self.path.with_name(f".{self.path.name}.lock")):
                self._locked = True
                try:
                    yield
                finally:
                    self._locked = False

    def _fresh(self) -> Bias:
        """What the file holds now."""
        with self._lock:
            state = self._look()
            if state != self._state:
                self._current, self._state = self._read(state), state
            return self._current

    def _look(self) -> _State | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self, state: _State | None) -> Bias:
        bias = self._empty.copy()
        try:
            bias.import_json(self.path.read_bytes().decode())
        except FileNotFoundError:
            return self._empty.copy()
        except OSError as error:
            self._tell(f"{self.path}: {error.strerror}; routing goes on without feedback")
            return self._empty.copy()
        except (RequestError, UnicodeDecodeError) as error:
            self._set_aside(state, str(error))
            return self._empty.copy()
        return bias

    def _set_aside(self, read: _State | None, why: str) -> None:
        try:
            with self._alone():
                # Another process may have done the same, and begun a new file.
                if self._look() != read:
                    return
                aside = self._free_name()
                self.path.replace(aside)
        except OSError:
            aside = self.path
        self._tell(f"{self.path}: {why}; it is kept as {aside.name}, and routing starts without feedback")

    def _free_name(self) -> Path:
        names = (f"{self.path.stem}.unusable-{number}{self.path.suffix}" for number in itertools.count(1))
        return next(path for path in map(self.path.with_name, names) if not path.exists())

    def _write(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.new")
        # The labels are words of the user.
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.write(text + "\n")
            output.flush()
            os.fsync(output.fileno())
        fresh.replace(self.path)
