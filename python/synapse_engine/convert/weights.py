"""What a reader hands on: named arrays, and what else the source told. The way from arrays to checked float32."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import MismatchError
from .shape import ModelShape

_HINT = "the file is damaged, or the configuration belongs to another checkpoint; --config names the right one"


@dataclass
class Weights:
    """A model's tensors under the engine's names, in PyTorch's conventions, in the order of the source."""

    tensors: dict[str, np.ndarray]
    monarch_layout: str
    """``julia`` or ``torch``: what the format of the source means, if the values do not tell."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the source says of itself: step, best_val_loss and the like."""
    notes: list[str] = field(default_factory=list)
    """What a user should know about how the source was understood."""
    head_dim: int | None = None
    context: int | None = None


def check(tensors: Mapping[str, np.ndarray], shape: ModelShape) -> dict[str, np.ndarray]:
    """The tensors of ``shape`` in its order, as float32; raises MismatchError on the first that does not fit."""
    wanted = shape.tensors()
    for name, extents in wanted.items():
        if name not in tensors:
            raise MismatchError(f"tensor `{name}`: expected {extents}, found none", _HINT)
        if tensors[name].shape != extents:
            raise MismatchError(f"tensor `{name}`: expected {extents}, found {tensors[name].shape}", _HINT)
    for name in tensors:
        if name not in wanted:
            raise MismatchError(f"tensor `{name}`: not part of the model that the configuration describes", _HINT)
    found = sum(array.size for array in tensors.values())
    if found != shape.parameters():
        raise MismatchError(f"expected {shape.parameters()} parameters in all, found {found}", _HINT)
    return {name: as_float32(name, tensors[name]) for name in wanted}


def as_float32(name: str, array: np.ndarray) -> np.ndarray:
    """The same numbers in one piece; raises MismatchError for integers, and for numbers that are not finite."""
    if array.dtype.kind != "f":
        raise MismatchError(f"tensor `{name}`: expected floating-point numbers, found {array.dtype}", _HINT)
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
    if not np.isfinite(values).all():
        bad = values.size - int(np.isfinite(values).sum())
        raise MismatchError(
            f"tensor `{name}`: {bad} of {values.size} values are not finite in float32",
            "the file is damaged, or its training diverged; use an earlier checkpoint",
        )
    return values
