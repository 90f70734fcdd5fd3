"""A conversation: who said what, and how it is saved. Knows neither model nor terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine.cli.app import Failure

if TYPE_CHECKING:
    from synapse_engine.cli.talk import Message


class Conversation:
    """Messages in order; the system message, if any, comes first and survives ``clear``."""

    def __init__(self, system: str | None = None) -> None:
        self.system = system
        self._turns: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """As the API wants them."""
        first: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return first + self._turns

    def ask(self, text: str) -> None:
        """The user's next message."""
        self._turns.append({"role": "user", "content": text})

    def answered(self, text: str) -> None:
        """The model's answer; an empty one takes the question back, for two user messages in a row confuse models."""
        if text:
            self._turns.append({"role": "assistant", "content": text})
        else:
            self.take_back()

    def take_back(self) -> None:
        """Forgets a question that got no answer."""
        if self._turns and self._turns[-1]["role"] == "user":
            self._turns.pop()

    def clear(self) -> None:
        """Forgets all but the system message."""
        self._turns.clear()

    def set_system(self, text: str) -> None:
        """A new system message starts a new conversation."""
        self.system = text
        self.clear()

    def save(self, name: str) -> Path:
        """Writes the conversation to a new file; raises Failure rather than overwrite one."""
        if not name:
            raise Failure("/save needs the name of a file", "/save talk.md")
        path = Path(name).expanduser()
        if path.suffix == ".json":
            text = json.dumps(self.messages, indent=2, ensure_ascii=False) + "\n"
        else:
            text = "\n".join(f"## {turn['role']}\n\n{turn['content']}\n" for turn in self.messages)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            raise Failure(f"{path} exists already", "choose another name") from error
        return path
