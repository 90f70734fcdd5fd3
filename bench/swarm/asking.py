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
    from collections.abc import Mapping, Sequence

    from bench.tasks import Task
    from synapse_engine import Engine
    from synapse_engine.results import Generation

    Blend = Mapping[str, float]

LONGEST = 96


def prompt_tokens(engine: Engine, task: Task, shown: Sequence[Task] = ()) -> list[int]:
    """The request in the model's chat template, after a conversation in which others were answered."""
    turns = [turn for each in shown for turn in conversation(each)["messages"]]
    rendered = engine.native.apply_chat_template(json.dumps([*turns, {"role": "user", "content": task.request}]))
    return engine.tokenize(rendered, add_special=False)


def ask(engine: Engine, tasks: Sequence[Task], adapters: Blend, shown: Sequence[Task] = ()) -> list[Generation]:
    """The likeliest answer to each, with the log-probabilities of its tokens; all requests share the engine's batch."""
    made = [
        generate_request(
            prompt_tokens(engine, task, shown),
            {"temperature": 0, "max_tokens": LONGEST, "logprobs": 0, "adapters": adapters},
        )
        for task in tasks
    ]
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
