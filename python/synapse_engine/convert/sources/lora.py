"""``lora_state.pt``: low-rank pairs for some matrices of an organelle model. Names and shapes are not published.

A pair adds scale * B(A x) to W x, with A (rank, inputs) and B (outputs, rank); both are also accepted transposed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synapse_engine.convert.errors import MismatchError
from synapse_engine.convert.weights import as_float32

_TARGETS = ("w1", "v", "w2", "wq", "wk", "wv", "wo")
_HINT = "the file is not a lora_state.pt of this family, or one with names that the reader does not know"
_ALPHA_PER_RANK = 2.0
"""The family's recipes all take alpha = 2 rank; the file does not hold it."""


@dataclass
class Adapter:
    """A LoRA adapter in PEFT's names and orientation."""

    tensors: dict[str, np.ndarray]
    rank: int
    alpha: float
    targets: list[str]

    @property
    def parameters(self) -> int:
        """How many numbers."""
        return sum(array.size for array in self.tensors.values())

    def config(self, base: str | None) -> dict[str, Any]:
        """The content of ``adapter_config.json``."""
        return {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": self.rank,
            "lora_alpha": self.alpha, "lora_dropout": 0.0, "target_modules": self.targets, "bias": "none",
            "use_rslora": False, "use_dora": False, "fan_in_fan_out": False, "inference_mode": True,
            "modules_to_save": None, "rank_pattern": {}, "alpha_pattern": {},
        }  # fmt: skip


def is_lora(tensors: Mapping[str, Any]) -> bool:
    """True if every tensor is half of a pair."""
    return bool(tensors) and all(_parsed(name) for name in tensors)


def from_lora(tensors: Mapping[str, np.ndarray], alpha: float | None) -> Adapter:
    """The adapter; ``alpha`` if it is known. Raises MismatchError that names the pair that does not fit."""
    pairs: dict[str, dict[str, np.ndarray]] = {}
    for name, array in tensors.items():
        parsed = _parsed(name)
        if parsed is None or array.ndim != 2:
            raise MismatchError(f"tensor `{name}` {array.shape} is not half of a low-rank pair", _HINT)
        module, half = parsed
        if half in pairs.setdefault(module, {}):
            raise MismatchError(f"tensor `{name}`: {module} has two halves {half}", _HINT)
        pairs[module][half] = as_float32(name, array)
    ranks = {module: _rank(module, pair) for module, pair in pairs.items()}
    if len(set(ranks.values())) != 1:
        raise MismatchError(f"the pairs have several ranks: {sorted(set(ranks.values()))}", _HINT)
    rank = next(iter(ranks.values()))
    oriented = {
        f"base_model.model.{module}.lora_{half}.weight": array
        for module, pair in pairs.items()
        for half, array in (("A", _rows(pair["A"], rank)), ("B", _rows(pair["B"], rank).T))
    }
    return Adapter(
        {name: np.ascontiguousarray(array) for name, array in oriented.items()},
        rank,
        _ALPHA_PER_RANK * rank if alpha is None else alpha,
        sorted({module.rsplit(".", 1)[1] for module in pairs}),
    )


def _parsed(name: str) -> tuple[str, str] | None:
    """The module and its half, ``A`` or ``B``, from ``any.blocks.0.ffn.w1.lora_A.weight`` or ``blocks.0.ffn.w1_A``."""
    before, found, after = name.partition("blocks.")
    parts = after.split(".")
    place = next((i for i, part in enumerate(parts) if part.partition("_")[0] in _TARGETS), None)
    if not found or (before and not before.endswith(".")) or place is None or not parts[0].isdecimal():
        return None
    target, _, rest = parts[place].partition("_")
    half = next((word for word in re.split(r"[._]", ".".join([rest, *parts[place + 1 :]])) if word in ("A", "B")), None)
    return (".".join(["blocks", *parts[:place], target]), half) if half else None


def _rank(module: str, pair: Mapping[str, np.ndarray]) -> int:
    """The extent that both halves share and that is the smaller one in each."""
    if pair.keys() != {"A", "B"}:
        raise MismatchError(f"{module} has only half of its pair: {', '.join(pair)}", _HINT)
    rank = int(min(pair["A"].shape))
    if rank != min(pair["B"].shape) or rank == 0 or rank in (max(pair["A"].shape), max(pair["B"].shape)):
        shapes = f"A {pair['A'].shape} and B {pair['B'].shape}"
        raise MismatchError(f"{module}: {shapes} do not share a rank below their other extents", _HINT)
    return rank


def _rows(array: np.ndarray, rank: int) -> np.ndarray:
    """With the rank first."""
    return array if array.shape[0] == rank else array.T
