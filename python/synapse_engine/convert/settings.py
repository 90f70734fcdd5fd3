"""The configuration beside a checkpoint: Julia's ``config.toml`` or a JSON object. Only what fixes shapes is read."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DamagedFileError, UnsupportedError
from .files import read_json, read_text
from .shape import ORGANELLES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LARGEST = 1 << 20
_MOST_LAYERS = 1000
_LONGEST_SHOWN = 100
_NAMES = {
    "hidden_size": ("embed_dim", "d_model"), "layers": ("n_layers",), "attention_heads": ("n_heads",),
    "head_dim": ("head_dim",), "monarch_heads": ("n_monarch_heads",), "conv_kernel_size": ("conv_kernel_size",),
    "context": ("context_length",), "vocab_size": ("vocab_size",),
}  # fmt: skip
# Settings that would change the numbers in a way that the engine does not compute, and the value that it does.
_FIXED = {"bias": False, "weight_tying": True, "use_moe": False}


@dataclass(frozen=True)
class Settings:
    """What a configuration says about shapes; None where it is silent."""

    hidden_size: int | None = None
    layers: int | None = None
    attention_heads: int | None = None
    head_dim: int | None = None
    monarch_heads: int | None = None
    conv_kernel_size: int | None = None
    context: int | None = None
    vocab_size: int | None = None
    organelles: tuple[tuple[str, ...], ...] | None = None
    """One list for all layers, or one for each."""


def read_settings(path: Path) -> Settings:
    """From a ``.toml`` or ``.json`` file; raises ConvertError."""
    content = read_json(path) if path.suffix.lower() == ".json" else _read_toml(path)
    return parse_settings(content, path.name)


def parse_settings(content: Any, name: str) -> Settings:
    """From the object itself, or the section ``model`` in it."""
    model = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise DamagedFileError(f"{name}: expected a section [model]", "give the configuration with --config FILE")
    for key, runs in _FIXED.items():
        if model.get(key, runs) != runs:
            raise UnsupportedError(
                f"{name}: `{key}` is {_shown(model[key])}; the engine runs {runs} only", "no option changes that"
            )
    values = {field: _count(model, keys, name) for field, keys in _NAMES.items()}
    return Settings(**values, organelles=_organelles(model, name))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{path.name} is not TOML: {error}", "get the file again") from error


def _count(model: dict[str, Any], keys: tuple[str, ...], name: str) -> int | None:
    key = next((key for key in keys if key in model), None)
    if key is None:
        return None
    value = model[key]
    most = _MOST_LAYERS if key == "n_layers" else _LARGEST
    if type(value) is not int or not 0 < value <= most:
        raise DamagedFileError(f"{name}: `{key}` is {_shown(value)}; expected a count", "correct the configuration")
    return value


def _organelles(model: dict[str, Any], name: str) -> tuple[tuple[str, ...], ...] | None:
    lists = model.get("per_layer_organelles") or ([model["organelles"]] if "organelles" in model else None)
    if lists is None:
        return None
    if not isinstance(lists, list | tuple) or len(lists) > _MOST_LAYERS or not all(map(_is_short_list, lists)):
        raise DamagedFileError(f"{name}: `organelles` is not a list of names", "correct the configuration")
    unknown = [organelle for each in lists for organelle in each if organelle not in ORGANELLES]
    if unknown:
        raise UnsupportedError(
            f"{name}: unknown organelle {_shown(unknown[0])}", f"the engine runs {', '.join(ORGANELLES)}"
        )
    return tuple(tuple(each) for each in lists)


def _is_short_list(names: Any) -> bool:
    return isinstance(names, list | tuple) and len(names) <= len(ORGANELLES)


def _shown(value: Any) -> str:
    """For a message. Lists are not written out: one from a pickle may hold itself a million times."""
    return repr(value)[:_LONGEST_SHOWN] if isinstance(value, str | int | float) else f"a {type(value).__name__}"
