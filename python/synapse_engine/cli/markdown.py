"""Draws Markdown while it is still coming: each block when it is whole, so that nothing is drawn twice."""

from __future__ import annotations

from rich.console import Console
from rich.markdown import Markdown


class MarkdownWriter:
    """Collects text and prints every finished block."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._waiting = ""
        self._drawn = False

    def add(self, piece: str) -> None:
        """More text."""
        self._waiting += piece
        while (end := end_of_block(self._waiting)) is not None:
            self._draw(self._waiting[:end])
            self._waiting = self._waiting[end:]

    def finish(self) -> None:
        """Prints what is left, whole or not."""
        self._draw(self._waiting)
        self._waiting = ""

    def _draw(self, block: str) -> None:
        if not block.strip():
            return
        if self._drawn:
            self._console.print()
        self._drawn = True
        self._console.print(Markdown(block.strip("\n")))


def end_of_block(text: str) -> int | None:
    """Where the first block ends: after its blank line, which inside a fence of code ends nothing."""
    position, fenced, begun = 0, False, False
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            return None
        position += len(line)
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        begun = begun or bool(line.strip())
        if begun and not fenced and not line.strip():
            return position
    return None
