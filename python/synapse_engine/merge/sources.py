"""What is merged: adapters and fine-tuned models, both as changes of the base's tensors, some rows at a time."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from synapse_engine.convert.errors import DamagedFileError, MismatchError, MissingFileError, UnsupportedError

from .adapter_settings import CONFIG, read_settings
from .base import Base
from .formats import Floats, from_float32
from .weights import Tensor, read_file, read_weights, row_blocks

ADAPTER = "adapter_model.safetensors"
ANOTHER_BASE = "it was made for another base; name that one"
_KEY = re.compile(r"base_model\.model\.(.+)\.(lora_A\.weight|lora_B\.weight|lora_embedding_A|lora_embedding_B)")
# PEFT stores the whole layer beside the matrices of an embedding or an output, though it has not learned.
_COPY = re.compile(r"base_model\.model\.(.+?)(?:\.base_layer)?\.weight")
_AS_MODEL = "merge it into its base with peft (merge_and_unload), and give the result as a model"
_AGAIN = "the adapter is damaged, or its training diverged"
_SAFETENSORS = "save it as safetensors: save_pretrained(FOLDER, safe_serialization=True)"


class Source(Protocol):
    """Changes of a base."""

    name: str
    weight: float

    @property
    def tensors(self) -> list[Tensor]:
        """The base's tensors that it changes, in the order of their names."""

    @property
    def facts(self) -> str:
        """What the card says of it."""

    def delta(self, tensor: Tensor, start: int, stop: int) -> Floats:
        """Its change of some rows, float32 (stop - start, width), without its weight."""


class FineTuned:
    """A model with the base's tensors and other numbers."""

    def __init__(self, folder: Path, weight: float, base: Base) -> None:
        self.name, self.weight = folder.name, weight
        self._mine = read_weights(folder).tensors
        theirs = base.weights.tensors
        for name in sorted(self._mine.keys() ^ theirs.keys()):
            has, lacks = (self.name, "the base") if name in self._mine else ("the base", self.name)
            raise MismatchError(f"{has} has a tensor `{name}`, {lacks} has none", ANOTHER_BASE)
        for name, tensor in theirs.items():
            _check_shape(name, tensor.shape, self._mine[name].shape, self.name, ANOTHER_BASE)
        self.tensors = list(theirs.values())
        self.facts = f"model, {len(self.tensors)} tensors"

    def delta(self, tensor: Tensor, start: int, stop: int) -> Floats:
        """Its number less the base's."""
        return self._mine[tensor.name].read(start, stop) - tensor.read(start, stop)


class Adapter:
    """Low-rank matrices of PEFT: ``scale * B A`` for every module that it has."""

    def __init__(self, folder: Path, weight: float, base: Base) -> None:
        self.name, self.weight = folder.name, weight
        self._settings = read_settings(folder)
        if not (folder / ADAPTER).is_file():
            raise MissingFileError(f"{folder} has no {ADAPTER}", _SAFETENSORS)
        named = self._settings.base
        self._another = f"it was made for {named}; name that one as the base" if named else ANOTHER_BASE
        found = read_file(folder / ADAPTER).tensors.values()
        self._factors = _pairs([tensor for tensor in found if ".lora_" in tensor.name], self.name)
        if not self._factors:
            raise DamagedFileError(f"{self.name}/{ADAPTER} holds no matrices of LoRA", "save the adapter again")
        self.tensors = [self._target(module, base) for module in sorted(self._factors)]
        self._check_complete(base)
        for tensor in found:
            if ".lora_" not in tensor.name:
                self._check_copy(tensor, base)
        self._open: tuple[str, Floats, Floats] | None = None

    @property
    def facts(self) -> str:
        """What the card says of it."""
        ranks = sorted({self._settings.rank_of(module) for module in self._factors})
        scales = sorted({self._settings.scale(module) for module in self._factors})
        shown = ", ".join(f"{scale:g}" for scale in scales)
        return f"LoRA, {len(self._factors)} modules, rank {', '.join(map(str, ranks))}, scale {shown}"

    def delta(self, tensor: Tensor, start: int, stop: int) -> Floats:
        """Rows of ``scale * B A``."""
        module = tensor.name.removesuffix(".weight")
        if self._open is None or self._open[0] != module:
            self._open = (module, *self._read(module))
        _, left, right = self._open
        with np.errstate(over="ignore", invalid="ignore"):
            product: Floats = np.float32(self._settings.scale(module)) * (left[start:stop] @ right)
        if not np.isfinite(product).all():
            raise DamagedFileError(f"{self.name} changes tensor `{tensor.name}` by numbers that are not finite", _AGAIN)
        return product

    def _read(self, module: str) -> tuple[Floats, Floats]:
        """(rows, rank) and (rank, width)."""
        a, b = self._factors[module]
        # An embedding's matrices are those of its transpose, as a row is looked up and not multiplied.
        return (a.whole().T, b.whole().T) if _is_embedding(a) else (b.whole(), a.whole())

    def _target(self, module: str, base: Base) -> Tensor:
        """The tensor of the base that a module's matrices change; raises ConvertError if they cannot."""
        name = f"{module}.weight"
        base.check_untied(name, self.name)
        if name not in base.weights.tensors:
            raise MismatchError(f"{self.name} changes tensor `{name}`, which the base does not have", self._another)
        tensor = base.weights.tensors[name]
        a, b = self._factors[module]
        rank = self._settings.rank_of(module)
        if len(tensor.shape) != 2:
            raise MismatchError(f"{self.name} changes tensor `{tensor.name}`, which is not a matrix", self._another)
        rows, width = tensor.shape[::-1] if _is_embedding(a) else tensor.shape
        _check_shape(a.name, (rank, width), a.shape, self.name, self._another)
        _check_shape(b.name, (rows, rank), b.shape, self.name, self._another)
        return tensor

    def _check_copy(self, copy: Tensor, base: Base) -> None:
        """A whole layer in the adapter must be the base's own."""
        match = _COPY.fullmatch(copy.name)
        own = base.weights.tensors.get(f"{match[1]}.weight") if match else None
        if own is None:
            raise UnsupportedError(f"{self.name}: tensor `{copy.name}` is no A and no B of LoRA", _AS_MODEL)
        _check_shape(copy.name, own.shape, copy.shape, self.name, self._another)
        for start, stop in row_blocks(own):
            if not np.array_equal(from_float32(own.read(start, stop), copy.dtype), copy.stored(start, stop)):
                raise MismatchError(f"{self.name}: tensor `{copy.name}` is not the base's own", self._another)

    def _check_complete(self, base: Base) -> None:
        """Each module that the settings target has matrices; else a part of the adapter was lost."""
        ends = tuple(f".{target}" for target in self._settings.targets or ())
        for tensor in base.weights.tensors.values():
            module = tensor.name.removesuffix(".weight")
            if f".{module}".endswith(ends) and len(tensor.shape) == 2 and module not in self._factors:
                raise MismatchError(
                    f"{self.name} targets {', '.join(self._settings.targets or ())} and has nothing for `{module}`",
                    f"save the adapter again; or {self._another}",
                )


def open_source(folder: Path, weight: float, base: Base) -> Source:
    """An adapter or a model, by what lies in the folder; raises ConvertError."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder", "after --with comes the folder of an adapter or of a model")
    if (folder / CONFIG).is_file():
        return Adapter(folder, weight, base)
    if (folder / "config.json").is_file():
        return FineTuned(folder, weight, base)
    raise MissingFileError(
        f"{folder} has no {CONFIG} and no config.json", "name the folder of an adapter or of a model"
    )


def _pairs(tensors: Iterable[Tensor], name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of every module."""
    found: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        match = _KEY.fullmatch(tensor.name)
        if not match:
            raise UnsupportedError(f"{name}: tensor `{tensor.name}` is no A and no B of LoRA", _AS_MODEL)
        found.setdefault(match[1], {})["A" if "_A" in match[2] else "B"] = tensor
    for module, pair in found.items():
        if len(pair) != 2 or _is_embedding(pair["A"]) != _is_embedding(pair["B"]):
            raise DamagedFileError(f"{name}: `{module}` lacks one of its two matrices", "save the adapter again")
    return {module: (pair["A"], pair["B"]) for module, pair in found.items()}


def _is_embedding(factor: Tensor) -> bool:
    return "lora_embedding" in factor.name


def _check_shape(name: str, expected: tuple[int, ...], found: tuple[int, ...], source: str, hint: str) -> None:
    if expected != found:
        raise MismatchError(f"{source}: tensor `{name}`: expected {expected}, found {found}", hint)
