"""The list of subcommands and what happens to their errors. Imports nothing of a subcommand until it is used."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import NoReturn

import click

# One line each; a test checks that they are the first lines of the commands' own help.
COMMANDS = {
    "pull": "Get a model: by name, from the hub, or from a local file or folder.",
    "ls": "List the models on this machine.",
    "show": "Show what a model is made of.",
    "convert": "Turn a checkpoint of the organelle family into a model.",
    "merge": "Merge adapters and fine-tuned models into one model.",
    "rm": "Remove models from this machine.",
    "verify": "Check every byte of models against their digests.",
    "up": "Serve a model on an OpenAI-compatible API.",
    "ps": "List the running servers.",
    "stop": "Stop running servers.",
    "chat": "Talk with a model in the terminal.",
    "run": "Answer one prompt and exit.",
    "specialist": "Look after what requests are routed to.",
    "route": "Show which specialist a request would go to.",
    "feedback": "Correct the routing, and see what it learned.",
    "trace": "Read what was routed where, and route it again.",
    "train": "Train a small model on your own text, or a specialist.",
    "export": "Make a model folder of a training run.",
    "evolve": "Breed an adapter that tells good sentences from spoiled ones.",
    "bench": "Measure how fast a model runs here.",
    "doctor": "Check that this machine is fit for the engine.",
}
INTERRUPTED = 130


class Failure(click.ClickException):
    """An error as the user sees it: what happened, then what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: object = None) -> None:
        """Writes it to stderr."""
        del file
        click.echo(click.style("error:", fg="red", bold=True) + f" {self.message}", err=True)
        if self.hint:
            click.echo(click.style("hint:", fg="cyan") + f" {self.hint}", err=True)


class Misuse(Failure):
    """A command line that cannot be understood; exits with 2."""

    exit_code = 2

    def __init__(self, error: click.UsageError) -> None:
        path = error.ctx.command_path if error.ctx else "synapse"
        super().__init__(error.format_message(), f"{path} --help")


class LazyGroup(click.Group):
    """A group whose commands are modules ``synapse_engine.cli.NAME`` with a ``command`` in each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the one command that is wanted."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"synapse_engine.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table above, so that help imports nothing."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion."""
        import difflib

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.65)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; errors made for users lose their traceback, all others keep it."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except click.UsageError as error:
            raise Misuse(error) from error
        except OSError as error:
            _os_error(error)
        except Exception as error:
            if isinstance(error, click.ClickException | click.exceptions.Exit) or not hasattr(error, "hint"):
                raise
            raise Failure(str(error), error.hint) from error


def _os_error(error: OSError) -> NoReturn:
    if error.errno == errno.EPIPE:
        # The reader of our output has gone; Python must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(1) from error
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    hints = {
        errno.ENOSPC: "free some space, or set SYNAPSE_HOME to a folder on a larger disk",
        errno.EACCES: "check the permissions, or set SYNAPSE_HOME to a folder of your own",
        errno.EROFS: "set SYNAPSE_HOME to a folder that can be written",
    }
    raise Failure(what, hints.get(error.errno or 0)) from error


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from synapse_engine._engine import __version__

        click.echo(f"synapse {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def synapse() -> None:
    """Run language models on your own machine.

    \b
    Start here:
      synapse up            serve a small model on 127.0.0.1:6900
      synapse chat          talk with it
      synapse ls --all      see what else there is
    """
