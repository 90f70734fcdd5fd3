"""``adapter_config.json`` of a PEFT adapter: the factor of its numbers, and whether a merge can mean the same.

Every setting either leaves the numbers alone, or is understood here, or is refused by name if it is set.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite, sqrt
from pathlib import Path
from typing import Any, TypeVar

from synapse_engine.convert.errors import DamagedFileError, MissingFileError, UnsupportedError
from synapse_engine.convert.files import read_json

_Number = TypeVar("_Number", int, float)
CONFIG = "adapter_config.json"
_UNDERSTOOD = {
    "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "bias",
    "init_lora_weights", "exclude_modules", "layers_to_transform", "layers_pattern", "base_model_name_or_path",
}  # fmt: skip
# About training, about finding the base, or of no effect without another setting that is refused.
_HARMLESS = {
    "task_type", "auto_mapping", "peft_version", "revision", "inference_mode", "lora_dropout", "megatron_core",
    "qalora_group_size", "runtime_config", "eva_config", "loftq_config",
}  # fmt: skip
_EMPTY: tuple[object, ...] = (None, False, [], {}, "")
# Starts that leave the base's weights alone; the others begin with a base of their own, which must be merged into.
_INITS: tuple[object, ...] = (True, False, None, "gaussian", "eva", "orthogonal")
_OWN_BASE = "merge it into its base with peft (merge_and_unload), and give the result as a model"


@dataclass(frozen=True)
class AdapterSettings:
    """What a merge needs to know."""

    rank: int
    alpha: float
    rslora: bool = False
    ranks: dict[str, int] = field(default_factory=dict)
    """Ranks of some modules: regular expressions for the last parts of their names."""
    alphas: dict[str, float] = field(default_factory=dict)
    targets: tuple[str, ...] | None = None
    """Last parts of names of which every module has an adapter; None if that is not so simple."""
    base: str | None = None

    def rank_of(self, module: str) -> int:
        """The rank of a module's matrices."""
        return next(_matching(self.ranks, module), self.rank)

    def scale(self, module: str) -> float:
        """``alpha / r``; ``alpha / sqrt(r)`` if stabilised (Kalajdzievski 2023)."""
        rank = self.rank_of(module)
        return next(_matching(self.alphas, module), self.alpha) / (sqrt(rank) if self.rslora else rank)


def read_settings(folder: Path) -> AdapterSettings:
    """Raises ConvertError, with the name of the setting that cannot be merged."""
    if not (folder / CONFIG).is_file():
        raise MissingFileError(f"{folder} has no {CONFIG}", "name the folder that PEFT has saved")
    content = read_json(folder / CONFIG)
    if not isinstance(content, dict):
        raise DamagedFileError(f"{folder.name}/{CONFIG} is not a table of settings", "save the adapter again")
    _refuse(content, folder.name)
    try:
        return _settings(content)
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise DamagedFileError(f"{folder.name}/{CONFIG}: {error!r}", "save the adapter again") from error


def _refuse(content: dict[str, Any], name: str) -> None:
    where = f"{name}/{CONFIG}"
    if content.get("peft_type") != "LORA":
        raise UnsupportedError(
            f"{where}: peft_type is {content.get('peft_type')!r}; only LORA can be merged", _OWN_BASE
        )
    if content.get("bias", "none") != "none":
        raise UnsupportedError(f"{where}: bias is {content['bias']!r}; only 'none' can be merged", _OWN_BASE)
    if (start := content.get("init_lora_weights")) not in _INITS:
        raise UnsupportedError(
            f"{where}: init_lora_weights is {start!r}, which begins with other weights than the base's",
            "save it as plain LoRA (save_pretrained with path_initial_model_for_weight_conversion)",
        )
    for key, value in content.items():
        if key not in _UNDERSTOOD | _HARMLESS and value not in _EMPTY:
            raise UnsupportedError(f"{where}: {key} is set, which a merge cannot do", _OWN_BASE)


def _settings(content: dict[str, Any]) -> AdapterSettings:
    ranks, alphas = content.get("rank_pattern") or {}, content.get("alpha_pattern") or {}
    for pattern in [*ranks, *alphas]:
        re.compile(pattern)
    targets = content.get("target_modules")
    chosen = any(content.get(key) for key in ("exclude_modules", "layers_pattern")) or (
        content.get("layers_to_transform") is not None
    )
    return AdapterSettings(
        rank=_rank(content["r"]),
        alpha=_finite(content["lora_alpha"]),
        rslora=bool(content.get("use_rslora")),
        ranks={pattern: _rank(value) for pattern, value in ranks.items()},
        alphas={pattern: _finite(value) for pattern, value in alphas.items()},
        targets=tuple(sorted(map(str, targets))) if isinstance(targets, list) and not chosen else None,
        base=content.get("base_model_name_or_path") or None,
    )


def _matching(table: dict[str, _Number], module: str) -> Iterator[_Number]:
    """As PEFT looks them up: patterns that fit the end of the name, from a dot on; the first counts."""
    return (value for key, value in table.items() if re.match(rf"(.*\.)?({key})$", module))


def _rank(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"a rank is {value!r}")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isfinite(number := float(value)):
        raise ValueError(f"an alpha is {value!r}")
    return number
