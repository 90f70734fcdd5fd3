"""A GGUF model in float32, as it is or turned, for quantizers to start from. Knows no engine.

A model that was published in 4 bits has weights on a grid, which whoever uses a like grid meets again exactly. Turned,
it computes the same function with weights on no grid: what passes between the layers is multiplied by a random
orthogonal matrix, and every matrix that writes or reads it takes its part. Norms commute with that once their gains are
moved into the matrices behind them (QuaRot, Ashkboos et al. 2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, quants

if TYPE_CHECKING:
    from pathlib import Path

# Of a layer: the norm in front of each matrix that reads what passes between layers.
READERS = {
    "attn_norm": ("attn_q", "attn_k", "attn_v"),
    "ffn_norm": ("ffn_gate", "ffn_up"),
}
WRITERS = ("attn_output", "ffn_down")
SEED = 6900


def write(source: Path, target: Path, *, turned: bool) -> None:
    """Writes `source` in float32, whole or not at all."""
    reader = GGUFReader(source)
    tensors = {tensor.name: quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    if turned:
        turn(tensors)
    partial = target.with_suffix(".partial")
    writer = GGUFWriter(partial, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    for name, values in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)


def copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    """Every key but those that the writer makes and those that tell of a quantization."""
    writer.add_file_type(LlamaFileType.ALL_F32)
    for name, field in reader.fields.items():
        made = name.startswith("GGUF.") or name == "general.architecture"
        if not made and name not in ("general.file_type", "general.quantization_version"):
            kind = field.types[0]
            element = field.types[-1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, sub_type=element)


def turn(tensors: dict[str, np.ndarray]) -> None:
    """Turns a model of the Llama family in place; its head is no longer its embedding, but the function is the same."""
    width = tensors["output_norm.weight"].size
    # QR of a Gaussian matrix is a uniformly random rotation.
    rotation = np.linalg.qr(np.random.default_rng(SEED).standard_normal((width, width)))[0]
    head = tensors.get("output.weight", tensors["token_embd.weight"])
    tensors["output.weight"] = read(head, tensors, "output_norm.weight", rotation)
    tensors["token_embd.weight"] = tensors["token_embd.weight"] @ rotation
    layers = sum(name.endswith(".attn_norm.weight") for name in tensors)
    for layer in range(layers):
        for norm, readers in READERS.items():
            for name in readers:
                at = f"blk.{layer}.{name}.weight"
                tensors[at] = read(tensors[at], tensors, f"blk.{layer}.{norm}.weight", rotation)
        for name in WRITERS:
            at = f"blk.{layer}.{name}.weight"
            tensors[at] = rotation.T @ tensors[at]
    for name, values in tensors.items():
        if name.endswith("_norm.weight"):
            tensors[name] = np.ones_like(values)


def read(matrix: np.ndarray, tensors: dict[str, np.ndarray], norm: str, rotation: np.ndarray) -> np.ndarray:
    """A matrix behind a norm, so that it takes turned input without the norm's gains."""
    return (matrix * tensors[norm].astype(np.float64)) @ rotation
