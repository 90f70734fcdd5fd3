"""``synapse chat``: the loop of a conversation. Reading lines and drawing answers is the screen's work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.conversation import Conversation
from synapse_engine.cli.open_talker import open_talker
from synapse_engine.cli.options import (
    LoadOptions,
    adapter_option,
    answer_options,
    given,
    load_options,
    offline_option,
    speculation_options,
)
from synapse_engine.cli.talk import AUTO, Answer

if TYPE_CHECKING:
    from synapse_engine.cli.screen import Screen
    from synapse_engine.cli.talk import Talker

HELP = """\
/help              this list
/clear             forget the conversation, keep the system message
/system TEXT       set the system message and start over; without TEXT, show it
/model [NAME]      go on with another model; without NAME, show which it is
/specialist [NAME] ask a specialist; auto: the one that fits; none: the model itself
/save FILE         write the conversation as Markdown, or as JSON if FILE ends in .json
/exit              leave (Ctrl-D does too)

Ctrl-C stops an answer. Alt-Enter starts a new line."""


@click.command()
@click.argument("model", required=False)
@answer_options
@load_options
@speculation_options
@adapter_option("Add what a LoRA adapter adds; several add up.")
@offline_option
@click.option("--markdown", is_flag=True, help="Draw answers as Markdown, one block at a time.")
def command(model: str | None, markdown: bool, offline: bool, system: str | None, **options: Any) -> None:
    """Talk with a model in the terminal.

    Without MODEL, the only running server is asked, or else the model pulled last. synapse as MODEL lets the specialist
    answer that each message belongs to, synapse/NAME one of them. When standard input is no terminal, it is answered as
    one message.
    """
    load = LoadOptions.taken_from(options)
    talker = open_talker(model, load, offline=offline)
    chat = Chat(talker, load, Conversation(system), given(**options), offline=offline)
    try:
        if sys.stdin.isatty():
            _talk(chat, markdown)
        else:
            _answer_input(chat)
    finally:
        chat.talker.close()


class Chat:
    """The state of a session."""

    def __init__(
        self, talker: Talker, load: LoadOptions, conversation: Conversation, options: dict[str, Any], *, offline: bool
    ) -> None:
        self.talker = talker
        self.conversation = conversation
        self.options = options
        self._load = load
        self._offline = offline

    def answer(self, text: str, screen: Screen) -> None:
        """One turn. What was said before an interruption stays in the conversation."""
        self.conversation.ask(text)
        answer = Answer()
        try:
            with screen.answering(answer) as show:
                for piece in self.talker.stream(self.conversation.messages, self.options, answer):
                    show(piece)
        except KeyboardInterrupt:
            answer.finish_reason = "cancelled"
            screen.stopped()
        except Exception as error:
            if not hasattr(error, "hint"):
                raise
            self.conversation.take_back()
            screen.failed(error)
            return
        self.conversation.answered(answer.text)
        screen.ended(answer)

    def switch(self, model: str) -> None:
        """Another model takes over the conversation."""
        fresh = open_talker(model, self._load, offline=self._offline)
        self.talker.close()
        self.talker = fresh


def _talk(chat: Chat, markdown: bool) -> None:
    from synapse_engine.cli.screen import Screen

    screen = Screen(markdown=markdown)
    screen.greet(chat.talker)
    while (text := screen.read()) is not None:
        if text.startswith("/"):
            if not _obey(chat, text, screen):
                return
        elif text:
            chat.answer(text, screen)


def _obey(chat: Chat, text: str, screen: Screen) -> bool:
    """Carries out a command; False ends the session."""
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if word in ("/exit", "/quit", "/bye"):
        return False
    try:
        screen.say(_reply(chat, word, rest))
    except Exception as error:
        if not isinstance(error, OSError) and not hasattr(error, "hint"):
            raise
        screen.failed(error)
    return True


def _reply(chat: Chat, word: str, rest: str) -> str:
    if word == "/help":
        return HELP
    if word == "/clear":
        chat.conversation.clear()
        return "the conversation is forgotten"
    if word == "/system" and rest:
        chat.conversation.set_system(rest)
        return "the system message is set; the conversation starts over"
    if word == "/system":
        return chat.conversation.system or "there is no system message"
    if word == "/model":
        if rest:
            chat.switch(rest)
        return f"{chat.talker.model}, {chat.talker.where}"
    if word == "/specialist":
        if rest:
            chat.talker.specialist = _specialist(rest)
        return asked(chat.talker)
    if word == "/save":
        return f"saved to {chat.conversation.save(rest)}"
    return f"there is no {word}; /help lists what there is"


def _specialist(name: str) -> str | None:
    """Checked here: a server of this user has the same ones, and would refuse the next message only."""
    from synapse_engine.specialists import Library

    if name in (AUTO, "none"):
        return None if name == "none" else name
    return Library().find(name).name


def asked(talker: Talker) -> str:
    """Who answers, for people."""
    if talker.specialist == AUTO:
        return f"each message goes to the specialist that it belongs to, over {talker.model}"
    return f"{talker.specialist}, over {talker.model}" if talker.specialist else f"{talker.model} itself"


def _answer_input(chat: Chat) -> None:
    """Standard input is one message; the answer alone goes to standard output."""
    text = sys.stdin.read().strip()
    if not text:
        raise click.UsageError("standard input is empty")
    chat.conversation.ask(text)
    for piece in chat.talker.stream(chat.conversation.messages, chat.options, Answer()):
        click.echo(piece, nl=False)
    click.echo()
