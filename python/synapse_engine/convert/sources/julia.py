"""The parameter tree of SymbioSLM and MonarchSLM (Lux.jl), turned into PyTorch's conventions.

Julia's convolution kernels are (taps, channels). A causal convolution is a cross-correlation in both languages, so its
taps stay in order; the long convolution is a true convolution in Julia, where index 0 is lag 0, and is reversed.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np

from synapse_engine.convert.errors import MismatchError, UnsupportedError
from synapse_engine.convert.shape import MIXER
from synapse_engine.convert.weights import Weights

from .julia_slm import is_julia_slm, refuse_or_keep_attention
from .tied import without_tied_head

_BLOCK = re.compile(r"blocks\.block_(\d{1,6})\.(.+)")
_HEAD = re.compile(r"seq_mixer\.monarchs\.head_(\d{1,6})\.(L1|L2)")

_Turn = Callable[[np.ndarray], np.ndarray]


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _kernel(array: np.ndarray) -> np.ndarray:
    """(taps, channels) to (channels, 1, taps)."""
    return np.expand_dims(_ranked(array, 2).T, 1)


def _reversed_kernel(array: np.ndarray) -> np.ndarray:
    return _kernel(_ranked(array, 2)[::-1])


def _ranked(array: np.ndarray, rank: int) -> np.ndarray:
    if array.ndim != rank:
        raise MismatchError(f"a kernel has {array.ndim} dimensions; expected {rank}", "the file is damaged")
    return array


_BLOCK_NAMES: dict[str, tuple[str, _Turn]] = {
    "seq_mixer.conv.kernel": (f"{MIXER}.causal_conv.weight", _kernel),
    "seq_mixer.monarch.L1": (f"{MIXER}.monarch.0.L1", _same),
    "seq_mixer.monarch.L2": (f"{MIXER}.monarch.0.L2", _same),
    "seq_mixer.longconv.kernel": (f"{MIXER}.long_conv.kernel", _reversed_kernel),
    "seq_mixer.gate.logits": ("seq_mixer.gate.logits", _same),
    "seq_mixer.gate.weight": ("seq_mixer.gate.weight", _same),
    "seq_mixer.gate.temperature": ("seq_mixer.gate.temperature", _same),
    **{f"{name}.scale": (f"{name}.scale", _same) for name in ("skip1", "skip2")},
    **{f"{name}.weight": (f"{name}.weight", _same) for name in ("ln1", "ln2")},
    **{f"ffn.{name}": (f"ffn.{name}.weight", _same) for name in ("w1", "v", "w2")},
    **{f"attn.{name}": (f"attn.{name}.weight", _same) for name in ("wq", "wk", "wv", "wo")},
}
# The gate's rows in Julia are in this order, whatever the order of the fields.
_ORDER = ("causal_conv", "monarch", "long_conv")


def from_julia(leaves: Mapping[str, np.ndarray], heads: int | None) -> Weights:
    """``leaves`` are named and indexed as in Julia; ``heads`` are those of a transformer's attention, if known."""
    tensors: dict[str, np.ndarray] = {}
    for name, leaf in leaves.items():
        new_name, array = _renamed(name, leaf)
        tensors[new_name] = array
    tensors = without_tied_head(dict(sorted(tensors.items(), key=lambda item: _rank(item[0]))))
    weights = Weights(tensors, monarch_layout="julia")
    return refuse_or_keep_attention(weights, heads) if is_julia_slm(tensors) else weights


def _renamed(name: str, leaf: np.ndarray) -> tuple[str, np.ndarray]:
    if name == "tok_emb.weight":
        # Column i is token i.
        return name, leaf.T
    if name in ("ln_f.weight", "head.weight"):
        return name, leaf
    block = _BLOCK.fullmatch(name)
    if block and (head := _HEAD.fullmatch(block[2])):
        return f"blocks.{int(block[1]) - 1}.{MIXER}.monarch.{int(head[1]) - 1}.{head[2]}", leaf
    if block and block[2] in _BLOCK_NAMES:
        new_name, turn = _BLOCK_NAMES[block[2]]
        return f"blocks.{int(block[1]) - 1}.{new_name}", turn(leaf)
    raise UnsupportedError(
        f"parameter `{name}` is not one of SymbioSLM's or MonarchSLM's", "the engine has nothing that would run it"
    )


def _rank(name: str) -> int:
    """Puts the organelles of every block into the order of the gate's rows."""
    part = name.partition(f"{MIXER}.")[2].partition(".")[0]
    return _ORDER.index(part) if part in _ORDER else -1
