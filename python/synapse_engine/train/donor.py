"""Takes the vocabulary and the embedding of another model, to train between them. Reads safetensors folders only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from synapse_engine.train.symbio import SymbioModel

# What the input embedding is called in the families that people take one from.
EMBEDDINGS = ("embed_in.weight", "embed_tokens.weight", "wte.weight", "tok_emb.weight", "word_embeddings.weight")


@dataclass(frozen=True)
class Donor:
    """An embedding (vocabulary, width), and its tokenizer.json."""

    embedding: Tensor
    tokenizer: bytes


def read_donor(folder: Path) -> Donor:
    """The donor in a folder with safetensors files and a tokenizer.json."""
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.exists():
        raise DataError(f"{folder}: no tokenizer.json", "a donor is a folder with *.safetensors and tokenizer.json")
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (not a dict)
                    if name.endswith(EMBEDDINGS):
                        return Donor(tensors.get_tensor(name).float(), tokenizer.read_bytes())
        except SafetensorError as error:
            raise DataError(f"{file}: not a safetensors file: {error}", "fetch the donor again") from error
    raise DataError(f"{folder}: no input embedding in its safetensors files", f"looked for {', '.join(EMBEDDINGS)}")


def install_donor(model: SymbioModel, donor: Donor) -> None:
    """Copies the embedding into the model, where it stays frozen."""
    with torch.no_grad():
        model.donor.weight.copy_(donor.embedding)
