"""LoRA adapters against `peft` on `transformers` in float32: settings, number formats, bases, blends and aLoRA."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asking
import numpy as np
import own_grids
import peft
import pytest
import test_logits
import tiny_adapters
import tiny_gguf
import tiny_models
import torch
from tiny_adapters import PLAIN, TINY_ADAPTERS, TinyAdapter

from synapse_engine import AdapterError, FormatError

LENGTHS = [1, 17, 50]
# Logits spread over a few units.
EXACT = 5e-4
# A wrong adapter, or none, is further from the truth than this, in nats; bounds of rounding are far below.
DIFFERENT = 0.02
BASES = [
    tiny_models.TinyModel("qwen2", "qwen2", tiny_models.shape(112, 7, 1, 160, tie_word_embeddings=True)),
    tiny_models.TinyModel("llama", "llama", tiny_models.shape(100, 5, 1, 172, head_dim=20)),
]


@dataclass
class Made:
    """A base in a file, and with its adapters as the oracle; `adapters` are folders."""

    path: Path
    oracle: peft.PeftModel
    adapters: Path

    def truth(self, tokens: list[int], name: str | None) -> np.ndarray:
        """What comes after tokens[: i + 1], for every i but the last, with an adapter or without one."""
        if name is None:
            with self.oracle.disable_adapter():
                return self._logs(tokens)
        self.oracle.set_adapter(name)
        return self._logs(tokens)

    def _logs(self, tokens: list[int]) -> np.ndarray:
        with torch.no_grad():
            logits = self.oracle(torch.tensor([tokens])).logits[0, :-1]
        return logits.double().log_softmax(-1).numpy()


def distributions(engine: Any, tokens: list[int], *names: str) -> np.ndarray:
    return asking.distributions(engine, tokens, tiny_models.VOCABULARY, [(name, 1.0) for name in names])


@pytest.fixture(scope="module", params=BASES, ids=lambda spec: spec.name)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp(request.param.name)
    model = tiny_models.save(request.param, path / "base")
    return Made(path / "base", tiny_adapters.attach(model, TINY_ADAPTERS, path), path)


@pytest.fixture(scope="module")
def engine(made: Made) -> Any:
    with_adapters = asking.load(made.path, quant="none", kv_type="f32")
    for adapter in TINY_ADAPTERS:
        with_adapters.load_adapter(adapter.name, str(made.adapters / adapter.name))
    yield with_adapters
    with_adapters.close()


@pytest.mark.parametrize("adapter", TINY_ADAPTERS, ids=lambda adapter: adapter.name)
def test_log_probabilities_are_those_of_peft(made: Made, engine: Any, adapter: TinyAdapter):
    for length in LENGTHS:
        tokens = test_logits.random_tokens(length + 1)
        truth = made.truth(tokens, adapter.name)
        found = distributions(engine, tokens, adapter.name)
        assert np.abs(found - truth).max() <= EXACT, f"length {length}"
    assert test_logits.divergence(truth, made.truth(tokens, None)) >= DIFFERENT / 4


def test_without_an_adapter_the_base_answers_to_the_bit(made: Made, engine: Any):
    tokens = test_logits.random_tokens(50)
    bare = asking.load(made.path, quant="none", kv_type="f32")
    assert (distributions(engine, tokens) == distributions(bare, tokens)).all()
    bare.close()
    assert np.abs(distributions(engine, tokens) - made.truth(tokens, None)).max() <= EXACT


def test_blends_are_those_of_peft(made: Made, engine: Any):
    tokens = test_logits.random_tokens(50)
    for weights in ([0.7, 0.4], [1.5, 0.25, 0.5]):
        names = ["plain", "stabilised", "one-layer"][: len(weights)]
        made.oracle.add_weighted_adapter(names, weights, "blend", combination_type="cat")
        truth = made.truth(tokens, "blend")
        made.oracle.delete_adapter("blend")
        blend = list(zip(names, weights, strict=True))
        found = asking.distributions(engine, tokens, tiny_models.VOCABULARY, blend)
        assert np.abs(found - truth).max() <= EXACT
    undone = [("plain", 1.0), ("stabilised", 0.5), ("plain", -1.0), ("stabilised", -0.5)]
    for nothing in ([("plain", 0.0)], undone):
        found = asking.distributions(engine, tokens, tiny_models.VOCABULARY, nothing)
        assert np.abs(found - made.truth(tokens, None)).max() <= EXACT


def test_company_with_other_adapters_changes_nothing(engine: Any):
    blends: list[Any] = [[], [("plain", 1.0)], [("patterns", 0.5), ("saved-as-f16", 1.0)], [("one-layer", -1.0)]]
    lengths = [1, 17, 40, 40]
    requests = [
        asking.greedy(test_logits.random_tokens(length), 20, 5, blend)
        for length, blend in zip(lengths, blends, strict=True)
    ]
    together = asking.answers(engine, requests)
    assert together == [answer for request in requests for answer in asking.answers(engine, [request])]
    assert len({tuple(token["id"] for token in answer) for answer in together}) == len(requests)


QUANTIZED = [
    tiny_models.TinyModel("qwen2", "qwen2", tiny_models.shape(256, 8, 1, 256, tie_word_embeddings=True)),
    tiny_models.TinyModel("llama", "llama", tiny_models.shape(256, 4, 2, 256)),
]
KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", *test_logits.gguf_layout.SCALES]


STRONG = TinyAdapter("strong", {**PLAIN, "lora_alpha": 32})


@pytest.mark.parametrize("spec", QUANTIZED, ids=lambda spec: spec.name)
@pytest.mark.parametrize("kind", KINDS)
def test_every_gguf_base_with_an_exact_adapter(spec: tiny_models.TinyModel, kind: str, tmp_path: Path):
    model = tiny_gguf.save(spec, tmp_path / "base.gguf", kind)
    made = Made(tmp_path / "base.gguf", tiny_adapters.attach(model, [STRONG], tmp_path), tmp_path)
    drawn = kind in test_logits.gguf_layout.SCALES
    rounded = test_logits.KL_DRAWN if drawn else test_logits.KL_QUANTIZED
    check_base(made, None if kind in ("F32", "F16", "BF16") else rounded)


@pytest.mark.parametrize("spec", QUANTIZED, ids=lambda spec: spec.name)
@pytest.mark.parametrize("quant", ["f16", "q8", "q4"])
def test_every_own_format_with_an_exact_adapter(spec: tiny_models.TinyModel, quant: str, tmp_path: Path):
    model = tiny_models.build(spec)
    own_grids.snap(model, quant)
    tiny_models.write(model, tmp_path / "base")
    made = Made(tmp_path / "base", tiny_adapters.attach(model, [STRONG], tmp_path), tmp_path)
    # The weights are what the format holds, so that only activations are rounded; at f16 not even they.
    check_base(made, None if quant == "f16" else test_logits.KL_DRAWN, quant=quant)


def check_base(made: Made, bound: float | None, **options: Any) -> None:
    """Base and adapter are as near to the truth as the base's format allows (None: exactly)."""
    tokens = test_logits.random_tokens(101)
    engine = asking.load(made.path, kv_type="f32", **options)
    engine.load_adapter("strong", str(made.adapters / "strong"))
    truths = made.truth(tokens, None), made.truth(tokens, "strong")
    founds = distributions(engine, tokens), distributions(engine, tokens, "strong")
    engine.close()
    assert test_logits.divergence(truths[1], truths[0]) >= 100 * (bound or EXACT)
    for truth, found in zip(truths, founds, strict=True):
        if bound is None:
            assert np.abs(found - truth).max() <= EXACT
        else:
            assert test_logits.divergence(truth, found) <= bound


@pytest.mark.parametrize("spec", QUANTIZED, ids=lambda spec: spec.name)
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_a_gguf_adapter_is_the_peft_folder_it_was_made_of(spec: tiny_models.TinyModel, kind: str, tmp_path: Path):
    model = tiny_models.save(spec, tmp_path / "base")
    oracle = tiny_adapters.attach(model, TINY_ADAPTERS[:1], tmp_path)
    tiny_adapters.save_gguf(oracle, TINY_ADAPTERS[0], tmp_path / "adapter.gguf", kind)
    made = Made(tmp_path / "base", oracle, tmp_path)
    engine = asking.load(made.path, quant="none", kv_type="f32")
    assert engine.load_adapter("peft", str(tmp_path / "plain"))["format"] == "peft"
    listed = engine.load_adapter("gguf", str(tmp_path / "adapter.gguf"))
    assert (listed["format"], listed["rank"], listed["modules"]) == ("gguf", 4, 14)
    tokens = test_logits.random_tokens(50)
    folder, file = distributions(engine, tokens, "peft"), distributions(engine, tokens, "gguf")
    engine.close()
    # The writer has put what the file holds back into the oracle.
    assert np.abs(file - made.truth(tokens, "plain")).max() <= EXACT
    assert kind != "F32" or (folder == file).all()


MARKER = [7, 300, 7]


@pytest.fixture(scope="module", params=["peft", "gguf"])
def activated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("activated")
    adapter = TinyAdapter("activated", {**PLAIN, "alora_invocation_tokens": MARKER, "task_type": "CAUSAL_LM"})
    oracle = tiny_adapters.attach(tiny_models.save(QUANTIZED[1], path / "base"), [adapter], path)
    engine = asking.load(path / "base", quant="none", kv_type="f32", prefix_cache=True)
    if request.param == "gguf":
        tiny_adapters.save_gguf(oracle, adapter, path / "adapter.gguf", "F32", MARKER)
    found = engine.load_adapter("activated", str(path / ("adapter.gguf" if request.param == "gguf" else "activated")))
    assert found["invocation_tokens"] == MARKER
    yield Made(path / "base", oracle, path), engine
    engine.close()


def test_an_activated_adapter_counts_from_its_marker_on(activated: tuple[Made, Any]):
    made, engine = activated
    rest = [token for token in test_logits.random_tokens(60) if token not in MARKER]
    texts = [
        [*rest[:20], *MARKER, *rest[20:]],
        [*rest[:5], *MARKER, *rest[5:30], *MARKER, *rest[30:]],
        [*MARKER, *rest],
        [*rest, *MARKER],
    ]
    for tokens in texts:
        truth = made.truth(tokens, "activated")
        assert np.abs(distributions(engine, tokens, "activated") - truth).max() <= EXACT
    assert test_logits.divergence(made.truth(texts[0], "activated"), made.truth(texts[0], None)) >= DIFFERENT


def test_an_activated_adapter_without_its_marker_is_the_base(activated: tuple[Made, Any]):
    made, engine = activated
    tokens = [token for token in test_logits.random_tokens(60) if token not in MARKER]
    assert (distributions(engine, tokens, "activated") == distributions(engine, tokens)).all()
    assert (made.truth(tokens, "activated") == made.truth(tokens, None)).all()


def test_an_activated_adapter_goes_on_as_peft_would(activated: tuple[Made, Any]):
    made, engine = activated
    prompt = [*[token for token in test_logits.random_tokens(40) if token not in MARKER], *MARKER]
    [found] = asking.answers(engine, [asking.greedy(prompt, 16, adapters=[("activated", 1.0)])])
    tokens = [token["id"] for token in found]
    truth = made.truth(prompt + tokens, "activated")[len(prompt) - 1 :]
    given = truth[np.arange(len(tokens)), tokens]
    assert (truth.max(axis=1) - given).max() <= 2 * EXACT
    assert np.abs([token["logprob"] for token in found] - given).max() <= EXACT


def test_switching_between_the_base_and_an_activated_adapter_reads_nothing_again(activated: tuple[Made, Any]):
    _, engine = activated
    shared = [token for token in test_logits.random_tokens(170, seed=1) if token not in MARKER][:160]
    asking.usage(engine, asking.greedy(shared, 1))
    for _ in range(2):
        used = asking.usage(engine, asking.greedy([*shared, *MARKER], 1, adapters=[("activated", 1.0)]))
        assert used["cached_tokens"] == len(shared)
        assert asking.usage(engine, asking.greedy([*shared, 9], 1))["cached_tokens"] == len(shared)


REFUSED = {
    "use_dora": {**PLAIN, "use_dora": True},
    "lora_bias": {**PLAIN, "lora_bias": True},
    "bias": {**PLAIN, "bias": "lora_only"},
    "modules_to_save": {**PLAIN, "modules_to_save": ["lm_head"]},
    "lm_head": {**PLAIN, "target_modules": ["q_proj", "lm_head"]},
    "embed_tokens": {**PLAIN, "target_modules": ["q_proj", "embed_tokens"]},
    "trainable_token_indices": {**PLAIN, "trainable_token_indices": [1, 2]},
    "layer_replication": {**PLAIN, "layer_replication": [[0, 2], [1, 2]]},
    "init_lora_weights": {**PLAIN, "init_lora_weights": "pissa"},
}
OTHER_KINDS = {
    "IA3": peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "PREFIX_TUNING": peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    "LOHA": peft.LoHaConfig(target_modules=["k_proj"]),
    "VERA": peft.VeraConfig(target_modules=["k_proj"]),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("base")
    tiny_models.save(QUANTIZED[1], path)
    engine = asking.load(path, quant="none")
    yield engine
    engine.close()


@pytest.mark.parametrize("name", [*REFUSED, *OTHER_KINDS])
def test_what_peft_can_do_beside_is_refused_by_name(base: Any, name: str, tmp_path: Path):
    config = OTHER_KINDS.get(name) or peft.LoraConfig(**REFUSED[name])
    peft.get_peft_model(tiny_models.build(QUANTIZED[1]), config).save_pretrained(str(tmp_path))
    with pytest.raises(AdapterError, match=name) as caught:
        base.load_adapter("refused", str(tmp_path))
    assert caught.value.hint
    assert base.adapters() == []


def test_an_adapter_of_another_base_is_refused_by_module(base: Any, tmp_path: Path):
    tiny_adapters.attach(tiny_models.build(BASES[1]), TINY_ADAPTERS[:1], tmp_path)
    with pytest.raises(AdapterError, match=r"model\.layers\.0.*100 .*in the adapter"):
        base.load_adapter("other", str(tmp_path / "plain"))
    deeper = tiny_models.TinyModel("deep", "llama", {**QUANTIZED[1].settings, "num_hidden_layers": 3})
    tiny_adapters.attach(tiny_models.build(deeper), TINY_ADAPTERS[:1], tmp_path / "deep")
    with pytest.raises(AdapterError, match=r"model\.layers\.2\.mlp\.down_proj"):
        base.load_adapter("other", str(tmp_path / "deep" / "plain"))


def test_half_an_adapter_is_a_damaged_file(base: Any, tmp_path: Path):
    tiny_adapters.attach(tiny_models.build(QUANTIZED[1]), TINY_ADAPTERS[:1], tmp_path)
    weights = tmp_path / "plain" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"adapter_model\.safetensors"):
        base.load_adapter("half", str(tmp_path / "plain"))
