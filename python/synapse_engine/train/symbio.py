"""The organelle model in PyTorch, with the parameter names of the published checkpoints. Knows no data and no training.

A block is ``x + s1 * Mixer(RMSNorm(x))`` and then ``x + s2 * SwiGLU(RMSNorm(x))``. The mixer adds up its organelles,
weighted by their gate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from synapse_engine.train.mixing import apply_matrix, causal_convolution, monarch_matrix
from synapse_engine.train.organelles import (
    Attention,
    CausalConv,
    LongConv,
    MonarchHead,
    SigmoidGate,
    SoftmaxGate,
    rotary_angles,
)
from synapse_engine.train.symbio_config import RMS_NORM_EPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from synapse_engine.train.symbio_config import SymbioConfig

# What published checkpoints hold beside parameters, and what follows from the configuration.
_DERIVED = ("rope.cos_cache", "rope.sin_cache", "monarch_causal_mask")


class RMSNorm(nn.Module):
    """``weight * x / sqrt(mean(x^2) + eps)`` in 32 bits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that ends in the width."""
        return functional.rms_norm(x.float(), x.shape[-1:], self.weight, RMS_NORM_EPS)


class SwiGLU(nn.Module):
    """``w2(silu(w1 x) * v x)``, without biases."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, inner, bias=False)
        self.v = nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, width) to the same."""
        result: Tensor = self.w2(functional.silu(self.w1(x)) * self.v(x))
        return result


class SequenceMixer(nn.Module):
    """The organelles of a block and their gate."""

    def __init__(self, config: SymbioConfig, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names, self.layout, self.heads = names, config.monarch_layout, config.monarch_heads
        width, window = config.hidden_size, config.max_position_embeddings
        build: dict[str, Callable[[], nn.Module]] = {
            "causal_conv": lambda: CausalConv(width, config.conv_kernel_size),
            "monarch": lambda: nn.ModuleList([MonarchHead(config.digit) for _ in range(config.monarch_heads)]),
            "long_conv": lambda: LongConv(width, window),
            "attention": lambda: Attention(config),
        }
        self.organelle_modules = nn.ModuleDict({name: build[name]() for name in names})
        self.gate: SoftmaxGate | SigmoidGate
        if config.gate == "sigmoid":
            self.gate = SigmoidGate(len(names), width)
        else:
            self.gate = SoftmaxGate(len(names), width, config.gate_temperature)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """(batch, time, width) to the same."""
        shares = dict(zip(self.names, self.gate(), strict=True))
        parts: list[Tensor] = []
        if self.names != ("attention",):
            parts.append(self._along_time(x.transpose(1, 2).contiguous(), shares).transpose(1, 2))
        if "attention" in self.names:
            parts.append(shares["attention"] * self.organelle_modules["attention"](x, rotary))
        return _total(parts)

    def _along_time(self, signal: Tensor, shares: dict[str, Tensor]) -> Tensor:
        """Convolutions are linear and the gate is constant, so that both kernels and their shares make one kernel."""
        parts: list[Tensor] = []
        kernel = self._kernel(shares, signal.shape[-1])
        if kernel is not None:
            parts.append(causal_convolution(signal, kernel))
        if "monarch" in shares:
            parts.append(shares["monarch"][:, None] * self._monarch(signal))
        return _total(parts)

    def _kernel(self, shares: dict[str, Tensor], time: int) -> Tensor | None:
        kernels = [
            shares[name][:, None] * convolution.lags()[:, :time]
            for name, convolution in self.organelle_modules.items()
            if isinstance(convolution, CausalConv | LongConv)
        ]
        longest = max((kernel.shape[1] for kernel in kernels), default=0)
        return (
            _total([functional.pad(kernel, (0, longest - kernel.shape[1])) for kernel in kernels]) if kernels else None
        )

    def _monarch(self, signal: Tensor) -> Tensor:
        heads = cast("list[MonarchHead]", self.organelle_modules["monarch"])
        parts = [
            apply_matrix(channels, monarch_matrix(head.L1, head.L2, self.layout))
            for head, channels in zip(heads, signal.chunk(self.heads, dim=1), strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _total(parts: list[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])


class Scale(nn.Module):
    """One learned factor for a whole branch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.scale * x


class Block(nn.Module):
    """Mixing along time, then along channels."""

    def __init__(self, config: SymbioConfig, names: tuple[str, ...]) -> None:
        super().__init__()
        self.ln1 = RMSNorm(config.hidden_size)
        self.seq_mixer = SequenceMixer(config, names)
        self.ln2 = RMSNorm(config.hidden_size)
        self.ffn = SwiGLU(config.hidden_size, config.intermediate_size)
        self.skip1 = Scale() if config.skip_scales else nn.Identity()
        self.skip2 = Scale() if config.skip_scales else nn.Identity()

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """(batch, time, width) to the same."""
        x = x + self.skip1(self.seq_mixer(self.ln1(x), rotary))
        result: Tensor = x + self.skip2(self.ffn(self.ln2(x)))
        return result


class Junction(nn.Module):
    """From a donor's embedding to this model's width: ``silu(LayerNorm(W e))``."""

    def __init__(self, donor: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(donor, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, donor) to (batch, time, width)."""
        return functional.silu(self.norm(self.proj(x)))


class SymbioModel(nn.Module):
    """A language model of organelles; with a donor it lives between a frozen embedding and its transpose."""

    def __init__(self, config: SymbioConfig) -> None:
        super().__init__()
        self.config = config
        if config.donor_hidden_size is None:
            self.tok_emb = nn.Embedding(config.vocab_size, config.hidden_size)
        else:
            self.donor = nn.Embedding(config.vocab_size, config.donor_hidden_size)
            self.donor.weight.requires_grad_(False)
            self.junction = Junction(config.donor_hidden_size, config.hidden_size)
            self.out_proj = nn.Linear(config.hidden_size, config.donor_hidden_size, bias=False)
        self.blocks = nn.ModuleList(Block(config, names) for names in config.organelles)
        self.ln_f = RMSNorm(config.hidden_size)
        if config.has_attention:
            for name, table in zip(
                ("cos", "sin"), rotary_angles(config.max_position_embeddings, config.head_dim), strict=True
            ):
                self.register_buffer(name, table, persistent=False)
        self.apply(_initialise)

    def forward(self, ids: Tensor) -> Tensor:
        """Token numbers (batch, time) to logits (batch, time, vocabulary)."""
        return functional.linear(self.hidden(ids), self._embedding().weight)

    def hidden(self, ids: Tensor) -> Tensor:
        """What the tied head sees: (batch, time, width of the embedding)."""
        x = self.body(ids)
        return x if self.config.donor_hidden_size is None else self.out_proj(x)

    def body(self, ids: Tensor) -> Tensor:
        """The last norm's output, (batch, time, width)."""
        x: Tensor = self._embedding()(ids)
        if self.config.donor_hidden_size is not None:
            x = self.junction(x)
        rotary = (self.cos, self.sin) if self.config.has_attention else None
        for block in self.blocks:
            x = block(x, rotary)
        result: Tensor = self.ln_f(x)
        return result

    def gates(self) -> list[SoftmaxGate | SigmoidGate]:
        """The gate of each layer."""
        return [block.seq_mixer.gate for block in cast("list[Block]", self.blocks)]

    def _embedding(self) -> nn.Embedding:
        return self.tok_emb if self.config.donor_hidden_size is None else self.donor


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=math.sqrt(2 / (module.in_features + module.out_features)))
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


def clean_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the prefix of a compiled model and without tables that the configuration implies."""
    named = {name.removeprefix("_orig_mod."): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in named.items() if not name.endswith(_DERIVED)}
