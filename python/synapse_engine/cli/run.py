"""``synapse run``: one prompt, one answer on stdout."""

from __future__ import annotations

import sys
from typing import Any

import click

from synapse_engine.cli.app import Failure
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
from synapse_engine.cli.output import json_option, print_json
from synapse_engine.cli.talk import Answer, Message


@click.command()
@click.argument("model")
@click.argument("prompt", required=False)
@answer_options
@load_options
@speculation_options
@adapter_option("Add what a LoRA adapter adds; several add up.")
@offline_option
@json_option
def command(model: str, prompt: str | None, as_json: bool, offline: bool, system: str | None, **options: Any) -> None:
    """Answer one prompt and exit.

    The prompt is read from standard input when it is not given or is "-". If MODEL is being served, the server answers.
    synapse as MODEL lets the specialist answer that the prompt belongs to, synapse/NAME one of them.

    \b
    Examples:
      synapse run smollm2-135m-instruct "Why is the sky blue?"
      git diff | synapse run qwen2.5-1.5b-instruct --system "Write a commit message."
    """
    load = LoadOptions.taken_from(options)
    text = _prompt(prompt)
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    talker, answer = open_talker(model, load, offline=offline), Answer()
    try:
        for piece in talker.stream(messages, given(**options), answer):
            if not as_json:
                click.echo(piece, nl=False)
    finally:
        talker.close()
    if as_json:
        print_json({"model": talker.model, **answer.record()})
    else:
        click.echo()


def _prompt(prompt: str | None) -> str:
    if prompt not in (None, "-"):
        return str(prompt)
    if prompt is None and sys.stdin.isatty():
        raise click.UsageError("Missing argument 'PROMPT'.")
    text = sys.stdin.read().strip()
    if not text:
        raise Failure("the prompt is empty", 'synapse run MODEL "a question"')
    return text
