"""Times a model: sends requests to the native engine and reads its own clock. Prints nothing."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from synapse_engine import _engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from synapse_engine.cli.choose import Chosen
    from synapse_engine.cli.options import LoadOptions


@dataclass(frozen=True)
class Case:
    """``streams`` requests at once, each of ``prompt`` tokens, each answered with ``tokens``."""

    prompt: int
    tokens: int
    streams: int


@dataclass(frozen=True)
class Speeds:
    """Tokens per second over all streams."""

    prefill: float
    """Prompt tokens until the last stream had its first token."""
    decode: float
    """Tokens after that."""
    first_token_seconds: float
    """Median over the streams."""


@dataclass(frozen=True)
class Result:
    """All rounds of a case and their medians."""

    case: Case
    rounds: list[Speeds]

    @property
    def median(self) -> Speeds:
        """Each figure's own median."""
        return Speeds(
            median(each.prefill for each in self.rounds),
            median(each.decode for each in self.rounds),
            median(each.first_token_seconds for each in self.rounds),
        )


def measure(
    chosen: Chosen, load: LoadOptions, cases: list[Case], rounds: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], list[Result]]:
    """Loads the model, runs one small request to warm up, then the cases in turn, round by round."""
    # Drafts would measure how the answers happen to repeat themselves.
    alone = {"prefix_cache": False, "speculation": "off"}
    engine = _engine.Engine(str(chosen.path), **{**load.engine_arguments(chosen.quant), **alone})
    try:
        words = random.Random(0)  # noqa: S311 - the same prompts each time
        _round(engine, Case(16, 4, 1), words)
        found: list[list[Speeds]] = [[] for _ in cases]
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}")
            for case, speeds in zip(cases, found, strict=True):
                speeds.append(_round(engine, case, words))
        return engine.info(), [Result(case, speeds) for case, speeds in zip(cases, found, strict=True)]
    finally:
        engine.close()


def _round(engine: _engine.Engine, case: Case, words: random.Random) -> Speeds:
    queue, begun = _engine.EventQueue(), time.perf_counter()
    for _ in range(case.streams):
        engine.submit(_request(engine, case, words), queue)
    usages: list[dict[str, Any]] = []
    last_event = begun
    while len(usages) < case.streams:
        for event in queue.receive():
            if event.error is not None:
                raise event.error
            if event.kind == "done" and event.usage is not None:
                usages.append(event.usage)
        last_event = time.perf_counter()
    firsts = [usage["first_token_seconds"] for usage in usages]
    decode_seconds = last_event - begun - max(firsts)
    decoded = sum(usage["completion_tokens"] - 1 for usage in usages)
    return Speeds(case.prompt * case.streams / max(firsts), decoded / decode_seconds, median(firsts))


def _request(engine: _engine.Engine, case: Case, words: random.Random) -> dict[str, Any]:
    vocabulary = engine.info()["vocab_size"]
    return {
        "tokens": [words.randrange(vocabulary // 8, vocabulary // 2) for _ in range(case.prompt)],
        "task": "generate", "max_new_tokens": case.tokens, "ignore_eos": True, "temperature": 0.0,
    }  # fmt: skip
