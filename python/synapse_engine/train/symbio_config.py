"""The shape of an organelle model, as its ``config.json`` says it. Knows no tensors and needs no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from synapse_engine.train.errors import ConfigError

ORGANELLES = ("causal_conv", "monarch", "long_conv", "attention")
RMS_NORM_EPS = 1e-6
ROPE_THETA = 10000.0


def feed_forward_size(hidden_size: int, multiple: int = 4) -> int:
    """The family's rule: two thirds of ``multiple`` times the width, rounded down to 64, at least 64."""
    return max(64, 2 * hidden_size * multiple // 3 // 64 * 64)


@dataclass(frozen=True)
class SymbioConfig:
    """One model. ``organelles`` holds a tuple of names for each layer; their order is that of the gate's rows."""

    hidden_size: int
    intermediate_size: int
    organelles: tuple[tuple[str, ...], ...]
    vocab_size: int = 2000
    max_position_embeddings: int = 256
    conv_kernel_size: int = 4
    monarch_heads: int = 1
    monarch_layout: str = "torch"  # or "julia": how L1 and L2 spread over the matrix
    num_attention_heads: int = 0
    head_dim: int = 0
    gate: str = "softmax"  # or "sigmoid": one gate for the sum of all organelles
    gate_temperature: bool = False
    skip_scales: bool = False
    donor_hidden_size: int | None = None  # width of a frozen embedding from another model

    def __post_init__(self) -> None:
        for layer in self.organelles:
            self._check_layer(layer)
        if self.monarch_layout not in ("torch", "julia"):
            raise ConfigError(f"monarch_layout: expected torch or julia, found {self.monarch_layout!r}")
        if self.gate not in ("softmax", "sigmoid"):
            raise ConfigError(f"gate: expected softmax or sigmoid, found {self.gate!r}")
        if self.gate == "sigmoid" and self.gate_temperature:
            raise ConfigError("a sigmoid gate has no temperature")

    def _check_layer(self, layer: tuple[str, ...]) -> None:
        unknown = [name for name in layer if name not in ORGANELLES]
        if unknown or not layer or len(set(layer)) != len(layer):
            found = ", ".join(layer) or "none"
            raise ConfigError(f"organelles: expected one or more of {', '.join(ORGANELLES)}, found {found}")
        if "monarch" in layer:
            if self.digit**2 != self.max_position_embeddings:
                raise ConfigError(f"a Monarch matrix needs a square window, found {self.max_position_embeddings}")
            if self.hidden_size % self.monarch_heads:
                raise ConfigError(f"{self.monarch_heads} Monarch heads do not divide a width of {self.hidden_size}")
        if "attention" in layer and not (self.num_attention_heads and self.head_dim and self.head_dim % 2 == 0):
            raise ConfigError("attention needs a number of heads and an even head size")

    def check_for_engine(self) -> None:
        """Raises ConfigError for a shape that PyTorch can train but the engine cannot run."""
        width, window = self.hidden_size, self.max_position_embeddings
        named = {name for layer in self.organelles for name in layer}
        found = None
        if width % 16:
            found = f"a width of {width} is no multiple of 16"
        elif "monarch" in named and window != 256:
            found = f"a window of {window} with Monarch matrices; expected 256"
        elif "monarch" in named and width % (16 * self.monarch_heads):
            found = f"{self.monarch_heads} Monarch heads of {width} channels; expected multiples of 16 for each"
        elif "causal_conv" in named and window < self.conv_kernel_size:
            found = f"a window of {window} is shorter than the convolution, {self.conv_kernel_size}"
        if found:
            raise ConfigError(f"{found}: the engine does not run such a model", "synapse train symbio --help")

    @property
    def num_hidden_layers(self) -> int:
        """Blocks in the model."""
        return len(self.organelles)

    @property
    def digit(self) -> int:
        """Side of a Monarch block: the square root of the window."""
        return math.isqrt(self.max_position_embeddings)

    @property
    def has_attention(self) -> bool:
        """Whether any layer attends."""
        return any("attention" in layer for layer in self.organelles)

    def layer_parameters(self, layer: tuple[str, ...]) -> int:
        """Numbers that one block learns."""
        width, window = self.hidden_size, self.max_position_embeddings
        of_organelle = {
            "causal_conv": self.conv_kernel_size * width,
            "monarch": self.monarch_heads * 2 * self.digit**3,
            "long_conv": window * width,
            "attention": 4 * width * self.num_attention_heads * self.head_dim,
        }
        gate = width if self.gate == "sigmoid" else len(layer) * width + self.gate_temperature
        ffn = 3 * width * self.intermediate_size
        return sum(of_organelle[name] for name in layer) + gate + ffn + 2 * width + 2 * self.skip_scales

    def parameters(self) -> int:
        """All numbers of the model; the tied head counts once, a donor's frozen embedding counts, too."""
        width = self.hidden_size
        blocks = sum(self.layer_parameters(layer) for layer in self.organelles)
        if self.donor_hidden_size is None:
            return blocks + self.vocab_size * width + width
        donor = self.donor_hidden_size
        return blocks + width + self.vocab_size * donor + (donor * width + 2 * width) + width * donor

    def to_json(self) -> dict[str, Any]:
        """The ``config.json`` of an exported model; see ``docs/organelles.md``."""
        same = len(set(self.organelles)) == 1
        record: dict[str, Any] = {
            "architectures": ["SymbioForCausalLM"],
            "model_type": "symbio",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": RMS_NORM_EPS,
            "tie_word_embeddings": True,
            "organelles": list(self.organelles[0]) if same else [list(layer) for layer in self.organelles],
            "conv_kernel_size": self.conv_kernel_size,
            "monarch_heads": self.monarch_heads,
            "monarch_layout": self.monarch_layout,
            "gate": self.gate,
            "gate_temperature": self.gate_temperature,
            "skip_scales": self.skip_scales,
        }
        if self.has_attention:
            record |= {
                "num_attention_heads": self.num_attention_heads,
                "head_dim": self.head_dim,
                "rope_theta": ROPE_THETA,
            }
        if self.donor_hidden_size is not None:
            record["donor_hidden_size"] = self.donor_hidden_size
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> SymbioConfig:
        """Reads what ``to_json`` wrote; keys of other tools are passed over."""
        try:
            named: list[Any] = record["organelles"]
            layers = named if isinstance(named[0], list) else [named] * record["num_hidden_layers"]
            fields = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
            return cls(**fields | {"organelles": tuple(tuple(layer) for layer in layers)})
        except (KeyError, TypeError, IndexError) as error:
            raise ConfigError(f"config.json is not that of an organelle model: {error}") from error
