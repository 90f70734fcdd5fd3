"""What each layer's channels rely on, from the gate between the organelles. Needs the weights, not the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_COLDEST = 0.01
_TINY = 1e-10


@dataclass(frozen=True)
class LayerGate:
    """One layer's gate. All figures are means over its channels."""

    organelles: tuple[str, ...]
    entropy: float | None
    """In nats: 0 if every channel listens to one organelle, ln N if to all N alike. None for a sigmoid gate."""
    weights: tuple[float, ...]
    """The weight of each organelle; for a sigmoid gate, of their sum."""
    largest: tuple[float, ...]
    """The share of channels in which each organelle has the largest weight."""


def layer_gates(tensors: Mapping[str, np.ndarray], organelles: Sequence[Sequence[str]]) -> list[LayerGate]:
    """The gate of every layer; ``organelles`` names the rows of each layer's gate."""
    return [_layer_gate(tensors, f"blocks.{index}.seq_mixer.gate", names) for index, names in enumerate(organelles)]


def mean_entropy(gates: Sequence[LayerGate]) -> float | None:
    """Over layers, in nats; None for a model without softmax gates."""
    entropies = [gate.entropy for gate in gates if gate.entropy is not None]
    return sum(entropies) / len(entropies) if entropies else None


def _layer_gate(tensors: Mapping[str, np.ndarray], prefix: str, names: Sequence[str]) -> LayerGate:
    if f"{prefix}.weight" in tensors:
        weight = tensors[f"{prefix}.weight"].astype(np.float64)
        mean = float(np.mean(1 / (1 + np.exp(-np.clip(weight, -700, 700)))))
        return LayerGate(tuple(names), None, (mean,) * len(names), ())
    temperature = tensors.get(f"{prefix}.temperature")
    cold = max(float(temperature[0]), _COLDEST) if temperature is not None else 1.0
    scaled = tensors[f"{prefix}.logits"].astype(np.float64) / cold
    raised = np.exp(scaled - scaled.max(axis=0))
    shares = raised / raised.sum(axis=0)
    entropy = float(np.mean(-np.sum(shares * np.log(shares + _TINY), axis=0)))
    largest = np.bincount(shares.argmax(axis=0), minlength=len(shares)) / shares.shape[1]
    return LayerGate(tuple(names), entropy, tuple(map(float, shares.mean(axis=1))), tuple(map(float, largest)))
