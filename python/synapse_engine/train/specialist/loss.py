"""What a model with an adapter pays for the answers in packed rows. Changes nothing."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from synapse_engine.train.specialist.packing import Rows


def token_losses(model: Any, rows: Rows) -> Tensor:
    """Negative log-likelihood of every learned token given its conversation so far, row by row, (learned tokens).

    Equal to what each conversation costs alone: nothing is attended across conversations, and positions start anew.
    The output head sees only the places before learned tokens, which saves most of its work.
    """
    causal = model.get_base_model()
    hidden = causal.base_model(
        input_ids=rows.tokens, attention_mask=rows.mask(), position_ids=rows.positions, use_cache=False
    ).last_hidden_state
    chosen = rows.learned[:, 1:]
    logits = causal.get_output_embeddings()(hidden[:, :-1][chosen])
    return functional.cross_entropy(logits.float(), rows.tokens[:, 1:][chosen], reduction="none")


def conversation_losses(model: Any, parts: Iterable[Rows], count: int) -> Tensor:
    """Mean loss of each conversation's answers, (count)."""
    sums, tokens = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    with torch.inference_mode():
        for rows in parts:
            losses = token_losses(model, rows).double().cpu()
            owners = rows.conversations[:, 1:][rows.learned[:, 1:]].cpu()
            sums.index_add_(0, owners, losses)
            tokens.index_add_(0, owners, torch.ones_like(losses))
    return sums / tokens


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Products in ``precision``; what learns stays f32."""
    return nullcontext() if precision == "f32" else torch.autocast(device.type, torch.bfloat16)
