"""Log-probabilities of tiny random models against `transformers` in float32, for every shape and number format."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asking
import gguf_layout
import numpy as np
import pytest
import tiny_gguf
import tiny_models
import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
# Around a page of 16 tokens, and across several.
LENGTHS = [1, 2, 15, 16, 17, 100]
# Logits spread over a few units here; float32 itself, against float64, is off by 2e-5.
EXACT = 2e-4
# Bounds for rounded numbers: mean of KL(transformers, engine) in nats, somewhat above what these models measured.
KL_CACHE = {"f16": 2e-6, "q8": 1e-3}
# q8 rounds activations too, to 8 bits in groups; llama.cpp comes to 2e-3 with Q8_0. q4 suffers on random weights,
# which no training has made redundant: the real model's perplexity is measured in bench/perplexity.py.
KL_QUANT = {"f16": 1e-5, "q8": 6e-3, "q4": 0.3}
# Weights as the file has them, so only activations are rounded. The models whose blocks are drawn at random have
# flatter logits than those that were quantized, and lose less.
KL_QUANTIZED, KL_DRAWN = 4e-3, 1e-3


@dataclass
class Made:
    """A model as a file, and the same model as the oracle."""

    path: Path
    model: Any

    def truth(self, tokens: list[int]) -> np.ndarray:
        """What comes after tokens[: i + 1], for every i but the last."""
        with torch.no_grad():
            logits = self.model(torch.tensor([tokens])).logits[0, :-1]
        return logits.double().log_softmax(-1).numpy()


def random_tokens(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng((length, seed)).integers(1, tiny_models.VOCABULARY, length).tolist()


def divergence(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean over places of KL(truth, found), in nats."""
    return float((np.exp(truth) * (truth - found)).sum(axis=1).mean())


@pytest.fixture(scope="module", params=tiny_models.TINY_MODELS, ids=lambda spec: spec.name)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp(request.param.name)
    return Made(path, tiny_models.save(request.param, path))


@pytest.fixture(scope="module")
def engine(folder: Made) -> Any:
    with_float_cache = asking.load(folder.path, quant="none", kv_type="f32")
    yield with_float_cache
    with_float_cache.close()


def test_log_probabilities_are_those_of_transformers(folder: Made, engine: Any):
    for length in LENGTHS:
        tokens = random_tokens(length + 1)
        found = asking.distributions(engine, tokens, tiny_models.VOCABULARY)
        assert np.abs(found - folder.truth(tokens)).max() <= EXACT, f"length {length}"


def test_decoding_continues_as_transformers_would(folder: Made, engine: Any):
    prompts = [random_tokens(length) for length in LENGTHS]
    for prompt, found in zip(prompts, asking.answers(engine, [asking.greedy(one, 24) for one in prompts]), strict=True):
        tokens = [token["id"] for token in found]
        truth = folder.truth(prompt + tokens)[len(prompt) - 1 :]
        given = truth[np.arange(len(tokens)), tokens]
        # Greedy: the oracle, reading the same text, prefers no other token by more than both may be off.
        assert len(tokens) == 24
        assert (truth.max(axis=1) - given).max() <= 2 * EXACT
        assert np.abs([token["logprob"] for token in found] - given).max() <= EXACT


@pytest.mark.parametrize("kv_type", ["f16", "q8"])
def test_smaller_caches_stay_close(folder: Made, kv_type: str):
    tokens = random_tokens(101)
    engine = asking.load(folder.path, quant="none", kv_type=kv_type)
    found = asking.distributions(engine, tokens, tiny_models.VOCABULARY)
    engine.close()
    assert divergence(folder.truth(tokens), found) <= KL_CACHE[kv_type]


@pytest.mark.parametrize("quant", KL_QUANT)
def test_quantizing_on_load_stays_close(folder: Made, quant: str):
    tokens = random_tokens(101)
    engine = asking.load(folder.path, quant=quant, kv_type="f32")
    found = asking.distributions(engine, tokens, tiny_models.VOCABULARY)
    engine.close()
    assert divergence(folder.truth(tokens), found) <= KL_QUANT[quant]


F8 = torch.float8_e4m3fn


def test_f8_weights_are_those_of_torch(tmp_path: Path):
    """And to the bit what the same values give in f16."""
    spec = tiny_models.TinyModel("llama", "llama", tiny_models.shape(160, 4, 2, 320))
    model = tiny_models.save(spec, tmp_path / "f8")
    shutil.copytree(tmp_path / "f8", tmp_path / "f16")
    rounded = {name: values.to(F8) for name, values in load_file(tmp_path / "f8" / WEIGHTS).items()}
    save_file(rounded, tmp_path / "f8" / WEIGHTS)
    save_file({name: values.half() for name, values in rounded.items()}, tmp_path / "f16" / WEIGHTS)
    model.load_state_dict({name: values.float() for name, values in rounded.items()})
    tokens = random_tokens(101)
    found = {}
    for name in ("f8", "f16"):
        engine = asking.load(tmp_path / name, quant="none", kv_type="f32")
        found[name] = asking.distributions(engine, tokens, tiny_models.VOCABULARY)
        engine.close()
    assert np.abs(found["f8"] - Made(tmp_path / "f8", model).truth(tokens)).max() <= EXACT
    assert (found["f8"] == found["f16"]).all()


GGUF_KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", *gguf_layout.SCALES]
GGUF_MODELS = [
    tiny_models.TinyModel("llama", "llama", tiny_models.shape(256, 4, 2, 512)),
    tiny_models.TinyModel("qwen2", "qwen2", tiny_models.shape(256, 8, 1, 512, tie_word_embeddings=True)),
]


@pytest.mark.parametrize("spec", GGUF_MODELS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("kind", GGUF_KINDS)
def test_every_gguf_format(spec: tiny_models.TinyModel, kind: str, tmp_path: Path):
    made = Made(tmp_path / "model.gguf", tiny_gguf.save(spec, tmp_path / "model.gguf", kind))
    tokens = random_tokens(101)
    engine = asking.load(made.path, kv_type="f32")
    found = asking.distributions(engine, tokens, tiny_models.VOCABULARY)
    engine.close()
    truth = made.truth(tokens)
    if kind in ("F32", "F16", "BF16"):
        assert np.abs(found - truth).max() <= EXACT
    else:
        assert divergence(truth, found) <= (KL_DRAWN if kind in gguf_layout.SCALES else KL_QUANTIZED)


@pytest.mark.parametrize(
    "spec", [one for one in tiny_models.TINY_MODELS if one.shard is None], ids=lambda spec: spec.name
)
def test_gguf_holds_every_shape(spec: tiny_models.TinyModel, tmp_path: Path):
    made = Made(tmp_path / "model.gguf", tiny_gguf.save(spec, tmp_path / "model.gguf", "F32"))
    tokens = random_tokens(101)
    engine = asking.load(made.path, kv_type="f32")
    found = asking.distributions(engine, tokens, tiny_models.VOCABULARY)
    engine.close()
    assert np.abs(found - made.truth(tokens)).max() <= EXACT
