"""Organelle models in the engine against the same weights in PyTorch: every published shape, at full size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from bench.organelle_models import PUBLISHED, SLM, THREE, random_model, save
from tests.oracle.asking import answers, distributions, greedy, load

from synapse_engine.train.symbio_config import SymbioConfig, feed_forward_size

if TYPE_CHECKING:
    from pathlib import Path

    from synapse_engine.train.symbio import SymbioModel


def reference(model: SymbioModel, tokens: list[int]) -> np.ndarray:
    """Log-softmax after every token but the last."""
    with torch.no_grad():
        return np.asarray(torch.log_softmax(model(torch.tensor([tokens]))[0, :-1].double(), -1))


@pytest.mark.parametrize("name", PUBLISHED)
def test_logits_of_every_published_shape(name: str, tmp_path: Path) -> None:
    config, count = PUBLISHED[name]
    model = random_model(config)
    engine = load(save(model, tmp_path / "model"), quant="none", kv_type="f32")
    assert engine.info()["parameters"] == count == config.parameters()
    # All 256 positions of a small vocabulary; of a large one as many as go through its head in a moment.
    length = 256 if config.vocab_size < 10_000 else 40
    tokens = np.random.default_rng(1).integers(config.vocab_size, size=length).tolist()
    wanted = reference(model, tokens)
    assert wanted.std() > 0.1
    assert np.abs(distributions(engine, tokens, config.vocab_size) - wanted).max() < 2e-4


@pytest.mark.parametrize(("quant", "bound"), [("f16", 2e-3), ("q8", 2e-2)])
def test_smaller_formats_stay_close(quant: str, bound: float, tmp_path: Path) -> None:
    config, _ = PUBLISHED["SymbioSLM"]
    model = random_model(config)
    engine = load(save(model, tmp_path / "model"), quant=quant, kv_type="f32")
    tokens = np.random.default_rng(1).integers(config.vocab_size, size=256).tolist()
    wanted = reference(model, tokens)
    found = distributions(engine, tokens, config.vocab_size)
    divergence = (np.exp(wanted) * (wanted - found)).sum(-1).mean()
    assert 0 < divergence < bound


def test_an_answer_goes_on_past_the_window(tmp_path: Path) -> None:
    config = SymbioConfig(organelles=(THREE,) * 2, **SLM, gate_temperature=True, skip_scales=True)
    model = random_model(config)
    folder = save(model, tmp_path / "model")
    prompt = np.random.default_rng(2).integers(config.vocab_size, size=250).tolist()
    for past_window, keep in [("exact", 256), ("restart", 128)]:
        engine = load(folder, quant="none", kv_type="f32", past_window=past_window, speculation="off")
        tokens, dropped = list(prompt), 0
        for token in greedy_tokens(engine, prompt, 20):
            if len(tokens) - dropped > 256:
                dropped = len(tokens) - keep
            with torch.no_grad():
                logits = model(torch.tensor([tokens[dropped:]]))[0, -1]
            # The likeliest, but for a draw within what rounding may decide.
            assert logits.max() - logits[token] < 1e-3
            tokens.append(token)


def greedy_tokens(engine: object, prompt: list[int], count: int) -> list[int]:
    """The engine's likeliest continuation."""
    [found] = answers(engine, [greedy(prompt, count)])
    return [token["id"] for token in found]


def test_the_feed_forward_rule() -> None:
    assert [feed_forward_size(width) for width in (128, 256, 320)] == [320, 640, 832]
