"""Organelle models in the engine against the same weights in PyTorch: every published shape, at full size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.oracle.asking import answers, distributions, greedy, load
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from synapse_engine.train.symbio import SymbioModel, clean_state
from synapse_engine.train.symbio_config import SymbioConfig, feed_forward_size

if TYPE_CHECKING:
    from pathlib import Path

THREE = ("causal_conv", "monarch", "long_conv")
SLM = {"hidden_size": 256, "intermediate_size": 640}
GPT = {"hidden_size": 320, "intermediate_size": 832, "num_attention_heads": 5, "head_dim": 64}
SCALED = {"gate_temperature": True, "skip_scales": True}
# What the published checkpoints are, and how many numbers they hold.
PUBLISHED = {
    "SymbioGPT-10M": (SymbioConfig(organelles=((*THREE, "attention"),) * 8, **GPT, **SCALED), 11_053_400),
    "SymbioSLM": (SymbioConfig(organelles=(THREE,) * 8, monarch_layout="julia", **SLM), 5_052_672),
    "SymbioSLM, 4 heads": (SymbioConfig(organelles=(THREE,) * 6, monarch_heads=4, **SLM), 4_065_024),
    "GrammarExpert": (SymbioConfig(organelles=(THREE,) * 6, monarch_heads=8, **SLM, **SCALED), 4_261_650),
    "GrammarExpert, Julia": (
        SymbioConfig(organelles=(THREE,) * 6, monarch_heads=8, monarch_layout="julia", **SLM),
        4_261_632,
    ),
    "MonarchSLM": (
        SymbioConfig(
            organelles=(("causal_conv", "monarch"),) * 8, monarch_heads=8, monarch_layout="julia", gate="sigmoid", **SLM
        ),
        4_983_040,
    ),
    "VocabFusion": (
        SymbioConfig(
            organelles=((*THREE, "attention"),) * 8, vocab_size=50_304, donor_hidden_size=128, **GPT, **SCALED
        ),
        16_934_872,
    ),
}


def random_model(config: SymbioConfig) -> SymbioModel:
    """Weights as at the start of training; gates, scales and norms, which start alike, differ from each other."""
    torch.manual_seed(0)
    model = SymbioModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "gate" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def save(model: SymbioModel, folder: Path) -> Path:
    """As `synapse export` lays it out, with a tokenizer that nothing here asks."""
    folder.mkdir()
    save_file(clean_state(model.state_dict()), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_json()))
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


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
    config = SymbioConfig(organelles=(THREE,) * 2, **SLM, **SCALED)
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
