"""VocabFusion: an organelle model between another model's frozen embedding and itself, found by suffix and shape.

The names around the blocks are not published, and the blocks may be one list or two ("near" and "far"). What is known
are the names inside a block, and the shapes: an embedding (vocabulary, donor width), a projection (width, donor width)
with a layer norm, a projection back (donor width, width) and a last RMSNorm.
"""

import re
from collections.abc import Mapping

import numpy as np

from synapse_engine.convert.errors import MismatchError
from synapse_engine.convert.weights import Weights

from .state_dict import drop_masks, take_rope
from .tied import without_tied_head

_INSIDE = re.compile(r"(?P<list>.*?)(?P<index>\d{1,6})\.(?P<rest>(?:ln[12]|seq_mixer|ffn|skip[12])\.[\w.]+)")
_HINT = "the file is not a VocabFusion checkpoint, or one with names that the reader does not know"

_Tensors = dict[str, np.ndarray]


def is_vocab_fusion(tensors: Mapping[str, np.ndarray]) -> bool:
    """True if there are organelle blocks, but no embedding of their own width under the usual name."""
    norm = next((array for name, array in tensors.items() if name.endswith(".ln1.weight")), None)
    embedding = tensors.get("tok_emb.weight")
    blocks = any(_INSIDE.fullmatch(name) for name in tensors)
    return blocks and norm is not None and (embedding is None or embedding.shape[-1:] != norm.shape)


def from_vocab_fusion(tensors: Mapping[str, np.ndarray]) -> Weights:
    """The tensors under the engine's names; raises MismatchError if a part is missing or could be two."""
    weights = Weights(dict(tensors), monarch_layout="torch")
    take_rope(weights)
    drop_masks(weights)
    inside = {name: match for name in weights.tensors if (match := _INSIDE.fullmatch(name))}
    outside = {name: array for name, array in weights.tensors.items() if name not in inside}
    blocks = _blocks(weights.tensors, inside, weights)
    width = next((array.shape[0] for name, array in blocks.items() if name.endswith("ln1.weight")), 0)
    weights.tensors = {**_around(outside, width), **blocks}
    return weights


def _blocks(tensors: _Tensors, inside: Mapping[str, re.Match[str]], weights: Weights) -> _Tensors:
    """Blocks of several lists one after the other: those with "near" in their name first, else in the file's order."""
    places = dict.fromkeys((match["list"], int(match["index"])) for match in inside.values())
    lists = sorted(dict.fromkeys(place[0] for place in places), key=lambda name: "near" not in name)
    if len(lists) > 1:
        weights.notes.append(f"blocks are numbered through the lists {', '.join(name or '(none)' for name in lists)}")
    ordered = sorted(places, key=lambda place: (lists.index(place[0]), place[1]))
    number = {place: index for index, place in enumerate(ordered)}
    return {
        f"blocks.{number[match['list'], int(match['index'])]}.{match['rest']}": tensors[name]
        for name, match in inside.items()
    }


def _around(outside: _Tensors, width: int) -> _Tensors:
    """The tensors before and after the blocks."""
    donor_name = max(
        (name for name, array in outside.items() if array.ndim == 2),
        key=lambda name: outside[name].shape[0],
        default="",
    )
    if not donor_name:
        raise MismatchError("there is no embedding outside the blocks", _HINT)
    donor = outside[donor_name].shape[1]
    if donor == width:
        raise MismatchError(
            f"tensor `{donor_name}`: the donor is as wide as the model ({donor}), so shapes tell too little",
            _HINT,
        )
    outside = without_tied_head(dict(outside), donor_name)
    found = {
        "donor.weight": donor_name,
        "junction.proj.weight": _the_only("projection of the donor", outside, (width, donor)),
        "out_proj.weight": _the_only("projection back to the donor", outside, (donor, width)),
        **_norms(outside, width),
    }
    if strange := set(outside) - set(found.values()):
        name = min(strange)
        raise MismatchError(f"tensor `{name}` {outside[name].shape}: no part of VocabFusion has that shape", _HINT)
    return {name: outside[source] for name, source in found.items()}


def _the_only(what: str, tensors: _Tensors, shape: tuple[int, ...]) -> str:
    names = [name for name, array in tensors.items() if array.shape == shape]
    if len(names) != 1:
        raise MismatchError(f"the {what}: expected one tensor {shape}, found {', '.join(names) or 'none'}", _HINT)
    return names[0]


def _norms(tensors: _Tensors, width: int) -> dict[str, str]:
    """The layer norm has a bias, the RMSNorm has none."""
    vectors = {name for name, array in tensors.items() if array.shape == (width,)}
    biases = [name for name in vectors if name.endswith("bias")]
    if len(biases) != 1 or len(vectors) != 3:
        raise MismatchError(
            f"expected a layer norm (weight and bias) and an RMSNorm of {width}, found {', '.join(sorted(vectors))}",
            _HINT,
        )
    weight = f"{biases[0].removesuffix('bias')}weight"
    others = vectors - {biases[0], weight}
    if len(others) != 1:
        raise MismatchError(f"tensor `{biases[0]}` has no weight beside it", _HINT)
    return {"junction.norm.weight": weight, "junction.norm.bias": biases[0], "ln_f.weight": others.pop()}
