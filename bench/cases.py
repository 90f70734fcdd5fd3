"""What is measured: the calls, and how their seconds become a figure. Knows no peer."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.worker import PeerError, Worker

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# Token ids that are ordinary text in every model here.
TOKENS = range(1000, 40000)


@dataclass(frozen=True)
class Case:
    """One figure, in tokens per second."""

    name: str
    measure: Callable[[Worker, random.Random], float]


def prompt(rng: random.Random, length: int) -> list[int]:
    """Tokens that no cache has seen."""
    return rng.choices(TOKENS, k=length)


def prefill(worker: Worker, rng: random.Random) -> float:
    """Prompt tokens per second."""
    return 512 / worker.call("prefill", prompt(rng, 512))


def decode(worker: Worker, rng: random.Random) -> float:
    """Tokens per second of one sequence."""
    return 128 / worker.call("decode", prompt(rng, 32), 128)


def streams(worker: Worker, rng: random.Random) -> float:
    """Tokens per second over all sequences, the time for their prompts included."""
    return 8 * 64 / worker.call("streams", [prompt(rng, 32) for _ in range(8)], 64)


CASES = [
    Case("prefill 512", prefill),
    Case("decode 128", decode),
    Case("8 streams", streams),
]
COLD_START = "cold start"


def cold_start(peer: str, path: str, threads: int, rng: random.Random) -> float:
    """Seconds from starting a new process to its first token after a prompt of 16, files in the page cache."""
    tokens = ",".join(map(str, prompt(rng, 16)))
    command = [sys.executable, "-m", "bench.cold", peer, path, str(threads), tokens]
    start = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise PeerError(ended.stderr.strip().splitlines()[-1])
    # The clock is the system's. What the process does after its first token, such as freeing memory, does not count.
    return float(ended.stdout) - start
