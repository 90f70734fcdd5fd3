"""Reads a model's sizes off its tensors, and sets them against what a configuration says. Opens no file."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .errors import MismatchError, UnsupportedError
from .settings import Settings
from .shape import MIXER, MONARCH_CONTEXT, ORGANELLES, ModelShape
from .weights import Weights

_DEFAULT_CONTEXT = 256
_DEFAULT_HEAD_DIM = 64
_BLOCK = re.compile(r"blocks\.(\d{1,6})\.(.+)")


def infer_shape(weights: Weights, settings: Settings) -> ModelShape:
    """The shape that the configuration asks for, where it speaks, and else that of the tensors themselves."""
    tensors = weights.tensors
    blocks = _blocks(tensors)
    organelles = _organelles(blocks, tensors, settings, weights)
    has_donor = "donor.weight" in tensors
    embedding = "donor.weight" if has_donor else "tok_emb.weight"
    first = f"blocks.{min(blocks)}"
    shape = ModelShape(
        vocab_size=settings.vocab_size or _extent(tensors, embedding, 0, 2),
        hidden_size=settings.hidden_size or _extent(tensors, f"{first}.ln1.weight", 0, 1),
        intermediate_size=_extent(tensors, f"{first}.ffn.w1.weight", 0, 2),
        organelles=organelles,
        context=settings.context or _context(tensors, weights),
        conv_kernel_size=settings.conv_kernel_size or _first(tensors, "causal_conv.weight", 2, 3) or 4,
        monarch_heads=settings.monarch_heads or _monarch_heads(tensors),
        sigmoid_gate=f"{first}.seq_mixer.gate.weight" in tensors,
        gate_temperature=f"{first}.seq_mixer.gate.temperature" in tensors,
        skip_scales=f"{first}.skip1.scale" in tensors,
        donor_hidden_size=_extent(tensors, "donor.weight", 1, 2) if has_donor else 0,
    )
    return _with_attention(_checked(shape), weights, settings)


def _blocks(tensors: Mapping[str, Any]) -> dict[int, list[str]]:
    """The names of each block's tensors, without the prefix."""
    blocks: dict[int, list[str]] = {}
    for name in tensors:
        if match := _BLOCK.fullmatch(name):
            blocks.setdefault(int(match[1]), []).append(match[2])
    if not blocks:
        raise MismatchError(
            "there is no tensor `blocks.0.*`", "the file holds something other than a model of this family"
        )
    return blocks


def _organelles(
    blocks: dict[int, list[str]], tensors: Mapping[str, Any], settings: Settings, weights: Weights
) -> tuple[tuple[str, ...], ...]:
    count = settings.layers or len(blocks)
    if settings.organelles:
        lists = settings.organelles
        return lists * count if len(lists) == 1 else lists
    if list(tensors) == sorted(tensors) and max(len(_present(names)) for names in blocks.values()) > 1:
        weights.notes.append(f"the order of the gate's rows is not in the file; took {', '.join(ORGANELLES)}")
        found = {index: sorted(_present(names), key=ORGANELLES.index) for index, names in blocks.items()}
    else:
        found = {index: _present(names) for index, names in blocks.items()}
    like_first = found[min(found)]
    return tuple(tuple(found.get(index, like_first)) for index in range(count))


def _present(names: list[str]) -> list[str]:
    """The organelles of one block, in the order in which they appear."""
    prefix = f"{MIXER}."
    found = dict.fromkeys(name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix))
    if unknown := [name for name in found if name not in ORGANELLES]:
        raise UnsupportedError(f"unknown organelle {unknown[0]!r}", f"the engine runs {', '.join(ORGANELLES)}")
    return list(found)


def _context(tensors: Mapping[str, np.ndarray], weights: Weights) -> int:
    side = _first(tensors, "L1", 0, 3)
    found = _first(tensors, "long_conv.kernel", 2, 3) or (side * side if side else None) or weights.context
    if found is None:
        weights.notes.append(f"the context length is not in the file; took {_DEFAULT_CONTEXT}")
    return found or _DEFAULT_CONTEXT


def _monarch_heads(tensors: Mapping[str, Any]) -> int:
    heads = {found[1] for name in tensors if (found := re.search(r"\.monarch\.(\d{1,6})\.L1$", name))}
    return max(len(heads), 1)


def _checked(shape: ModelShape) -> ModelShape:
    for index, layer in enumerate(shape.organelles):
        # The rows of a softmax gate are counted against the organelles; a sigmoid gate has no such check of its own.
        if not layer or (shape.sigmoid_gate and set(layer) != {"causal_conv", "monarch"}):
            wanted = "causal_conv and monarch" if shape.sigmoid_gate else "at least one"
            raise MismatchError(
                f"blocks.{index} has the organelles: {', '.join(layer) or 'none'}; expected {wanted}",
                "the file is damaged, or of a model that the engine does not run",
            )
    if shape.has("monarch") and shape.context != MONARCH_CONTEXT:
        raise UnsupportedError(
            f"its Monarch matrices mix {shape.context} positions; the engine runs {MONARCH_CONTEXT}",
            "no option changes that",
        )
    if shape.hidden_size % shape.monarch_heads:
        raise MismatchError(
            f"{shape.hidden_size} channels cannot be shared by {shape.monarch_heads} Monarch heads",
            "the configuration belongs to another checkpoint; --config names the right one",
        )
    return shape


def _with_attention(shape: ModelShape, weights: Weights, settings: Settings) -> ModelShape:
    if not shape.has("attention"):
        return shape
    rows = _first(weights.tensors, "attention.wq.weight", 0, 2) or 0
    head_dim = settings.head_dim or weights.head_dim
    if head_dim is None:
        head_dim = rows // settings.attention_heads if settings.attention_heads else _DEFAULT_HEAD_DIM
        weights.notes.append(f"the width of an attention head is not in the file; took {head_dim}")
    heads = settings.attention_heads or rows // max(head_dim, 1)
    if heads < 1 or head_dim < 1 or head_dim % 2:
        raise MismatchError(
            f"attention of {rows} rows has no heads of {head_dim}", "give n_heads and head_dim in a file with --config"
        )
    return replace(shape, attention_heads=heads, head_dim=head_dim)


def _extent(tensors: Mapping[str, np.ndarray], name: str, axis: int, rank: int) -> int:
    if name not in tensors:
        raise MismatchError(
            f"there is no tensor `{name}`", "the file holds something other than a model of this family"
        )
    shape = tensors[name].shape
    if len(shape) != rank or 0 in shape:
        raise MismatchError(f"tensor `{name}`: expected {rank} dimensions, found {shape}", "the file is damaged")
    return int(shape[axis])


def _first(tensors: Mapping[str, np.ndarray], ending: str, axis: int, rank: int) -> int | None:
    """An extent of the first tensor whose name ends so; None if there is none."""
    name = next((name for name in tensors if name.endswith(f".{ending}")), None)
    return None if name is None else _extent(tensors, name, axis, rank)
