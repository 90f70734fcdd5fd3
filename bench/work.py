"""What a model's arithmetic cannot do without: operations and bytes, counted from its GGUF file. Knows no engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gguf import GGUFReader

if TYPE_CHECKING:
    from pathlib import Path

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
# Keys and values as halves, which every engine here keeps by default.
KV_BYTES = 2


@dataclass(frozen=True)
class Work:
    """Of one model."""

    layer_multiply_adds: int
    """Of all matrices of all layers, for one token."""
    head_multiply_adds: int
    weight_bytes: int
    """That a pass reads, as they lie in the file: a table of embeddings counts only if it is the head as well."""
    kv_bytes: int
    """Keys and values of one position."""

    def prefill_operations(self, tokens: int) -> float:
        """For each token of a prompt, whose last one alone needs the head; a multiply-add is two operations."""
        return 2 * (self.layer_multiply_adds + self.head_multiply_adds / tokens)

    def decode_bytes(self, position: float) -> float:
        """For one token at this position."""
        return self.weight_bytes + self.kv_bytes * position


def work_of(path: Path) -> Work:
    """Counts what is in the file."""
    reader = GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    matrices = {name: int(tensor.n_elements) for name, tensor in tensors.items() if len(tensor.shape) == 2}
    head = HEAD if HEAD in tensors else EMBEDDING
    layers = [count for name, count in matrices.items() if name not in (EMBEDDING, HEAD)]
    unread = 0 if head == EMBEDDING else int(tensors[EMBEDDING].n_bytes)
    keys = [tensor for name, tensor in tensors.items() if name.endswith("attn_k.weight")]
    return Work(
        layer_multiply_adds=sum(layers),
        head_multiply_adds=matrices[head],
        weight_bytes=sum(int(tensor.n_bytes) for tensor in tensors.values()) - unread,
        # GGUF has the innermost dimension first: (hidden, kv_heads * head_dim).
        kv_bytes=sum(2 * KV_BYTES * int(key.shape[1]) for key in keys),
    )
