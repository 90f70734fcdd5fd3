"""A new process with each peer, from its start to its first token: how long, and how much memory at most."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.worker import PeerError

COLD_START = "cold start"
PEAK_MEMORY = "peak memory beyond the file"


@dataclass(frozen=True)
class Start:
    """What one start took."""

    seconds: float
    """To the first token after a short prompt."""
    memory: float
    """Megabytes at most, without the file that the weights are mapped or read from."""


def start(peer: str, path: str, threads: int, tokens: list[int], python: str) -> Start:
    """Starts a process of this interpreter that loads the model and makes one token."""
    command = [python, "-m", "bench.cold", peer, path, str(threads), ",".join(map(str, tokens))]
    begun = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise PeerError(ended.stderr.strip().splitlines()[-1])
    told = json.loads(ended.stdout.splitlines()[-1])
    # The clock is the system's. What the process does after its first token, such as freeing memory, does not count.
    file = Path(told["file"]).stat().st_size
    return Start(told["clock"] - begun, (told["peak_bytes"] - file) / 1e6)
