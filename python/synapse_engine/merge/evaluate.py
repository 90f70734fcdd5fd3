"""Whether a merge predicts a text worse than its base: log-likelihoods, paired, with a bootstrap interval.

Passages are scored by the engine, in the number format in which it would serve them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np

from synapse_engine.convert.errors import ConvertError, DamagedFileError, MismatchError
from synapse_engine.convert.files import read_text
from synapse_engine.store.progress import Progress

FEWEST = 5
"""Passages, or pieces of a text, below which an interval would say nothing."""
_RESAMPLES, _AT_ONCE, _SEED = 10_000, 500, 6900
_WINDOW, _PIECE = 512, 64
_TOGETHER = 8


@dataclass(frozen=True)
class Passage:
    """Text to score, after a prompt that is not scored."""

    text: str
    prompt: str | None
    place: str
    """Where it comes from, for errors."""


@dataclass(frozen=True)
class Score:
    """Natural log-likelihood of a piece of text, summed over its tokens."""

    logprob: float
    tokens: int


Scorer = Callable[[Path, Sequence[Passage]], list[Score]]
"""Scores passages with the model in a folder: one or more pieces each, the same for models with one tokenizer."""


@dataclass(frozen=True)
class Evaluation:
    """Mean log-likelihoods per token, in nats: the higher, the better."""

    base: float
    merged: float
    low: float
    """The 95 % interval of ``merged - base``."""
    high: float
    tokens: int
    pieces: int

    @property
    def worse(self) -> bool:
        """The whole interval lies below zero."""
        return self.high < 0

    def __str__(self) -> str:
        return (
            f"log-likelihood per token: base {self.base:.4f}, merged {self.merged:.4f}, difference "
            f"{self.merged - self.base:+.4f} (95 %: {self.low:+.4f} to {self.high:+.4f}; {self.tokens:,} tokens in "
            f"{self.pieces} pieces)"
        )


class WorseError(ConvertError):
    """A merge that predicts the evaluation worse than its base does."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(
            f"the merge is worse than the base and was not written; {evaluation}",
            "try a smaller --lambda, other weights or another --method; without --eval the merge is written as it is",
        )
        self.evaluation = evaluation


def read_passages(path: Path) -> list[Passage]:
    """JSON lines, ``{"prompt", "answer"}`` or ``{"text"}``, from a ``.jsonl``; else the file is one text."""
    text = read_text(path)
    if path.suffix.lower() != ".jsonl":
        return [Passage(text, None, path.name)]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [_passage(line, f"{path.name}, line {number}") for number, line in lines]


def evaluate(base: Path, merged: Path, passages: Sequence[Passage], scorer: Scorer, progress: Progress) -> Evaluation:
    """Scores both models; raises ConvertError if there is too little to compare."""
    found = []
    for name, folder in (("base", base), ("merge", merged)):
        progress.start(f"scoring the {name}", None)
        found.append(scorer(folder, passages))
        progress.finish()
    return compare(*found)


def compare(base: Sequence[Score], merged: Sequence[Score]) -> Evaluation:
    """Pieces are drawn again, with replacement and in pairs, for the interval of the difference per token."""
    if len(base) < FEWEST:
        raise MismatchError(
            f"the evaluation has {len(base)} pieces of text; an interval takes {FEWEST}",
            f"give {FEWEST} lines of JSON or more, or a text of {FEWEST * _PIECE} tokens or more",
        )
    tokens = np.array([score.tokens for score in base], np.float64)
    gains = np.array([after.logprob - before.logprob for before, after in zip(base, merged, strict=True)])
    random = np.random.default_rng(_SEED)
    means = np.empty(_RESAMPLES)
    for start in range(0, _RESAMPLES, _AT_ONCE):
        times = random.multinomial(len(gains), np.full(len(gains), 1 / len(gains)), size=_AT_ONCE)
        means[start : start + _AT_ONCE] = (times @ gains) / (times @ tokens)
    low, high = np.quantile(means, (0.025, 0.975))
    return Evaluation(_mean(base), _mean(merged), float(low), float(high), int(tokens.sum()), len(base))


def engine_scorer(folder: Path, passages: Sequence[Passage]) -> list[Score]:
    """With the engine: prompts through the model's chat template if it has one, texts in windows of 512 tokens."""
    from synapse_engine.engine import Engine
    from synapse_engine.streams import Stream

    with Engine(folder, packed_file=False, max_sequences=_TOGETHER) as engine:
        windows = [window for passage in passages for window in _windows(engine, passage)]
        scores: list[Score] = []
        for start in range(0, len(windows), _TOGETHER):
            batch = windows[start : start + _TOGETHER]
            streams = [Stream(engine.native, {"tokens": tokens, "task": "score"}) for tokens, _, _ in batch]
            for stream, (_, counted, piece) in zip(streams, batch, strict=True):
                found = [token.logprob or 0.0 for token in stream.finish().generation().tokens][-counted:]
                pieces = [found[at : at + piece] for at in range(0, counted, piece)]
                scores += [Score(fsum(each), len(each)) for each in pieces]
    return scores


def _windows(engine: Any, passage: Passage) -> list[tuple[list[int], int, int]]:
    """Tokens to score, how many of them count, from the end, and into pieces of how many they are cut."""
    context = engine.info["context_length"]
    if passage.prompt is None:
        return list(_of_text(engine.tokenize(passage.text, add_special=False), min(_WINDOW, context)))
    before = _prompt(engine, passage.prompt)
    answer = engine.tokenize(passage.text, add_special=False, parse_special=False)
    if not before or not answer:
        raise MismatchError(f"{passage.place}: the prompt or the answer has no tokens", "remove the line")
    if len(before) + len(answer) > context:
        raise MismatchError(
            f"{passage.place}: {len(before) + len(answer)} tokens; the model takes {context}", "shorten or remove it"
        )
    return [([*before, *answer], len(answer), len(answer))]


def _of_text(tokens: list[int], window: int) -> list[tuple[list[int], int, int]]:
    """Windows start every half; each counts what the one before did not. The very first token has no score."""
    found = [(tokens[:window], min(window, len(tokens)) - 1, _PIECE)]
    stride = window // 2
    for start in range(stride, len(tokens) - window + stride, stride):
        part = tokens[start : start + window]
        found.append((part, len(part) - (window - stride), _PIECE))
    return [each for each in found if each[1] > 0]


def _prompt(engine: Any, prompt: str) -> list[int]:
    if not engine.info["chat_template"]:
        return list(engine.tokenize(prompt))
    turn = json.dumps([{"role": "user", "content": prompt}])
    return list(engine.tokenize(engine.native.apply_chat_template(turn), add_special=False))


def _mean(scores: Sequence[Score]) -> float:
    return fsum(score.logprob for score in scores) / sum(score.tokens for score in scores)


def _passage(line: str, place: str) -> Passage:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{place}: not JSON: {error}", "one JSON object on each line") from error
    if isinstance(row, dict) and isinstance(row.get("answer"), str) and isinstance(row.get("prompt"), str):
        return Passage(row["answer"], row["prompt"], place)
    if isinstance(row, dict) and isinstance(row.get("text"), str):
        return Passage(row["text"], None, place)
    raise DamagedFileError(f'{place}: expected {{"prompt", "answer"}} or {{"text"}}, all strings', "change the line")
