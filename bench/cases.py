"""What is measured of a loaded model: the calls, how their seconds become a figure, what bounds it. Knows no peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from bench.work import Work
    from bench.worker import Worker
    from synapse_engine.cli.account import Roofs

# Token ids that are ordinary text in every model here.
TOKENS = range(1000, 40000)
DEPTH = 4096
# The same in every round, so that it is read once: what that costs is not measured here.
DEEP_CONTEXT = [TOKENS[7919 * at % len(TOKENS)] for at in range(DEPTH)]
# Rows of a pass -> passes that are timed together.
PASSES = {1: 32, 4: 24, 8: 16, 32: 8}

Roof = Literal["read", "int8"]


@dataclass(frozen=True)
class Case:
    """One figure."""

    name: str
    measure: Callable[[Worker, random.Random], float]
    unit: str = "tok/s"
    higher_is_better: bool = True
    roof: Roof | None = None
    # Bytes or operations for one token.
    needed: Callable[[Work], float] | None = None
    # It starts from a long context, which peers keep from round to round.
    deep: bool = False

    def share(self, value: float, work: Work, roofs: Roofs) -> float | None:
        """How much of its roof a figure uses."""
        if self.roof is None or self.needed is None:
            return None
        most = {"read": roofs.read_bytes_per_second, "int8": roofs.int8_operations_per_second}[self.roof]
        return value * self.needed(work) / most


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


def passes(rows: int) -> Callable[[Worker, random.Random], float]:
    """Milliseconds for one token of each of so many sequences."""

    def measure(worker: Worker, rng: random.Random) -> float:
        count = PASSES[rows]
        return 1000 * worker.call("passes", [prompt(rng, 16) for _ in range(rows)], count) / count

    return measure


def deep_prefill(worker: Worker, rng: random.Random) -> float:
    """Prompt tokens per second behind a long context."""
    return 512 / worker.call("deep_prefill", DEEP_CONTEXT, prompt(rng, 512))


def deep_decode(worker: Worker, _: random.Random) -> float:
    """Tokens per second of one sequence behind a long context."""
    return 64 / worker.call("deep_decode", DEEP_CONTEXT, 64)


def pass_name(rows: int) -> str:
    """The name of the case."""
    return f"pass of {rows}"


CASES = [
    Case("prefill 512", prefill, roof="int8", needed=lambda work: work.prefill_operations(512)),
    Case("decode 128", decode, roof="read", needed=lambda work: work.decode_bytes(32 + 128 / 2)),
    Case("8 streams", streams),
    *(Case(pass_name(rows), passes(rows), unit="ms", higher_is_better=False) for rows in PASSES),
    Case("prefill 512 at 4096", deep_prefill, deep=True),
    Case(
        "decode 64 at 4096",
        deep_decode,
        roof="read",
        needed=lambda work: work.decode_bytes(DEPTH + 64 / 2),
        deep=True,
    ),
]
