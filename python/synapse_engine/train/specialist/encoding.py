"""Conversations to tokens by the model's own chat template, and which of them are the assistant's. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synapse_engine.train.specialist.conversations import Conversation


@dataclass(frozen=True)
class Encoded:
    """One conversation."""

    tokens: NDArray[np.int64]
    learned: NDArray[np.bool_]
    """True for the tokens of the assistant's turns, the token that ends a turn included."""


class Encoder:
    """A model's tokenizer with its chat template."""

    def __init__(self, folder: Path, longest: int) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._longest = longest
        if not self._tokenizer.chat_template:
            raise DataError(f"{folder.name} has no chat template", "choose a model that was taught to converse")

    def encode(self, conversations: Sequence[Conversation]) -> list[Encoded]:
        """Raises ``DataError`` that names the line of a conversation which does not fit."""
        return [self._encode(conversation) for conversation in conversations]

    def _encode(self, conversation: Conversation) -> Encoded:
        tokens: list[int] = []
        learned: list[bool] = []
        for text, answer in self._pieces(conversation):
            # One by one, as the engine sees a prompt that ends where the answer begins.
            found = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            tokens += found
            learned += [answer] * len(found)
        if len(tokens) > self._longest:
            raise DataError(
                f"line {conversation.line}: {len(tokens)} tokens; a window has {self._longest}",
                "shorten or split the conversation, or give a larger --window",
            )
        return Encoded(np.array(tokens, np.int64), np.array(learned, np.bool_))

    def _pieces(self, conversation: Conversation) -> Iterator[tuple[str, bool]]:
        """The rendered text, in turn what is given and what the assistant says."""
        messages = list(conversation.messages)
        done = ""
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render(messages[:at], conversation, prompt=True)
            after = self._render(messages[: at + 1], conversation, prompt=False)
            if not (before.startswith(done) and after.startswith(before)):
                raise DataError(
                    f"line {conversation.line}: the chat template writes earlier turns anew at message {at + 1}",
                    "make one conversation of each answer",
                )
            yield before[len(done) :], False
            yield after[len(before) :], True
            done = after

    def _render(self, messages: list[dict[str, str]], conversation: Conversation, *, prompt: bool) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
        except Exception as error:  # a template may raise what it likes
            raise DataError(
                f"line {conversation.line}: the chat template refuses it: {error}", "change or remove the line"
            ) from error
        return text
