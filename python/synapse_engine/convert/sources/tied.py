"""The output head that is the embedding again."""

import numpy as np

from synapse_engine.convert.errors import UnsupportedError

_HEADS = ("head.weight", "lm_head.weight")


def without_tied_head(tensors: dict[str, np.ndarray], embedding: str = "tok_emb.weight") -> dict[str, np.ndarray]:
    """Without the second copy of the embedding; raises UnsupportedError if the head is another matrix."""
    for name in _HEADS:
        head = tensors.pop(name, None)
        if head is not None and not np.array_equal(head, tensors.get(embedding, ())):
            raise UnsupportedError(
                f"tensor `{name}` is not the embedding again; the engine runs tied heads only", "no option changes that"
            )
    return tensors
