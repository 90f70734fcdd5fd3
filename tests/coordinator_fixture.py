"""A coordinator with random weights, as small as the format allows, for tests that need one but not a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from synapse_engine.train.coordinator.export import Calibration, write_coordinator
from synapse_engine.train.coordinator.grams import Grams
from synapse_engine.train.coordinator.model import FAMILIES, Coordinator, Kin
from synapse_engine.train.coordinator.reading import WINDOW
from synapse_engine.train.coordinator.vocabulary import learn_vocabulary
from synapse_engine.train.symbio_config import SymbioConfig

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("Write a poem about 3 cats", "¿Cómo se dice «hola» en inglés?", "SELECT name FROM users;", "what is 2 + 2?")


def tiny_coordinator(folder: Path, *, seed: int = 0) -> Path:
    """Writes one into ``folder`` and returns it; a seed always gives the same."""
    torch.manual_seed(seed)
    tokenizer = learn_vocabulary(TEXTS * 5, TEXTS, 320, 300)
    config = SymbioConfig(
        hidden_size=32,
        intermediate_size=64,
        organelles=(("causal_conv", "long_conv"), ("causal_conv", "attention")),
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=WINDOW,
        num_attention_heads=2,
        head_dim=16,
    )
    model = Coordinator(config)
    torch.nn.init.normal_(model.encoder.tok_emb.weight)
    torch.nn.init.normal_(model.telling)
    torch.nn.init.normal_(model.query, std=0.5)
    with torch.no_grad():
        model.comparison.kin_scale.fill_(0.3)
    model.kin = Kin(Grams(tokenizer), torch.randn(512, FAMILIES))
    write_coordinator(folder, model, tokenizer, Calibration(1.5, 0.4, {"seed": seed}), "# test\n", torch.float32)
    return folder
