"""What must not change a single bit of an answer: company, chunks, threads, the prefix cache. On the real model."""

from pathlib import Path
from typing import Any

import asking
import numpy as np
import pytest

from synapse_engine import _engine

COUNT = 20
# Short ones, one of a page and one of several chunks, in one batch.
LENGTHS = [1, 5, 16, 17, 40, 150]


def prompts() -> list[list[int]]:
    rng = np.random.default_rng(6900)
    return [rng.integers(1000, 40000, length).tolist() for length in LENGTHS]


def exact(answer: list[dict[str, Any]]) -> list[tuple[int, float, list[Any]]]:
    """All that is compared, logprobs as they are."""
    return [(token["id"], token["logprob"], token["top"]) for token in answer]


@pytest.fixture(scope="module")
def plain(smollm2_path: Path) -> Any:
    engine = asking.load(smollm2_path, packed_file=True)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def alone(plain: Any) -> list[Any]:
    """Each prompt continued with nothing else in the engine."""
    return [exact(*asking.answers(plain, [asking.greedy(prompt, COUNT, 5)])) for prompt in prompts()]


def test_company_changes_nothing(plain: Any, alone: list[Any]):
    together = asking.answers(plain, [asking.greedy(prompt, COUNT, 5) for prompt in prompts()])
    assert [exact(answer) for answer in together] == alone


def test_company_does_not_change_what_a_seed_draws(plain: Any):
    requests = [{**asking.greedy(prompt, COUNT), "temperature": 0.9, "seed": 7} for prompt in prompts()]
    together = [exact(answer) for answer in asking.answers(plain, requests)]
    assert together == [exact(*asking.answers(plain, [request])) for request in requests]
    assert len({token for token, _, _ in together[-1]}) > 1


def test_reading_at_once_is_reading_token_by_token(plain: Any, alone: list[Any]):
    for prompt, answer in zip(prompts(), alone, strict=True):
        read = asking.log_probabilities(plain, prompt + [token for token, _, _ in answer])
        assert read[len(prompt) - 1 :].tolist() == [logprob for _, logprob, _ in answer]


@pytest.mark.parametrize(
    "options", [{"prefill_chunk": 16}, {"prefill_chunk": 48}, {"threads": 1}, {"threads": 3}], ids=str
)
def test_chunks_and_threads_change_nothing(smollm2_path: Path, alone: list[Any], options: dict[str, int]):
    engine = asking.load(smollm2_path, packed_file=True, **options)
    found = asking.answers(engine, [asking.greedy(prompt, COUNT, 5) for prompt in prompts()])
    engine.close()
    assert [exact(answer) for answer in found] == alone


def test_a_known_prefix_is_as_good_as_reading_it(smollm2_path: Path, alone: list[Any]):
    engine = asking.load(smollm2_path, packed_file=True, prefix_cache=True)
    first, second = (cached_run(engine, prompts()[-1]) for _ in range(2))
    assert first[0] == 0
    assert second[0] >= LENGTHS[-1] - 16
    assert first[1] == second[1] == alone[-1]
    longer = prompts()[-1] + [token for token, _, _ in alone[-1]]
    grown = cached_run(engine, longer)
    engine.close()
    fresh = asking.load(smollm2_path, packed_file=True)
    assert grown[0] > LENGTHS[-1]
    assert grown[1] == exact(*asking.answers(fresh, [asking.greedy(longer, COUNT, 5)]))
    fresh.close()


def cached_run(engine: Any, prompt: list[int]) -> tuple[int, Any]:
    """Prompt tokens that came from the cache, and the answer."""
    queue = _engine.EventQueue()
    engine.submit(asking.greedy(prompt, COUNT, 5), queue)
    found: list[dict[str, Any]] = []
    while True:
        for event in queue.receive():
            if event.error:
                raise event.error
            found += event.tokens or []
            if event.kind == "done":
                return event.usage["cached_tokens"], exact(found)
