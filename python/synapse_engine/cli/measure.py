"""Times a model: sends requests to the native engine and reads its own clocks. Prints nothing."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from functools import reduce
from operator import add
from statistics import median
from typing import TYPE_CHECKING, Any

from synapse_engine import _engine
from synapse_engine.cli.account import Account, Roofs, measure_roofs

if TYPE_CHECKING:
    from collections.abc import Callable

    from synapse_engine.cli.choose import Chosen
    from synapse_engine.cli.options import LoadOptions

# Between two looks at whether the engine has booked its last step.
POLL_SECONDS = 0.0005


@dataclass(frozen=True)
class Case:
    """``streams`` requests at once, each of ``prompt`` tokens, each answered with ``tokens``."""

    prompt: int
    tokens: int
    streams: int


@dataclass(frozen=True)
class Round:
    """Tokens per second over all streams, and where the time went."""

    prefill: float
    """Prompt tokens until the last stream had its first token."""
    decode: float
    """Tokens after that; those that other streams had by then do not count."""
    first_token_seconds: float
    """Median over the streams."""
    prefill_account: Account
    decode_account: Account
    """Of the steps from where every stream decoded; the last few without those that began, and ended, sooner."""
    roofs: Roofs
    """The best of those measured before, between and after."""


@dataclass(frozen=True)
class Result:
    """All rounds of a case."""

    case: Case
    rounds: list[Round]

    def median(self, figure: Callable[[Round], float]) -> float:
        """The middle one of all rounds."""
        return median(figure(each) for each in self.rounds)

    @property
    def roofs(self) -> Roofs:
        """The best of all rounds."""
        return reduce(Roofs.best, [each.roofs for each in self.rounds])

    def account(self, phase: Callable[[Round], Account]) -> Account:
        """All rounds together."""
        return reduce(add, [phase(each) for each in self.rounds])


def measure(
    chosen: Chosen, load: LoadOptions, plan: Callable[[int], list[Case]], rounds: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], list[Result]]:
    """Loads the model, runs one small request to warm up, then the cases in turn, round by round.

    ``plan`` gets the length of the context and says which cases.
    """
    # Drafts would measure how the answers happen to repeat themselves.
    alone = {"prefix_cache": False, "speculation": "off"}
    engine = _engine.Engine(str(chosen.path), **{**load.engine_arguments(chosen.quant), **alone})
    try:
        cases = plan(engine.info()["context_length"])
        words = random.Random(0)  # noqa: S311 - the same prompts each time
        _round(engine, Case(16, 4, 1), words)
        found: list[list[Round]] = [[] for _ in cases]
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}")
            for case, results in zip(cases, found, strict=True):
                results.append(_round(engine, case, words))
        return engine.info(), [Result(case, results) for case, results in zip(cases, found, strict=True)]
    finally:
        engine.close()


def _round(engine: _engine.Engine, case: Case, words: random.Random) -> Round:
    threads = engine.info()["threads"]
    # What other machines on the same host leave of its memory changes all the time, here by half within seconds.
    first = measure_roofs(threads)
    before = Account.of(engine.stats())
    firsts = [usage["first_token_seconds"] for usage in _Requests(engine, case, 1, words).finish()]
    prefilling = Account.of(engine.stats()) - before
    between = measure_roofs(threads)
    decode, decoding = _decode(engine, case, words)
    last = measure_roofs(threads)
    return Round(
        prefill=case.prompt * case.streams / max(firsts),
        decode=decode,
        first_token_seconds=median(firsts),
        prefill_account=prefilling.under(first.mean(between)),
        decode_account=decoding.under(between.mean(last)),
        roofs=first.best(between).best(last),
    )


def _decode(engine: _engine.Engine, case: Case, words: random.Random) -> tuple[float, Account]:
    requests = _Requests(engine, case, case.tokens, words)
    requests.receive_until(lambda: requests.least() > 0)
    early = requests.tokens.total()
    # With two tokens of a stream here, the step that read its prompt is booked.
    requests.receive_until(lambda: requests.least() > 1)
    before = Account.of(engine.stats())
    usages = requests.finish()
    decoded = sum(usage["completion_tokens"] for usage in usages) - early
    seconds = requests.last_event - requests.begun - max(usage["first_token_seconds"] for usage in usages)
    return decoded / seconds, Account.of(engine.stats()) - before


class _Requests:
    """The requests of a case, from their submission until the engine has booked their last step."""

    def __init__(self, engine: _engine.Engine, case: Case, tokens: int, words: random.Random) -> None:
        self._engine, self._queue, self._streams = engine, _engine.EventQueue(), case.streams
        self._complete = engine.stats()["requests_completed_total"] + case.streams
        self._usages: list[dict[str, Any]] = []
        self.tokens: Counter[int] = Counter()
        """Received so far, by request."""
        self.begun = self.last_event = time.perf_counter()
        vocabulary = engine.info()["vocab_size"]
        for _ in range(case.streams):
            prompt = [words.randrange(vocabulary // 8, vocabulary // 2) for _ in range(case.prompt)]
            options = {"max_new_tokens": tokens, "ignore_eos": True, "temperature": 0.0}
            engine.submit({"tokens": prompt, "task": "generate", **options}, self._queue)

    def least(self) -> int:
        """Tokens that every stream has."""
        return min(self.tokens.values()) if len(self.tokens) == self._streams else 0

    def receive_until(self, enough: Callable[[], bool]) -> None:
        """Takes events until there are enough, or all have come."""
        while not enough() and len(self._usages) < self._streams:
            for event in self._queue.receive():
                if event.error is not None:
                    raise event.error
                self.tokens[event.request_id] += len(event.tokens)
                if event.kind == "done" and event.usage is not None:
                    self._usages.append(event.usage)
            self.last_event = time.perf_counter()

    def finish(self) -> list[dict[str, Any]]:
        """Usage of every request."""
        self.receive_until(lambda: False)
        while self._engine.stats()["requests_completed_total"] < self._complete:
            time.sleep(POLL_SECONDS)
        return self._usages
