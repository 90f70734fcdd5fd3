"""Puts token ids to an engine and gives back numbers. Knows no oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synapse_engine import _engine

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path, **options: Any) -> _engine.Engine:
    """A running model that shares nothing between requests unless `options` say otherwise."""
    plain = {"threads": 2, "prefix_cache": False, "packed_file": False, "max_sequences": 16, "max_queue": 64}
    return _engine.Engine(str(path), **{**plain, **options})


def answers(engine: _engine.Engine, requests: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The tokens that each request gave; all requests are in the engine at the same time."""
    queue = _engine.EventQueue()
    found: dict[int, list[dict[str, Any]]] = {engine.submit(request, queue): [] for request in requests}
    running = len(requests)
    while running:
        for event in queue.receive():
            if event.error:
                raise event.error
            found[event.request_id] += event.tokens or []
            running -= event.kind == "done"
    return list(found.values())


def usage(engine: _engine.Engine, request: dict[str, Any]) -> dict[str, Any]:
    """What the engine says it did for a request that is alone."""
    queue = _engine.EventQueue()
    engine.submit(request, queue)
    while True:
        for event in queue.receive():
            if event.error:
                raise event.error
            if event.kind == "done":
                assert event.usage
                return event.usage


Blend = Sequence[tuple[str, float]]
"""Names of loaded adapters, with their weights."""


def scored(tokens: list[int], top: int = 0, adapters: Blend = ()) -> dict[str, Any]:
    """A request for the log-probability of every token."""
    return {"tokens": tokens, "task": "score", "top": top, "adapters": list(adapters)}


def greedy(tokens: list[int], count: int, logprobs: int = 1, adapters: Blend = ()) -> dict[str, Any]:
    """A request for the likeliest continuation, past any end token."""
    return {
        "adapters": list(adapters),
        "tokens": tokens,
        "max_new_tokens": count,
        "temperature": 0.0,
        "logprobs": logprobs,
        "ignore_eos": True,
    }


def log_probabilities(engine: _engine.Engine, tokens: list[int]) -> np.ndarray:
    """Of every token but the first."""
    [found] = answers(engine, [scored(tokens)])
    return np.array([token["logprob"] for token in found[1:]])


def distributions(engine: _engine.Engine, tokens: list[int], vocabulary: int, adapters: Blend = ()) -> np.ndarray:
    """The whole log-softmax, (tokens - 1, vocabulary): row i is what the engine expects after tokens[: i + 1]."""
    [found] = answers(engine, [scored(tokens, vocabulary, adapters)])
    rows = np.full((len(tokens) - 1, vocabulary), np.nan)
    for row, token in zip(rows, found[1:], strict=True):
        ids, _, values = zip(*token["top"], strict=True)
        row[list(ids)] = values
    assert not np.isnan(rows).any()
    return rows
