"""Random matrices that this engine's own formats hold exactly, so that an oracle knows a quantized model's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP = 32
# Codes of 4 bits: 255 steps of the row's unit apart, the minimum 1920 units (120 of its own steps) below zero.
Q4_STEP, Q4_MINIMUM = 255, 1920


def snap(model: PreTrainedModel, quant: str, seed: int = 4200) -> None:
    """Gives every matrix (rows of whole groups) values that ``quant`` (f16, q8, q4) stores as they are."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    shared = config.num_key_value_heads < config.num_attention_heads
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if quant == "f16":
                parameter.copy_(parameter.half())
            elif parameter.dim() == 2:
                # q4 has 6 bits for what is looked up, and for values that several heads share.
                six = "embed_tokens" in name or "lm_head" in name or (shared and "v_proj" in name)
                bits = 8 if quant == "q8" else 6 if six else 4
                units = grid(bits, tuple(parameter.shape), generator)
                # A power of two, so that products with whole numbers are exact.
                spread = torch.log2(parameter.std() / units.std()).round()
                parameter.copy_(units * torch.exp2(spread))


def grid(bits: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Random values on a format's grid, in its smallest units; both ends in each group: no narrower one fits."""
    low, high = {8: (-127, 127), 6: (-31, 31), 4: (0, 15)}[bits]
    codes = torch.randint(low, high + 1, (shape[0], shape[1] // GROUP, GROUP), generator=generator)
    codes[..., 0], codes[..., -1] = low, high
    codes = codes.reshape(shape).float()
    return codes * Q4_STEP - Q4_MINIMUM if bits == 4 else codes
