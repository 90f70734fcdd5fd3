"""The model that everything is merged into: its weights, its settings, and the files that go along unchanged."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapse_engine.convert.errors import DamagedFileError, MissingFileError, UnsupportedError
from synapse_engine.convert.files import read_json
from synapse_engine.convert.target import write_json

from .formats import NAME_OF
from .weights import INDEX, SINGLE, Weights, read_weights

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_ALONG = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "LICENSE*", "NOTICE*",
)  # fmt: skip
_FULL = "merge into the model as it was before it was quantized: a folder with safetensors weights and config.json"


@dataclass(frozen=True)
class Base:
    """A folder as Hugging Face writes it."""

    folder: Path
    weights: Weights
    config: dict[str, Any]

    def check_untied(self, tensor: str, source: str) -> None:
        """An adapter changes the embedding or the output; a merge into one tensor for both would change both."""
        tied = self.config.get("tie_word_embeddings", _HEAD not in self.weights.tensors)
        if tied and tensor in (_EMBEDDING, _HEAD):
            raise UnsupportedError(
                f"{source} changes `{tensor}`, which the base uses for its input and its output alike",
                "train the adapter without embed_tokens and lm_head, or serve it beside the base without a merge",
            )

    def copy_along(self, folder: Path, dtype: str | None) -> None:
        """Writes the configuration, with the new number format if there is one, and copies tokenizer and templates."""
        key = "torch_dtype" if "torch_dtype" in self.config else "dtype"
        write_json(folder / "config.json", self.config | ({key: NAME_OF[dtype]} if dtype else {}))
        for pattern in _ALONG:
            for file in sorted(self.folder.glob(pattern)):
                if file.is_file():
                    shutil.copyfile(file, folder / file.name)


def open_base(path: Path) -> Base:
    """Raises ConvertError for everything that is not a model in floating-point numbers, with what to name instead."""
    if path.suffix.lower() == ".gguf" or (path.is_dir() and any(path.glob("*.gguf")) and not _has_weights(path)):
        raise UnsupportedError(f"{path.name} is GGUF, whose quantized weights a merge would have to round again", _FULL)
    if path.is_file():
        raise UnsupportedError(f"{path} is a file; a base is a folder", "name the folder that the file is in")
    if not path.is_dir():
        raise MissingFileError(f"{path}: no such folder", "name a folder, or a model that `synapse ls` shows")
    if not (path / "config.json").is_file():
        raise MissingFileError(f"{path} has no config.json", _FULL)
    config = read_json(path / "config.json")
    if not isinstance(config, dict):
        raise DamagedFileError("config.json is not a table of settings", "get the model again")
    if config.get("quantization_config"):
        raise UnsupportedError(f"{path.name} is quantized: config.json has a quantization_config", _FULL)
    return Base(path, read_weights(path), config)


def _has_weights(folder: Path) -> bool:
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()
