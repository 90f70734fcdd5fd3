"""Synapse Engine: language models on your own machine. The public names; knows nothing of how they work."""

from synapse_engine._engine import (
    ClosedError,
    ContextLengthError,
    EngineError,
    FileError,
    FormatError,
    InternalError,
    ModelError,
    QueueFullError,
    RequestError,
    __version__,
)
from synapse_engine.engine import Engine
from synapse_engine.options import GenerateOptions
from synapse_engine.results import Generation, Token, TokenChoice, Usage
from synapse_engine.streams import Stream

__all__ = [
    "ClosedError",
    "ContextLengthError",
    "Engine",
    "EngineError",
    "FileError",
    "FormatError",
    "GenerateOptions",
    "Generation",
    "InternalError",
    "ModelError",
    "QueueFullError",
    "RequestError",
    "Stream",
    "Token",
    "TokenChoice",
    "Usage",
    "__version__",
]
