"""Adapters: what they add, what PEFT would read, what is left of them after compression."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from synapse_engine.evolve.adapter import (
    Factors,
    attach,
    compress,
    detach,
    merge,
    parameter_count,
    save_peft,
    target_pool,
)
from synapse_engine.evolve.genome import Genome
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig

IDS = torch.arange(12).reshape(1, 12)


def model(width: int = 16) -> SymbioModel:
    torch.manual_seed(0)
    names = ("causal_conv", "attention")
    shape = SymbioConfig(width, 24, (names,) * 2, vocab_size=30, num_attention_heads=2, head_dim=4)
    return SymbioModel(shape).eval()


def changed(base: SymbioModel, genome: Genome) -> dict[str, Factors]:
    learned = attach(base, genome)
    with torch.no_grad():
        for parameter in learned:
            parameter.copy_(torch.randn_like(parameter))
    return detach(base)


def test_published_counts() -> None:
    """Rank 16 on w1 and w2 of six blocks of 256 and 640, and rank 8 on all of eight blocks of 320 and 832."""
    expert = SymbioModel(SymbioConfig(256, 640, (("causal_conv", "monarch", "long_conv"),) * 6))
    attach(expert, Genome(16, ("w1", "w2")))
    assert parameter_count(detach(expert)) == 172_032
    names = ("causal_conv", "monarch", "long_conv", "attention")
    large = SymbioModel(SymbioConfig(320, 832, (names,) * 8, num_attention_heads=5, head_dim=64))
    assert target_pool(large) == ["v", "w1", "w2", "wk", "wo", "wq", "wv"]
    attach(large, Genome(8, tuple(target_pool(large))))
    assert parameter_count(detach(large)) == 385_024


def test_only_the_adapter_learns_and_it_starts_as_nothing() -> None:
    base = model()
    before = base(IDS)
    learned = attach(base, Genome(4, ("v", "wq")))
    assert torch.equal(base(IDS), before)
    assert {id(p) for p in base.parameters() if p.requires_grad} == {id(p) for p in learned}
    assert len(learned) == 2 * 2 * 2
    names = [name for name in base.state_dict() if not name.endswith(("lora_A", "lora_B"))]
    detach(base)
    assert len(names) == len(base.state_dict())
    assert torch.equal(base(IDS), before)


def test_merging_gives_what_the_adapter_gave() -> None:
    base, plain = model(), model()
    learned = attach(base, Genome(4, ("w1", "wo")))
    with torch.no_grad():
        for parameter in learned:
            parameter.copy_(torch.randn_like(parameter))
    wanted = base(IDS)
    merge(plain, detach(base))
    torch.testing.assert_close(plain(IDS), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model()(IDS), wanted, atol=1e-2)


def test_the_scale_is_alpha_by_rank() -> None:
    factors = changed(model(), Genome(5, ("w2",)))
    change = factors["blocks.1.ffn.w2"]
    torch.testing.assert_close(change.delta(), 2.0 * change.b @ change.a)


def test_peft_format(tmp_path: Path) -> None:
    factors = changed(model(), Genome(6, ("v", "w1")))
    head = {"classifier.weight": torch.ones(2, 16), "classifier.bias": torch.zeros(2)}
    save_peft(tmp_path, factors, {"task_type": "SEQ_CLS"}, head)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert (config["r"], config["lora_alpha"], config["use_rslora"]) == (6, 12, False)
    assert config["target_modules"] == ["v", "w1"]
    assert (tmp_path / "adapter_model.safetensors").stat().st_mode & 0o777 == 0o644
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * 2 + 2
    for name, change in factors.items():
        assert torch.equal(tensors[f"base_model.model.{name}.lora_A.weight"], change.a)
        assert torch.equal(tensors[f"base_model.model.{name}.lora_B.weight"], change.b)
    assert torch.equal(tensors["base_model.model.classifier.weight"], head["classifier.weight"])


def test_compression_is_the_best_of_its_rank() -> None:
    factors = changed(model(), Genome(8, ("w1", "w2")))
    whole = compress(factors, 1.0)
    half = compress(factors, 0.5)
    for name, change in factors.items():
        torch.testing.assert_close(whole[name].delta(), change.delta(), rtol=1e-3, atol=1e-3)
        assert half[name].a.shape[0] == half[name].b.shape[1] == 4
        left_over = torch.linalg.matrix_norm(change.delta() - half[name].delta())
        smallest = torch.linalg.svdvals(change.delta())[4:8]
        assert left_over.item() == pytest.approx(smallest.square().sum().sqrt().item(), rel=1e-3)
    assert parameter_count(half) == parameter_count(factors) / 2


def test_compression_counts_only_effective_ranks() -> None:
    a, b = torch.eye(4, 9), torch.eye(7, 4)
    scaled = b * torch.tensor([1.0, 0.5, 0.02, 0.009])  # the last is below a hundredth of the first
    assert compress({"x": Factors(a, scaled, 1.0)}, 1.0)["x"].a.shape == (3, 9)
