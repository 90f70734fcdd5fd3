"""How long work reports where it is. Knows nothing of terminals; the command line draws it."""

from typing import Protocol


class Progress(Protocol):
    """Receives the state of one task at a time, from one thread."""

    def start(self, task: str, total: int | None, done: int = 0) -> None:
        """Begins a task of ``total`` bytes (None: unknown), ``done`` of which are there already."""

    def update(self, done: int) -> None:
        """``done`` bytes of the current task are there now; may fall when work had to be repeated."""

    def note(self, text: str) -> None:
        """Something the user should read, such as why a source was skipped."""

    def finish(self) -> None:
        """The current task is over, done or not."""


class Silent:
    """Reports nothing."""

    def start(self, task: str, total: int | None, done: int = 0) -> None:
        """Ignored."""
        del task, total, done

    def update(self, done: int) -> None:
        """Ignored."""
        del done

    def note(self, text: str) -> None:
        """Ignored."""
        del text

    def finish(self) -> None:
        """Ignored."""
