"""What each layer's channels rely on, from the gate between the organelles. Reads weights, runs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from synapse_engine.store.errors import DamagedError, StoreError
from synapse_engine.store.headers import ModelHeader, is_packed, read_header

_COLDEST = 0.01
_TINY = 1e-10
_GATE = ".seq_mixer.gate."


class NoGatesError(StoreError):
    """A model without organelles."""


@dataclass(frozen=True)
class LayerGate:
    """One layer's gate. All figures are means over its channels."""

    organelles: tuple[str, ...]
    entropy: float | None
    """In nats: 0 if every channel listens to one organelle, ln N if to all N alike. None for a sigmoid gate."""
    weights: tuple[float, ...]
    """The weight of each organelle; for a sigmoid gate, of their sum."""
    largest: tuple[float, ...]
    """The share of channels in which each organelle has the largest weight; empty for a sigmoid gate."""

    @property
    def highest_entropy(self) -> float:
        """That of a gate which listens to all alike, in nats."""
        return log(len(self.organelles))


def read_gates(path: Path) -> list[LayerGate]:
    """Those of a model's folder; raises NoGatesError if it is of another family, DamagedError if it is not sound."""
    header = read_header(path)
    if header.metadata.get("model_type") != "symbio":
        raise NoGatesError(f"{path.name} has no organelles", "--layers is for models of the organelle family")
    return layer_gates(_gate_tensors(path, header), _organelles(header.metadata, path))


def layer_gates(tensors: Mapping[str, np.ndarray], organelles: Sequence[Sequence[str]]) -> list[LayerGate]:
    """The gate of every layer; ``organelles`` names the rows of each layer's gate. Raises DamagedError."""
    return [_layer_gate(tensors, f"blocks.{index}{_GATE}", names) for index, names in enumerate(organelles)]


def mean_entropy(gates: Sequence[LayerGate]) -> float | None:
    """Over layers, in nats; None for a model without softmax gates."""
    entropies = [gate.entropy for gate in gates if gate.entropy is not None]
    return sum(entropies) / len(entropies) if entropies else None


def _organelles(config: dict[str, Any], path: Path) -> list[list[str]]:
    """One list of names for each layer."""
    lists, layers = config.get("organelles"), config.get("num_hidden_layers")
    if isinstance(lists, list) and lists and isinstance(layers, int) and 0 < layers <= 10_000:
        lists = [lists] * layers if isinstance(lists[0], str) else lists
        if len(lists) == layers and all(isinstance(names, list) and names for names in lists):
            return [[str(name) for name in names] for names in lists]
    raise _damaged(path, f"config.json: `organelles` {lists!r} does not fit {layers!r} layers")


def _gate_tensors(path: Path, header: ModelHeader) -> dict[str, np.ndarray]:
    for tensor in header.tensors:
        if _GATE in tensor.name and tensor.dtype not in ("F32", "F16", "F64"):
            raise _damaged(path, f"tensor {tensor.name} holds {tensor.dtype}")
    tensors: dict[str, np.ndarray] = {}
    try:
        for file in sorted(path.glob("*.safetensors")):
            if not is_packed(file.name):
                with safe_open(file, framework="numpy") as reader:
                    tensors |= {name: reader.get_tensor(name) for name in reader.keys() if _GATE in name}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error
    return tensors


def _damaged(path: Path, reason: str) -> DamagedError:
    return DamagedError(f"{path.name}: {reason}", "the model is damaged; convert, export or pull it again")


def _layer_gate(tensors: Mapping[str, np.ndarray], prefix: str, names: Sequence[str]) -> LayerGate:
    if f"{prefix}weight" in tensors:
        weight = tensors[f"{prefix}weight"].astype(np.float64)
        mean = float(np.mean(1 / (1 + np.exp(-np.clip(weight, -700, 700)))))
        return LayerGate(tuple(names), None, (mean,) * len(names), ())
    logits = tensors.get(f"{prefix}logits")
    if logits is None or logits.ndim != 2 or logits.shape[0] != len(names) or logits.size == 0:
        found = "none" if logits is None else logits.shape
        raise DamagedError(f"tensor {prefix}logits: expected {len(names)} rows, found {found}", "get the model again")
    if not np.isfinite(logits).all():
        raise DamagedError(f"tensor {prefix}logits holds values that are not finite", "get the model again")
    scaled = logits.astype(np.float64) / _temperature(tensors, prefix)
    raised = np.exp(scaled - scaled.max(axis=0))
    shares = raised / raised.sum(axis=0)
    entropy = float(np.mean(-np.sum(shares * np.log(shares + _TINY), axis=0)))
    largest = np.bincount(shares.argmax(axis=0), minlength=len(shares)) / shares.shape[1]
    return LayerGate(tuple(names), entropy, tuple(map(float, shares.mean(axis=1))), tuple(map(float, largest)))


def _temperature(tensors: Mapping[str, np.ndarray], prefix: str) -> float:
    temperature = tensors.get(f"{prefix}temperature")
    return 1.0 if temperature is None or temperature.size != 1 else max(float(temperature.item()), _COLDEST)
