"""The terminal of ``synapse chat``: reads lines with history, draws answers as they come. Knows no model."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings

from synapse_engine.cli.markdown import MarkdownWriter
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyPressEvent

    from synapse_engine.cli.talk import Answer, Talker

_COMMANDS = ("/help", "/clear", "/system", "/model", "/specialist", "/save", "/exit")


class Screen:
    """One chat session on a terminal."""

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown
        self._plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        history = home().history
        history.parent.mkdir(parents=True, exist_ok=True)
        history.touch(mode=0o600)
        self._session: PromptSession[str] = PromptSession(
            history=FileHistory(str(history)),
            completer=_CommandCompleter(),
            complete_while_typing=False,
            key_bindings=_keys(),
        )

    def greet(self, talker: Talker) -> None:
        """The first lines."""
        name = talker.model if talker.specialist is None else f"synapse ({talker.specialist}), {talker.model}"
        click.echo(f"{self._styled(name, bold=True)}, {talker.where}")
        click.echo(self._styled("/help lists the commands, Ctrl-D leaves", dim=True))

    def read(self) -> str | None:
        """The next message; None when the user leaves. Ctrl-C drops what was typed."""
        prompt = FormattedText([("" if self._plain else "bold ansicyan", "> ")])
        while True:
            try:
                click.echo()
                return self._session.prompt(prompt, prompt_continuation="  ").strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None

    @contextmanager
    def answering(self, answer: Answer) -> Iterator[Callable[[str], None]]:
        """Gives the function that shows each piece of an answer; ``answer`` is what has come so far."""
        del answer
        if not self._markdown:
            yield _show
            return
        writer = MarkdownWriter()
        try:
            yield writer.add
        finally:
            writer.finish()

    def ended(self, answer: Answer) -> None:
        """The line under an answer: how much, how fast."""
        if not answer.text.endswith("\n") and not self._markdown:
            click.echo()
        if answer.completion_tokens:
            speed = f"{answer.tokens_per_second:.1f} tok/s, " if answer.tokens_per_second else ""
            first = f"first after {answer.first_token_seconds:.2f} s"
            cut = ", cut off at the limit" if answer.finish_reason == "length" else ""
            click.echo(self._styled(f"{who(answer)}{answer.completion_tokens} tokens, {speed}{first}{cut}", dim=True))

    def stopped(self) -> None:
        """After Ctrl-C."""
        click.echo(self._styled(" [stopped]", dim=True), nl=False)

    def say(self, text: str) -> None:
        """The reply to a command."""
        click.echo(self._styled(text, dim=True))

    def failed(self, error: Exception) -> None:
        """An error that does not end the session."""
        click.echo(f"{self._styled('error:', fg='red', bold=True)} {error}")
        if hint := getattr(error, "hint", None):
            click.echo(f"{self._styled('hint:', fg='cyan')} {hint}")

    def _styled(self, text: str, **style: Any) -> str:
        return text if self._plain else click.style(text, **style)


def who(answer: Answer) -> str:
    """Who answered, and how likely the router found that."""
    if answer.synapse is None:
        return ""
    name = answer.synapse.get("specialist")
    chance = answer.synapse.get("probabilities", {}).get(name)
    likely = "" if chance is None else f" ({chance:.2f})"
    return f"{name}{likely}, " if name else f"no specialist ({answer.synapse.get('reason')}), "


class _CommandCompleter(Completer):
    """Completes the word after a slash at the start of the line."""

    def get_completions(self, document: Document, complete_event: object) -> Iterable[Completion]:
        """See prompt_toolkit."""
        del complete_event
        typed = document.text_before_cursor
        if typed.startswith("/") and " " not in typed:
            for command in _COMMANDS:
                if command.startswith(typed):
                    yield Completion(command, start_position=-len(typed))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
