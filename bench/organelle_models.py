"""The published shapes of organelle models, with random weights. Knows no engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from synapse_engine.train.symbio import SymbioModel, clean_state
from synapse_engine.train.symbio_config import SymbioConfig

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


def save_random(name: str, folder: Path) -> Path:
    """One of the published shapes."""
    return save(random_model(PUBLISHED[name][0]), folder)
