"""Which number format llama.cpp's quantizer gives each tensor of a Qwen2 model with tied embeddings. Knows no weights.

`tests/test_random_gguf.py` holds it to what the quantizer in `llama-cpp-python` really writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from gguf import GGMLQuantizationType, LlamaFileType

Q4_0, Q5_0, Q8_0 = GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q5_0, GGMLQuantizationType.Q8_0
Q4_K, Q6_K = GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q6_K

# K-quants come in blocks of 256; a row that is no multiple of it takes the next format in blocks of 32.
SUPER_BLOCK = 256
IN_SMALL_BLOCKS = {Q4_K: Q5_0, Q6_K: Q8_0}


@dataclass(frozen=True)
class Mix:
    """One of the quantizer's named mixes."""

    file_type: LlamaFileType
    usual: GGMLQuantizationType
    # For the output head, which is the embedding here.
    head: GGMLQuantizationType
    # For the value and down projections of the layers that suffer most; None where all layers are alike.
    careful: GGMLQuantizationType | None = None

    def of_head(self, columns: int) -> GGMLQuantizationType:
        """The format of the tied embedding."""
        return fitting(self.head, columns)

    def of_layer(self, tensor: str, layer: int, layers: int, columns: int) -> GGMLQuantizationType:
        """The format of a matrix of a layer; `tensor` is its name without the prefix."""
        careful = self.careful if tensor in CAREFUL_TENSORS and needs_care(layer, layers) else None
        return fitting(careful or self.usual, columns)


CAREFUL_TENSORS = ("attn_v.weight", "ffn_down.weight")
MIXES = {
    "q4_0": Mix(LlamaFileType.MOSTLY_Q4_0, Q4_0, head=Q6_K),
    "q4_k_m": Mix(LlamaFileType.MOSTLY_Q4_K_M, Q4_K, head=Q6_K, careful=Q6_K),
    "q8_0": Mix(LlamaFileType.MOSTLY_Q8_0, Q8_0, head=Q8_0),
}


def needs_care(layer: int, layers: int) -> bool:
    """Whether a layer is in the first or last eighth, or is every third one between them."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def fitting(kind: GGMLQuantizationType, columns: int) -> GGMLQuantizationType:
    """`kind`, or what stands in for it where its blocks do not divide a row."""
    return IN_SMALL_BLOCKS.get(kind, kind) if columns % SUPER_BLOCK else kind
