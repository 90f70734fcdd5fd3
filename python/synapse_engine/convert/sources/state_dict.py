"""SymbioGPT's and SymbioSLM's own PyTorch names, which are the engine's. Buffers are checked and dropped."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from synapse_engine.convert.errors import UnsupportedError
from synapse_engine.convert.weights import Weights

from .julia_slm import is_julia_slm, refuse_or_keep_attention
from .tied import without_tied_head

# What torch.compile and data-parallel training put before every name.
_PREFIX = re.compile(r"^(?:_orig_mod\.|module\.)+")
_WRAPPED = ("model_state_dict", "state_dict", "model")
_CONFIGURED = ("config", "model_config")
_LONGEST_NAME = 300
_ROPE_BASE = 10_000.0
_ROPE_TOLERANCE = 0.02


def unwrap(content: Any, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """A checkpoint's tensors, the plain facts beside them, and its configuration (empty if it has none)."""
    if not isinstance(content, dict):
        raise UnsupportedError(f"{name} holds {type(content).__name__}, not tensors by name", "save a state dict")
    wrapped = next((content[key] for key in _WRAPPED if isinstance(content.get(key), dict)), content)
    tensors = {_PREFIX.sub("", str(key)): value for key, value in wrapped.items() if isinstance(value, np.ndarray)}
    others = [str(key) for key, value in wrapped.items() if not isinstance(value, np.ndarray)]
    if wrapped is content and others and tensors:
        raise UnsupportedError(f"{name}: `{others[0][:_LONGEST_NAME]}` is not a tensor", "save a state dict")
    if any(len(key) > _LONGEST_NAME for key in tensors):
        raise UnsupportedError(
            f"{name} has tensors with names of more than {_LONGEST_NAME} letters", "save a state dict"
        )
    if not tensors:
        raise UnsupportedError(f"{name} holds no tensors", "save a state dict: torch.save(model.state_dict(), path)")
    outside = {} if wrapped is content else content
    facts = {str(key): _plain(value) for key, value in outside.items()}
    config: dict[str, Any] = next((outside[key] for key in _CONFIGURED if isinstance(outside.get(key), dict)), {})
    return tensors, facts, config


def _plain(value: Any) -> Any:
    """A tensor of one number as that number."""
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def from_state_dict(tensors: Mapping[str, np.ndarray], heads: int | None = None) -> Weights:
    """``heads`` are those of a transformer's attention, if known; organelle models do not need it."""
    kept = without_tied_head(dict(tensors))
    weights = Weights(kept, monarch_layout="torch")
    take_rope(weights)
    drop_masks(weights)
    return refuse_or_keep_attention(weights, heads) if is_julia_slm(kept) else weights


def take_rope(weights: Weights) -> None:
    """The caches of rotary angles give the width of a head; raises UnsupportedError if their base is another."""
    for name in [name for name in weights.tensors if name.endswith(("rope.cos_cache", "rope.sin_cache"))]:
        cache = weights.tensors.pop(name)
        if cache.ndim != 2 or 0 in cache.shape or cache.dtype.kind != "f":
            raise UnsupportedError(f"tensor `{name}`: expected (positions, half a head), found {cache.shape}", None)
        weights.head_dim, weights.context = 2 * cache.shape[1], cache.shape[0]
        frequencies = _ROPE_BASE ** -(np.arange(cache.shape[1]) / cache.shape[1])
        wave = np.cos if name.endswith("cos_cache") else np.sin
        row = min(1, cache.shape[0] - 1)
        if not np.abs(cache[row].astype(np.float64) - wave(row * frequencies)).max() < _ROPE_TOLERANCE:
            raise UnsupportedError(
                f"tensor `{name}`: its angles are not those of base {_ROPE_BASE:.0f}", "the engine runs no other base"
            )


def drop_masks(weights: Weights) -> None:
    """The causal masks are constants; raises UnsupportedError if one is not lower-triangular ones."""
    for name in [name for name in weights.tensors if name.endswith("monarch_causal_mask")]:
        mask = weights.tensors.pop(name)
        weights.context = mask.shape[0] if mask.ndim == 2 else None
        if mask.ndim != 2 or not np.array_equal(mask, np.tri(*mask.shape)):
            raise UnsupportedError(f"tensor `{name}` is not the causal mask", "the engine runs causal models only")
