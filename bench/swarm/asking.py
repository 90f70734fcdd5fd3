"""Puts many requests to the engine at once, greedily, with or without adapters. Knows no right or wrong."""

from __future__ import annotations

import json
from math import fsum
from typing import TYPE_CHECKING

from bench.perplexity import Losses, windows
from bench.tasks import conversation
from synapse_engine.options import generate_request, weighted
from synapse_engine.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.tasks import Task
    from synapse_engine import Engine
    from synapse_engine.options import GenerateOptions
    from synapse_engine.results import Generation
    from synapse_engine.specialists.applying import Turn

    Blend = Mapping[str, float]

LONGEST = 96


def turns_of(task: Task, shown: Sequence[Task] = ()) -> list[Turn]:
    """The request, after a conversation in which others were answered."""
    before = [turn for each in shown for turn in conversation(each)["messages"]]
    return [*before, {"role": "user", "content": task.request}]


def prompt_tokens(engine: Engine, turns: Sequence[Turn]) -> list[int]:
    """The conversation in the model's chat template."""
    return engine.tokenize(engine.native.apply_chat_template(json.dumps(turns)), add_special=False)


def ask(engine: Engine, conversations: Iterable[Sequence[Turn]], adapters: Blend) -> list[Generation]:
    """The likeliest answer to each, with the log-probabilities of its tokens; all requests share the engine's batch."""
    options: GenerateOptions = {"temperature": 0, "max_tokens": LONGEST, "logprobs": 0, "adapters": adapters}
    made = [generate_request(prompt_tokens(engine, turns), options) for turns in conversations]
    return [stream.finish().generation() for stream in [Stream(engine.native, each) for each in made]]


def text_losses(engine: Engine, tokens: list[int], adapters: Blend) -> Losses:
    """What plain text costs, window by window, as in ``bench.perplexity``."""
    parts = list(windows(tokens))
    requests = [{"tokens": part, "task": "score", "adapters": weighted(adapters)} for part, _ in parts]
    losses = Losses()
    for (_, new), stream in zip(parts, [Stream(engine.native, each) for each in requests], strict=True):
        found = [token.logprob or 0.0 for token in stream.finish().generation().tokens]
        losses.sums.append(-fsum(found[-new:]))
        losses.counts.append(new)
    return losses
