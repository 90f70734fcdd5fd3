"""``synapse specialist test``: would requests like its examples come to a specialist, and what does it say?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.cli.talk import Answer
    from synapse_engine.routing import Decision, Router
    from synapse_engine.specialists import Specialist

_LETTERS = 56
_ANSWER_TOKENS = 200


def test_specialist(name: str, model: str | None, *, as_json: bool) -> None:
    """Routes the examples, and lets the specialist answer the first one where a model is at hand."""
    from synapse_engine import routing
    from synapse_engine.specialists import Library

    library = Library()
    specialist = library.find(name)
    router = routing.open_router(library.all())
    decisions = [routed(router, library.all(), specialist, example) for example in specialist.examples]
    if not as_json:
        _show(specialist, decisions)
    answer = _answer(specialist, model, quiet=as_json)
    if as_json:
        pairs = zip(specialist.examples, decisions, strict=True)
        rows = [{"example": example, **decision.as_dict()} for example, decision in pairs]
        print_json({"specialist": name, "examples": rows, "answer": answer and answer.record()})


def routed(router: Router, everyone: Sequence[Specialist], specialist: Specialist, example: str) -> Decision:
    """Where the example would go if the specialist did not have it: of its own examples each is sure."""
    rest = tuple(other for other in specialist.examples if other != example)
    without = replace(specialist, examples=rest or specialist.examples)
    router.set_specialists([without if one.name == specialist.name else one for one in everyone])
    return router.route([("user", example)])


def _show(specialist: Specialist, decisions: Sequence[Decision]) -> None:
    rows = [_row(example, decision) for example, decision in zip(specialist.examples, decisions, strict=True)]
    print_table(["EXAMPLE", "GOES TO", "LIKELY", "WHY"], rows, right=[2])
    found = sum(decision.specialist == specialist.name for decision in decisions)
    click.echo(f"{found} of {len(decisions)} come to {specialist.name}")
    if len(decisions) > 1:
        note("each was routed as if it were not among the examples")
    if found < len(decisions):
        note("what goes elsewhere: say it in the description, or add examples like it")


def _row(example: str, decision: Decision) -> list[str]:
    text = " ".join(example.split())
    text = text if len(text) <= _LETTERS else text[: _LETTERS - 3] + "..."
    chance = decision.none if decision.specialist is None else decision.probabilities[decision.specialist]
    return [text, decision.specialist or "none", f"{chance:.2f}", decision.reason]


def _answer(specialist: Specialist, model: str | None, *, quiet: bool) -> Answer | None:
    from synapse_engine.cli.open_talker import open_talker
    from synapse_engine.cli.options import LoadOptions
    from synapse_engine.cli.runs import running
    from synapse_engine.cli.talk import Answer

    if model is None and len(running()) != 1:
        if not quiet:
            note("with --model MODEL, or while one server runs, the first example is answered, too")
        return None
    talker, answer = open_talker(model, LoadOptions(), offline=False), Answer()
    talker.specialist = specialist.name
    options: dict[str, Any] = {} if "max_tokens" in specialist.sampling else {"max_tokens": _ANSWER_TOKENS}
    try:
        if not quiet:
            click.echo(f"\n{click.style('> ', fg='cyan')}{specialist.examples[0]}")
        for piece in talker.stream([{"role": "user", "content": specialist.examples[0]}], options, answer):
            if not quiet:
                click.echo(piece, nl=False)
    finally:
        talker.close()
    if not quiet:
        click.echo()
    return answer
