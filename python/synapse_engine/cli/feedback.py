"""``synapse feedback``: says who was right or wrong, and looks after what was learnt from that."""

from __future__ import annotations

import difflib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.output import json_option, note, print_json, print_table, when
from synapse_engine.cli.route import biases, percent, signed
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synapse_engine.routing import KeptBias

_RATINGS = {"up": "Say that the specialist chosen was right.", "down": "Say that the specialist chosen was wrong."}
_RIGHT_ONE = "NAME"
_COMMANDS = ("list", "export", "import", "reset")


class _Givers(click.Group):
    """A group in which every word that is no command is the name of a specialist."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click; raises Failure for a word that is neither."""
        known = super().get_command(ctx, cmd_name)
        if known is None and cmd_name != _RIGHT_ONE:
            _check_name(cmd_name)
        return known or _giver(cmd_name, f"Say that {cmd_name} is the right one.")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one meets them."""
        del ctx
        return [*_RATINGS, _RIGHT_ONE, *_COMMANDS]


@click.group(cls=_Givers, no_args_is_help=False)
def command() -> None:
    """Correct the routing, and see what it learned.

    NAME is the specialist that should have answered, or none. Feedback counts for requests like the one it is about,
    is bounded, and fades; every server of yours follows it at once.

    \b
    Examples:
      synapse feedback down --last
      synapse feedback code "How do I sort a list of dicts?"
      synapse feedback up --id chatcmpl-1f0c...
      synapse feedback list
    """


def _giver(name: str, line: str) -> click.Command:
    """The command for ``up``, ``down`` or a specialist."""

    @click.command(name, help=line)
    @click.argument("text", required=False)
    @click.option("--last", is_flag=True, help="On the request that `synapse route` was last used for.")
    @click.option("--id", "response_id", metavar="ID", help="On a response of a running server.")
    @json_option
    def give(text: str | None, last: bool, response_id: str | None, as_json: bool) -> None:
        if [text is not None, last, response_id is not None].count(True) != 1:
            raise click.UsageError("give either TEXT, --last or --id")
        if response_id is not None:
            from synapse_engine.cli.feedback_server import send

            found = send(response_id, name)
        else:
            found = _learned(_last() if text is None else text, name)
        if as_json:
            print_json(found)
        else:
            _print_learned(found)

    return give


for _name, _line in _RATINGS.items():
    command.add_command(_giver(_name, _line))


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List what was learned, the strongest first."""
    from synapse_engine.routing import open_feedback

    regions = open_feedback(tell=note).describe()
    if as_json:
        print_json(regions)
    elif regions:
        print_table(
            ["REGION", "FEEDBACKS", "LAST", "BIAS", "REQUESTS LIKE"], [_row(it) for it in regions], right=[0, 1]
        )
    else:
        click.echo("nothing was learned yet; synapse feedback up --last says that a choice was right")


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
def export(file: Path | None) -> None:
    """Write what was learned to FILE, or to the standard output."""
    from synapse_engine.routing import open_feedback

    text = open_feedback(tell=note).export_json()
    if file is None:
        click.echo(text)
        return
    file.write_text(text + "\n", encoding="utf-8")
    note(f"wrote {file}")


@command.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def import_(file: IO[str], yes: bool) -> None:
    """Take what was exported in place of what is there."""
    from synapse_engine.routing import open_feedback

    kept = open_feedback(tell=note)
    try:
        text = file.read()
    except UnicodeDecodeError as error:
        raise Failure(f"{file.name}: not UTF-8 at byte {error.start}") from error
    if not yes and kept.describe():
        click.confirm(f"Replace what was learned in {_regions(kept)}?", abort=True, err=True)
    kept.import_json(text)
    click.echo(_regions(kept))


@command.command()
@click.option(
    "--region", type=click.IntRange(0), metavar="N", help="Only this one; `synapse feedback list` numbers them."
)
@click.option("--specialist", metavar="NAME", help="Only what is tied to this one.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def reset(region: int | None, specialist: str | None, yes: bool) -> None:
    """Forget what was learned: all of it, or a part."""
    from synapse_engine.routing import open_feedback

    kept = open_feedback(tell=note)
    if region is not None and region not in [it["region"] for it in kept.describe()]:
        raise Failure(f"there is no region {region}", "synapse feedback list shows all")
    if not yes and region is None and specialist is None and kept.describe():
        click.confirm("Forget all that was learned?", abort=True, err=True)
    gone = kept.reset(region=region, specialist=specialist)
    click.echo(f"forgot {gone} tie{'s' if gone != 1 else ''} between requests and specialists")


def _learned(text: str, name: str) -> dict[str, Any]:
    from synapse_engine.routing import open_router

    router = open_router(tell=note)
    decision = router.route(text)
    if name in _RATINGS:
        return router.react(decision, decision.specialist, 1 if name == "up" else -1).as_dict()
    return router.react(decision, name, 1).as_dict()


def _regions(kept: KeptBias) -> str:
    count = len(kept.describe())
    return f"{count} region{'s' if count != 1 else ''}"


def _check_name(name: str) -> None:
    from synapse_engine.routing import NONE
    from synapse_engine.specialists import Library

    known = [*(specialist.name for specialist in Library().all()), NONE]
    if name not in known:
        near = difflib.get_close_matches(name, [*known, *_RATINGS, *_COMMANDS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"
        raise Failure(f"there is no specialist {name[:60]!r}", hint)


def _last() -> str:
    path = home().last_route
    try:
        text = json.loads(path.read_text(encoding="utf-8"))["text"]
    except FileNotFoundError:
        raise Failure("no request was routed yet", 'synapse route "TEXT" shows where one would go') from None
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is damaged", "use synapse route again") from error
    return str(text)


def _print_learned(found: Mapping[str, Any]) -> None:
    for name, bias in found["bias"].items():
        change = f"{signed(bias['before'])} to {signed(bias['after'])}"
        click.echo(f"{name}: bias {change} for requests like this (region {found['region']})")
    before, after = found["before"], found["after"]
    if before["specialist"] != after["specialist"]:
        click.echo(f"goes to {_choice(after)} now, went to {_choice(before)}")
    elif after["specialist"] is None:
        click.echo("goes to the plain model as before")
    else:
        click.echo(f"goes to {_choice(after)} as before, when it was {percent(_share(before))}")


def _choice(decision: Mapping[str, Any]) -> str:
    name = decision["specialist"]
    return "the plain model" if name is None else f"{name} ({percent(_share(decision))})"


def _share(decision: Mapping[str, Any]) -> float:
    share: float = decision["probabilities"][decision["specialist"]]
    return share


def _row(region: Mapping[str, Any]) -> list[str]:
    last = when(datetime.fromtimestamp(region["updated"], timezone.utc).isoformat())
    ties = biases({name: tie["bias"] for name, tie in region["specialists"].items()})
    return [str(region["region"]), str(region["feedbacks"]), last, ties, region["label"]]
