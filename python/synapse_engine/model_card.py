"""What the model cards of all writers share. Writes no file."""

from collections.abc import Sequence

CHAT_NOTE = (
    "It has not been taught to converse: its chat template joins the messages with spaces, "
    "so that it continues what is written, in any client."
)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, one line for each row."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Facts come from files and names that may hold anything."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
