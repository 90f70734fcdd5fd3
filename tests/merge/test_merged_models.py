"""Whole merges against PEFT and against loops, in every number format; and what the engine makes of them."""

import json
from pathlib import Path
from typing import Any

import merge_models as models
import numpy as np
import pytest
import torch
from peft import PeftModel
from tests.oracle import asking, tiny_models
from transformers import AutoModelForCausalLM

from synapse_engine.merge import MergeRequest, merge, weights

EXACT = {"rtol": 0, "atol": 1e-6}


def run(base: Path, *sources: Path | tuple[Path, float], **settings: Any) -> dict[str, torch.Tensor]:
    weighted = tuple(source if isinstance(source, tuple) else (source, 1.0) for source in sources)
    merge(MergeRequest(base, weighted, base.parent / "merged", **{"method": "linear", "force": True, **settings}))
    return models.tensors(base.parent / "merged")


def check(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], **bounds: float) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        np.testing.assert_allclose(found[name].float(), tensor.float(), err_msg=name, **(bounds or EXACT))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and two adapters beside it."""
    place = tmp_path_factory.mktemp("llama")
    base = models.make_base(place / "base")
    models.make_adapter(place / "first", base, 1)
    models.make_adapter(place / "second", base, 2, r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"])
    models.make_fine_tuned(place / "tuned", base, 3)
    return base


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "patterns": {
        "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 7, "^model.layers.0.self_attn.v_proj": 1},
        "alpha_pattern": {"layers.0.mlp.down_proj": 11, ".*k_proj": 0.5},
    },
    "some": {"target_modules": r".*layers\.1.*(gate|up)_proj"},
    "one layer": {"layers_to_transform": [1]},
    "head": {"target_modules": ["lm_head", "v_proj"]},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_one_adapter_is_what_peft_merges(llama: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    adapter = models.make_adapter(tmp_path / "adapter", llama, **settings)
    wanted = models.by_peft(llama, adapter)
    check(run(llama, adapter), wanted)
    assert any(not torch.equal(tensor, wanted[name]) for name, tensor in models.tensors(llama).items())


def test_weighted_adapters_are_what_peft_adds_up(llama: Path) -> None:
    first, second = llama.parent / "first", llama.parent / "second"
    model: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), first, "first")
    model.load_adapter(second, "second")
    model.add_weighted_adapter(["first", "second"], [0.75, 0.5], "both", combination_type="cat")
    model.set_adapter("both")
    wanted = model.merge_and_unload().state_dict()
    check(run(llama, (first, 0.75), (second, 0.5)), wanted)


@pytest.mark.parametrize("over", ["model", "tensor"])
@pytest.mark.parametrize("block", [2000, 1 << 22])
def test_ties_is_that_of_a_loop(llama: Path, over: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BLOCK", block)
    sources = [llama.parent / name for name in ("first", "second", "tuned")]
    deltas = models.deltas_of(llama, sources)

    def slowly(names: list[str]) -> dict[str, torch.Tensor]:
        sizes = [sum(each[name].numel() for name in names if name in each) for each in deltas]
        keep = [size - round(0.8 * size) for size in sizes]
        return models.merged_slowly(llama, names, deltas, lambda flat: 0.7 * models.ties_slowly(flat, keep))

    names = sorted(models.tensors(llama))
    together = [names] if over == "model" else [[name] for name in names]
    wanted = {name: tensor for part in together for name, tensor in slowly(part).items()}
    found = run(llama, *sources, method="ties", trim_over=over, strength=0.7)
    # A delta read off merged weights is rounded, so a few magnitudes at the edge change places.
    wrong = sum(int((~torch.isclose(found[n], t, rtol=0, atol=1e-6)).sum()) for n, t in wanted.items())
    assert wrong <= 1e-4 * sum(t.numel() for t in wanted.values())


@pytest.mark.parametrize("method", ["dare", "dare-ties"])
def test_dare_without_drops_is_its_method_without_trims(llama: Path, method: str) -> None:
    sources = [llama.parent / "first", llama.parent / "tuned"]
    other = {"dare": {"method": "linear"}, "dare-ties": {"method": "ties", "trim": 0.0}}[method]
    check(run(llama, *sources, method=method, drop=0.0), run(llama, *sources, **other))


def test_dare_is_the_same_again_and_another_with_another_seed(llama: Path) -> None:
    found = [run(llama, llama.parent / "tuned", method="dare", seed=seed) for seed in (1, 1, 2)]
    check(found[0], found[1], atol=0)
    assert any(not torch.equal(tensor, found[2][name]) for name, tensor in found[0].items())
    before = models.tensors(llama)["lm_head.weight"]
    moved = found[0]["lm_head.weight"] != before
    assert 0.05 < moved.float().mean() < 0.15
    tuned = models.tensors(llama.parent / "tuned")["lm_head.weight"]
    np.testing.assert_allclose((found[0]["lm_head.weight"] - before)[moved], 10 * (tuned - before)[moved], atol=1e-5)


@pytest.mark.parametrize("spec", [models.QWEN2, models.SHARDED, models.TIED], ids=["qwen2", "sharded", "tied"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_numbers_are_rounded_once(tmp_path: Path, spec: tiny_models.TinyModel, dtype: torch.dtype) -> None:
    base = models.make_base(tmp_path / "base", spec, dtype)
    adapter = models.make_adapter(tmp_path / "adapter", base)
    before, found, wanted = models.tensors(base), run(base, adapter), models.by_peft(base, adapter)
    assert {tensor.dtype for tensor in found.values()} == {dtype}
    for name, tensor in found.items():
        low, high = (wanted[name] - 2e-6).to(dtype), (wanted[name] + 2e-6).to(dtype)
        assert ((low <= tensor) & (tensor <= high)).all(), name
        if "_proj.weight" not in name:
            assert torch.equal(tensor, before[name]), name
    names = lambda folder: sorted(file.name for file in folder.glob("*.safetensors*"))  # noqa: E731
    assert names(base) == names(tmp_path / "merged")


def test_dtype_changes_every_tensor_and_the_settings(tmp_path: Path) -> None:
    base = models.make_base(tmp_path / "base", models.SHARDED)
    adapter = models.make_adapter(tmp_path / "adapter", base)
    found = run(base, adapter, dtype="bfloat16")
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 2 * sum(tensor.numel() for tensor in found.values())
    check(found, models.by_peft(base, adapter), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("spec", [models.LLAMA, models.SHARDED, models.TIED], ids=["llama", "qwen2", "tied"])
def test_the_engine_serves_the_merge(tmp_path: Path, spec: tiny_models.TinyModel) -> None:
    base = models.make_base(tmp_path / "base", spec)
    first, second = models.make_adapter(tmp_path / "a", base, 1), models.make_adapter(tmp_path / "b", base, 2)
    run(base, first, second, method="ties")
    truth = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokens = np.random.default_rng(0).integers(1, tiny_models.VOCABULARY, 40).tolist()
    with torch.no_grad():
        wanted = truth(torch.tensor([tokens])).logits[0, :-1].double().log_softmax(-1).numpy()
    engine = asking.load(tmp_path / "merged", quant="none", kv_type="f32")
    found = asking.distributions(engine, tokens, tiny_models.VOCABULARY)
    engine.close()
    assert np.abs(found - wanted).max() <= 2e-4


def test_everything_a_model_needs_goes_along(llama: Path) -> None:
    (llama / "chat_template.jinja").write_text("{{ messages }}")
    (llama / "generation_config.json").write_text('{"temperature": 0.7}')
    (llama / "private.txt").write_text("no part of the model")
    run(llama, llama.parent / "first", (llama.parent / "second", 0.5), method="ties")
    merged = llama.parent / "merged"
    expected = {"config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"}
    assert {file.name for file in merged.iterdir()} == expected | {"model.safetensors", "README.md"}
    for name in expected - {"config.json"}:
        assert (merged / name).read_bytes() == (llama / name).read_bytes()
    assert json.loads((merged / "config.json").read_text()) == json.loads((llama / "config.json").read_text())
    card = (merged / "README.md").read_text()
    assert "| second | 0.5 | LoRA, 4 modules, rank 3, scale 1.66667 |" in card
    assert "| Trim | 0.8 of each source |" in card
    assert str(llama.parent) not in card


def test_memory_is_that_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 MB of weights no more than a few blocks are in memory at a time."""
    import tracemalloc

    base = models.make_base(tmp_path / "base", tiny_models.TinyModel("big", "llama", tiny_models.shape(256, 4, 2, 512)))
    tuned = models.make_fine_tuned(tmp_path / "tuned", base)
    monkeypatch.setattr(weights, "BLOCK", 1 << 13)
    tracemalloc.start()
    run(base, tuned, tuned, method="ties")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5e6 < (base / "model.safetensors").stat().st_size / 2
