"""``synapse up``: checks what can be checked, gets the model, serves it here or in the background."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from synapse_engine.cli.choose import Chosen, choose, with_draft
from synapse_engine.cli.options import (
    LoadOptions,
    Number,
    adapter_limits,
    adapter_option,
    load_options,
    offline_option,
    speculation_options,
)
from synapse_engine.cli.output import json_option, note, print_json
from synapse_engine.cli.ports import require_free
from synapse_engine.cli.runs import Run, registered
from synapse_engine.cli.talk import KEY_VARIABLE

if TYPE_CHECKING:
    from synapse_engine.server import ServerOptions

# As synapse_engine.server.options has it; a test compares. Importing it here would make --help wait for FastAPI.
DEFAULT_PORT = 6900


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--model", "more", multiple=True, metavar="MODEL", help="The same as MODEL.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than this need a key.")
@click.option("--port", type=Number(int, 0, 65535), default=DEFAULT_PORT, show_default=True, help="0 takes a free one.")
@click.option("--api-key", envvar=KEY_VARIABLE, show_envvar=True, help="Key that clients must send.")
@click.option(
    "--cors-origin", "origins", multiple=True, metavar="URL", help="Web page that may call the API; * is all."
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="Name of this machine that clients may use.")
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write down every decision of routing.")
@click.option("--trace-hashes", is_flag=True, help="Keep hashes of requests in the trace, not their text.")
@click.option("--max-queue", type=Number(int, 1), default=256, show_default=True, help="Requests that may wait.")
@load_options
@speculation_options
@adapter_option("Load a LoRA adapter, for requests that name it.")
@adapter_limits
@offline_option
@click.option("--detach", "-d", is_flag=True, help="Serve in the background; return when it is ready.")
@json_option
def command(
    names: tuple[str, ...],
    more: tuple[str, ...],
    origins: tuple[str, ...],
    hosts: tuple[str, ...],
    trace: Path | None,
    trace_hashes: bool,
    max_queue: int,
    detach: bool,
    offline: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Serve a model on an OpenAI-compatible API.

    Without MODEL, the model pulled last is served; if there is none, a small one is pulled first. Several are served
    side by side; a request names the one it is for.

    \b
    Examples:
      synapse up
      synapse up qwen2.5-1.5b-instruct --quant q4 --detach
    """
    from synapse_engine.cli.background import start_in_background
    from synapse_engine.server import ServerOptions

    listen = {name: options.pop(name) for name in ("host", "port", "api_key")}
    listen |= {"trace": None if trace is None else trace.absolute(), "trace_text": not trace_hashes}
    server = ServerOptions(**listen, allowed_origins=origins, allowed_hosts=hosts)
    server.check()
    require_free(server.host, server.port)
    chosen = _choose((*names, *more), offline=offline)
    load = with_draft(LoadOptions.taken_from(options), offline=offline)
    if load.draft is not None and len(chosen) > 1:
        raise click.UsageError("--draft is for one model; several were named")
    if load.adapter and len(chosen) > 1:
        raise click.UsageError("--adapter is for one model; several were named")
    note(f"loading {', '.join(one.name for one in chosen)} ...")
    if detach:
        run, log = start_in_background(chosen, server, load, max_queue)
        _announce(run, as_json)
        note(f"synapse stop {run.port} ends it; its log is {log}")
    else:
        _serve(chosen, server, load, max_queue, as_json)


def _choose(names: tuple[str, ...], *, offline: bool) -> list[Chosen]:
    """Each model once, in the order in which they were named."""
    if not names:
        return [choose(None, offline=offline)]
    chosen = [choose(name, offline=offline) for name in dict.fromkeys(names)]
    return list({one.name: one for one in chosen}.values())


def _serve(chosen: list[Chosen], server: ServerOptions, load: LoadOptions, max_queue: int, as_json: bool) -> None:
    from synapse_engine._engine import Engine
    from synapse_engine.server import serve

    engines = {}
    with ExitStack() as stack:
        for one in chosen:
            engines[one.name] = Engine(str(one.path), max_queue=max_queue, **load.engine_arguments(one.quant))
            stack.callback(engines[one.name].close)
            for name, path in load.adapter:
                engines[one.name].load_adapter(name, str(path))

        def on_ready(url: str) -> None:
            port = urlsplit(url).port or server.port
            run = registered(server.host, port, list(engines), auth=server.api_key is not None)
            _announce(stack.enter_context(run), as_json)
            if sys.stdin.isatty():
                note("Ctrl-C ends it")

        # The server hands SIGTERM on when it has closed; by default that would end us before the run file is removed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            serve(engines, server, on_ready=on_ready)
        except KeyboardInterrupt:
            note("\nstopped" if sys.stdin.isatty() else "stopped")


def _announce(run: Run, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(run), "url": run.url})
        return
    names = ", ".join(click.style(model, bold=True) for model in run.models)
    click.echo(f"{names} {'is' if not run.others else 'are'} served on {click.style(run.url + '/v1', fg='cyan')}\n")
    key = f' -H "Authorization: Bearer ${KEY_VARIABLE}"' if run.auth else ""
    body = f'{{"model": "{run.model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    click.echo("  synapse chat")
    click.echo("  synapse chat synapse    (each message goes to the specialist that it belongs to)")
    click.echo(f"  curl {run.url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'\n")
