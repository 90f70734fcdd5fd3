"""What several specialists at a time cost: the wall time of k answers in one batch, beside that of one."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from synapse_engine.options import generate_request
from synapse_engine.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synapse_engine import Engine

NEW_TOKENS = 64


@dataclass(frozen=True)
class Wall:
    """Medians over rounds of the time of ``count`` answers over that of one."""

    count: int
    whole: float
    """Prompt and answer."""
    decode: float
    """The answer, the prompt being known already."""
    rounds: int

    def record(self) -> dict[str, Any]:
        """What is kept."""
        return dict(vars(self))


def measure(engine: Engine, prompts: Sequence[Sequence[int]], names: Sequence[str]) -> Wall:
    """One round for each prompt, which must begin differently; one and several go first in turn."""
    ratios: dict[str, list[float]] = {"whole": [], "decode": []}
    for at, prompt in enumerate(prompts):
        single = names[at % len(names)]
        for what in ("whole", "decode"):
            # Another first token, so that only the second time the prompt is known.
            times: Mapping[bool, float] = {
                several: _seconds(engine, [2 * at + several + 10, *prompt], names if several else [single])
                for several in ((False, True) if at % 2 else (True, False))
            }
            ratios[what].append(times[True] / times[False])
    return Wall(len(names), median(ratios["whole"]), median(ratios["decode"]), len(prompts))


def _seconds(engine: Engine, tokens: Sequence[int], names: Sequence[str]) -> float:
    made = [
        generate_request(
            list(tokens), {"temperature": 0, "max_tokens": NEW_TOKENS, "ignore_eos": True, "adapters": {name: 1.0}}
        )
        for name in names
    ]
    start = perf_counter()
    for stream in [Stream(engine.native, each) for each in made]:
        stream.finish()
    return perf_counter() - start
