"""Starts a server that outlives this command, and waits until it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from synapse_engine.cli.app import Failure
from synapse_engine.cli.runs import running
from synapse_engine.cli.talk import KEY_VARIABLE
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synapse_engine.cli.choose import Chosen
    from synapse_engine.cli.options import LoadOptions
    from synapse_engine.cli.runs import Run
    from synapse_engine.server import ServerOptions

_PATIENCE_SECONDS = 600
_LAST_LINES = 8


def start_in_background(
    chosen: Sequence[Chosen], server: ServerOptions, load: LoadOptions, max_queue: int
) -> tuple[Run, Path]:
    """The server, and its log. Raises Failure with the end of its log if it does not come up."""
    log = home().runs / f"{server.port or f'any-{os.getpid()}'}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "synapse_engine.cli", "up", *_arguments(chosen, server, load, max_queue)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=_environment(server),
        )
    return _wait(process, log), log


def _arguments(chosen: Sequence[Chosen], server: ServerOptions, load: LoadOptions, max_queue: int) -> list[str]:
    options: dict[str, Sequence[object]] = {
        "--host": [server.host], "--port": [server.port], "--cors-origin": server.allowed_origins,
        "--allow-host": server.allowed_hosts, "--max-queue": [max_queue], "--quant": [load.quant],
        "--threads": [load.threads], "--ctx": [load.ctx], "--kv-type": [load.kv_type],
        "--past-window": [load.past_window], "--speculate": [load.speculate], "--draft": [load.draft],
        "--trace": [server.trace], "--adapter": [f"{name}={path}" for name, path in load.adapter],
        "--max-adapters": [load.max_adapters], "--max-adapter-rank": [load.max_adapter_rank],
        "--adapter-memory": [load.adapter_memory],
    }  # fmt: skip
    pairs = [f"{name}={value}" for name, values in options.items() for value in values if value is not None]
    flags = ["--offline"] if server.trace_text else ["--offline", "--trace-hashes"]
    return [*(one.argument for one in chosen), *flags, *pairs]


def _environment(server: ServerOptions) -> dict[str, str]:
    """The key goes through the environment: arguments can be read by every user of the machine."""
    kept = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    return {**kept, KEY_VARIABLE: server.api_key} if server.api_key else kept


def _wait(process: subprocess.Popen[bytes], log: Path) -> Run:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while process.poll() is None and time.monotonic() < deadline:
            for run in running():
                if run.pid == process.pid:
                    return run
            time.sleep(0.05)
    except KeyboardInterrupt:
        process.kill()
        raise
    process.kill()
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
    raise Failure("the server did not start:\n" + "\n".join(f"  {line}" for line in said), f"its log is {log}")
