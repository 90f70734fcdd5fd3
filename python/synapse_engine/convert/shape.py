"""What a model of the family is made of: the numbers that fix every tensor's name and shape, and how many there are.

Reads no file and no value. Names and shapes are those of the engine's checkpoints (PyTorch conventions): a convolution
is (channels, 1, taps) with its last tap at lag 0, a matrix (outputs, inputs).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

ORGANELLES = ("causal_conv", "monarch", "long_conv", "attention")
MONARCH_CONTEXT = 256
"""The engine runs Monarch matrices of 16 blocks of 16 positions."""
MIXER = "seq_mixer.organelle_modules"


@dataclass(frozen=True)
class ModelShape:
    """A model's sizes, in the words of ``config.json``."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    organelles: tuple[tuple[str, ...], ...]
    """Those of each layer, in the order of the gate's rows."""
    context: int = 256
    conv_kernel_size: int = 4
    monarch_heads: int = 1
    attention_heads: int = 0
    head_dim: int = 0
    sigmoid_gate: bool = False
    """One sigmoid per channel over the sum of the organelles (MonarchSLM), not a softmax between them."""
    gate_temperature: bool = False
    skip_scales: bool = False
    donor_hidden_size: int = 0
    """The width of a frozen embedding that another model gave (VocabFusion); 0 without one."""

    @property
    def layers(self) -> int:
        """How many blocks."""
        return len(self.organelles)

    def has(self, organelle: str) -> bool:
        """True if some layer has it."""
        return any(organelle in layer for layer in self.organelles)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's name and shape, in the order of the forward pass."""
        return dict(self._tensors())

    def parameters(self) -> int:
        """How many numbers, from the formula per layer and not from ``tensors``, so that one checks the other."""
        width, donor = self.hidden_size, self.donor_hidden_size
        blocks = sum(self._layer_parameters(layer) for layer in self.organelles)
        if donor:
            return blocks + width + self.vocab_size * donor + donor * width + 2 * width + width * donor
        return blocks + width + self.vocab_size * width

    def _layer_parameters(self, layer: tuple[str, ...]) -> int:
        width, side = self.hidden_size, isqrt(self.context)
        cost: dict[str, int] = {
            "causal_conv": self.conv_kernel_size * width,
            "monarch": self.monarch_heads * 2 * side**3,
            "long_conv": self.context * width,
            "attention": 4 * width * self.attention_heads * self.head_dim,
        }
        gate = width if self.sigmoid_gate else len(layer) * width + self.gate_temperature
        skips = 2 * self.skip_scales
        return sum(cost[name] for name in layer) + gate + skips + 3 * width * self.intermediate_size + 2 * width

    def _tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        width, donor = self.hidden_size, self.donor_hidden_size
        if donor:
            yield "donor.weight", (self.vocab_size, donor)
            yield "junction.proj.weight", (width, donor)
            yield "junction.norm.weight", (width,)
            yield "junction.norm.bias", (width,)
        else:
            yield "tok_emb.weight", (self.vocab_size, width)
        for index, layer in enumerate(self.organelles):
            for name, shape in self._block(layer):
                yield f"blocks.{index}.{name}", shape
        yield "ln_f.weight", (width,)
        if donor:
            yield "out_proj.weight", (donor, width)

    def _block(self, layer: tuple[str, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
        width, inner = self.hidden_size, self.intermediate_size
        yield "ln1.weight", (width,)
        for organelle in layer:
            yield from self._organelle(organelle)
        if self.sigmoid_gate:
            yield "seq_mixer.gate.weight", (width,)
        else:
            yield "seq_mixer.gate.logits", (len(layer), width)
        if self.gate_temperature:
            yield "seq_mixer.gate.temperature", (1,)
        if self.skip_scales:
            yield "skip1.scale", (1,)
            yield "skip2.scale", (1,)
        yield "ln2.weight", (width,)
        yield "ffn.w1.weight", (inner, width)
        yield "ffn.v.weight", (inner, width)
        yield "ffn.w2.weight", (width, inner)

    def _organelle(self, organelle: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        width, heads, side = self.hidden_size, self.attention_heads * self.head_dim, isqrt(self.context)
        match organelle:
            case "causal_conv":
                yield f"{MIXER}.causal_conv.weight", (width, 1, self.conv_kernel_size)
            case "monarch":
                for head in range(self.monarch_heads):
                    yield f"{MIXER}.monarch.{head}.L1", (side,) * 3
                    yield f"{MIXER}.monarch.{head}.L2", (side,) * 3
            case "long_conv":
                yield f"{MIXER}.long_conv.kernel", (width, 1, self.context)
            case "attention":
                for name in ("wq", "wk", "wv"):
                    yield f"{MIXER}.attention.{name}.weight", (heads, width)
                yield f"{MIXER}.attention.wo.weight", (width, heads)
