"""Synapse Engine: language models on your own machine. The public names; knows nothing of how they work.

Each name is imported when it is first used, so that ``synapse --help`` does not wait for asyncio.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from synapse_engine._engine import (
    AdapterError,
    ClosedError,
    ContextLengthError,
    EngineError,
    FileError,
    FormatError,
    InternalError,
    ModelError,
    QueueFullError,
    QueueTimeoutError,
    RequestError,
    __version__,
)

if TYPE_CHECKING:
    from synapse_engine.engine import Engine
    from synapse_engine.options import GenerateOptions
    from synapse_engine.results import Generation, Token, TokenChoice, Usage
    from synapse_engine.streams import Stream

__all__ = [
    "AdapterError",
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
    "QueueTimeoutError",
    "RequestError",
    "Stream",
    "Token",
    "TokenChoice",
    "Usage",
    "__version__",
]

_MODULES = {
    "Engine": "engine",
    "GenerateOptions": "options",
    "Generation": "results",
    "Stream": "streams",
    "Token": "results",
    "TokenChoice": "results",
    "Usage": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
