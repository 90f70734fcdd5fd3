"""What tokens mean before training: each one's text as a published sentence model embeds it.

A word that no grammar has then lies near those that the grammars have. Needs the ``transformers`` package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

_BATCH, _ROWS = 256, 1024
NEAR = 16


class SentenceModel:
    """A BERT whose mean hidden state embeds a sentence: a folder with ``model.safetensors`` and ``tokenizer.json``."""

    def __init__(self, folder: Path) -> None:
        from transformers import BertModel

        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._model = BertModel.from_pretrained(folder, add_pooling_layer=False)
        except Exception as error:  # both libraries raise what they like
            raise DataError(
                f"{folder}: not a sentence model: {error}", "docs/routing.md says where to get it"
            ) from error
        self._model.train(mode=False)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def words(self) -> list[str]:
        """Its whole words of small Latin letters, the most common first."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        ranked = sorted(vocabulary, key=lambda token: vocabulary[token])
        return [word for word in ranked if len(word) > 2 and word.isascii() and word.isalpha()]

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(texts, width), each of length 1."""
        ids = [self._tokenizer.encode(text).ids for text in texts]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        found = torch.zeros(len(ids), self._model.config.hidden_size)
        for start in range(0, len(order), _BATCH):
            group = order[start : start + _BATCH]
            found[group] = self._group([ids[at] for at in group])
        return functional.normalize(found, dim=-1)

    @torch.no_grad()
    def _group(self, ids: list[list[int]]) -> Tensor:
        longest = max(map(len, ids))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        mask = torch.arange(longest) < torch.tensor([len(row) for row in ids])[:, None]
        with torch.autocast("cpu", torch.bfloat16):
            states: Tensor = self._model(input_ids=padded, attention_mask=mask.long()).last_hidden_state.float()
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def meanings(tokenizer: Tokenizer, model: SentenceModel) -> Tensor:
    """(tokens, width of the model): what each token's text means, minus what all have in common."""
    texts = [tokenizer.decode([token], skip_special_tokens=False) for token in range(tokenizer.get_vocab_size())]
    table = model.embed(texts)
    return functional.normalize(table - table.mean(0), dim=-1)


def neighbours(tokenizer: Tokenizer, table: Tensor) -> dict[int, list[int]]:
    """For each token that begins a word of three letters or more the most similar others of this kind."""
    starts = [token for token in range(len(table)) if _starts_word(tokenizer.id_to_token(token) or "")]
    chosen = table[starts]
    rows = [
        (part @ chosen.T).topk(min(NEAR + 1, len(starts)), dim=-1).indices[:, 1:] for part in torch.split(chosen, _ROWS)
    ]
    near = torch.cat(rows).tolist() if rows else []
    return {token: [starts[at] for at in row] for token, row in zip(starts, near, strict=True)}


def _starts_word(token: str) -> bool:
    return token.startswith("Ġ") and len(token) > 3 and token[1:].isascii() and token[1:].isalpha()
