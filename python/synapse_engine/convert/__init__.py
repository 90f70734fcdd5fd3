"""Turns checkpoints of the organelle family into folders that the engine opens. Needs no PyTorch and runs no pickle.

Sources: ``final.jld2`` of SymbioSLM and MonarchSLM, PyTorch state dicts of SymbioGPT, SymbioSLM and VocabFusion,
``lora_state.pt`` (to a PEFT adapter), and NPZ files of JuliaSLM with one attention head.
"""

from synapse_engine.gates import LayerGate, layer_gates, mean_entropy

from .conversion import Converted, ConvertRequest, convert
from .errors import (
    ConvertError,
    DamagedFileError,
    MismatchError,
    MissingFileError,
    TargetError,
    UnsupportedError,
)

__all__ = [
    "ConvertError",
    "ConvertRequest",
    "Converted",
    "DamagedFileError",
    "LayerGate",
    "MismatchError",
    "MissingFileError",
    "TargetError",
    "UnsupportedError",
    "convert",
    "layer_gates",
    "mean_entropy",
]
