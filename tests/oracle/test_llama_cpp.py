"""The real model against llama.cpp on the same file, with the same weights in float32 as the judge between them.

Both engines round activations to 8 bits, each in its own places, so they differ from each other as each differs from the
truth. How far llama.cpp is from the truth is therefore the measure: this engine may not be further away on average. What
llama.cpp and `transformers` said is in tests/goldens/llama_cpp_smollm2.json; make_llama_cpp.py beside it made it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import asking
import numpy as np
import pytest

GOLDENS = Path(__file__).parents[1] / "goldens" / "llama_cpp_smollm2.json"
# Twenty texts are a sample: a mean over 1785 places varies by a few per cent with the order of additions alone.
SLACK = 1.1


@pytest.fixture(scope="module")
def cases(smollm2_path: Path) -> list[dict[str, Any]]:
    goldens = json.loads(GOLDENS.read_text(encoding="utf-8"))
    assert hashlib.sha256(smollm2_path.read_bytes()).hexdigest() == goldens["sha256"]
    return goldens["cases"]


@pytest.fixture(scope="module")
def native(smollm2_path: Path) -> Any:
    engine = asking.load(smollm2_path, packed_file=True)
    yield engine
    engine.close()


def distances(cases: list[dict[str, Any]], key: str) -> np.ndarray:
    """|log-probability - truth| of every token that `key` covers: all but the first, or the generated ones."""
    return np.concatenate([np.abs(np.subtract(case[key], case["truth"][-len(case[key]) :])) for case in cases])


def test_tokens_of_the_prompts(native: Any, cases: list[dict[str, Any]]):
    for case in cases:
        assert native.tokenize(case["text"], add_special=False) == case["prompt"]


def test_log_probabilities_are_as_close_to_the_truth_as_llama_cpp(native: Any, cases: list[dict[str, Any]]):
    found = [asking.log_probabilities(native, case["prompt"] + case["tokens"]) for case in cases]
    ours = np.concatenate([np.abs(values - case["truth"]) for values, case in zip(found, cases, strict=True)])
    theirs = distances(cases, "together")
    apart = np.concatenate([np.abs(values - case["together"]) for values, case in zip(found, cases, strict=True)])
    print(
        f"mean |d logprob|: engine-f32 {ours.mean():.4f}, llama.cpp-f32 {theirs.mean():.4f}, engine-llama.cpp {apart.mean():.4f}"
    )
    assert ours.mean() <= theirs.mean() * SLACK
    assert np.percentile(ours, 99) <= np.percentile(theirs, 99) * SLACK
    assert apart.mean() <= 2 * theirs.mean()


def test_greedy_text_leaves_llama_cpp_only_where_the_truth_is_undecided(native: Any, cases: list[dict[str, Any]]):
    # As far as llama.cpp's own choice was ever from the best one is as far as rounding is known to reach.
    reach = max(best(case, at) - case["truth"][len(case["prompt"]) - 1 + at] for case in cases for at in range(64))
    for case in cases:
        [found] = asking.answers(native, [asking.greedy(case["prompt"], len(case["tokens"]))])
        tokens = [token["id"] for token in found]
        assert len(tokens) == len(case["tokens"])
        at = next((at for at, pair in enumerate(zip(tokens, case["tokens"], strict=True)) if pair[0] != pair[1]), None)
        if at is not None:
            likely = dict(case["truth_top"][at])
            assert tokens[at] in likely, f"{case['text']!r}: place {at}"
            assert best(case, at) - likely[tokens[at]] <= reach, f"{case['text']!r}: place {at}"


def best(case: dict[str, Any], at: int) -> float:
    """The truth's highest log-probability at a generated token's place."""
    return case["truth_top"][at][0][1]
