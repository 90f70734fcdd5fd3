"""JuliaSLM, the transformer of the family. With one attention head it is an organelle model; with more it is refused.

Its training code reinterprets (heads * head width, positions) as (head width, positions, heads) without moving a
number, so that with several heads each "head" holds pieces of several positions, later ones among them. What such
weights have learned cannot be computed one token after the other. With one head both shapes are the same.
"""

import re
from collections.abc import Mapping

import numpy as np

from synapse_engine.convert.errors import UnsupportedError
from synapse_engine.convert.shape import MIXER
from synapse_engine.convert.weights import Weights

_ATTENTION = re.compile(r"(blocks\.\d{1,6})\.attn\.(wq|wk|wv|wo)\.weight")


def is_julia_slm(tensors: Mapping[str, np.ndarray]) -> bool:
    """True if the mixer is attention and nothing else."""
    return any(_ATTENTION.fullmatch(name) for name in tensors)


def refuse_or_keep_attention(weights: Weights, heads: int | None) -> Weights:
    """Attention as the only organelle of each block, under a gate of one row; raises UnsupportedError by name."""
    first = next(name for name in weights.tensors if _ATTENTION.fullmatch(name))
    if heads != 1:
        raise UnsupportedError(
            f"tensor `{first}`: JuliaSLM's attention with {heads or 'an unknown number of'} heads mixes the positions "
            "of different tokens, which the engine does not run",
            "only models with one head can be converted; give n_heads in a file with --config if the file lacks it",
        )
    tensors: dict[str, np.ndarray] = {}
    for name, array in weights.tensors.items():
        if match := _ATTENTION.fullmatch(name):
            tensors[f"{match[1]}.{MIXER}.attention.{match[2]}.weight"] = array
            width = array.shape[-1] if match[2] != "wo" else array.shape[0]
            # The softmax over one row is 1, whatever the row.
            tensors.setdefault(f"{match[1]}.seq_mixer.gate.logits", np.zeros((1, width), np.float32))
            weights.head_dim = array.shape[0] if match[2] == "wq" else weights.head_dim
        else:
            tensors[name] = array
    weights.tensors = tensors
    return weights
