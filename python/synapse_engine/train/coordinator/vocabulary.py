"""The coordinator's tokens: a byte-level BPE vocabulary of small letters, without accents, every digit a 0.

Learnt from generated requests and, for words that no grammar has, from a donor's vocabulary, whose embedding gives
every token a first meaning. Knows no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from synapse_engine.train.coordinator.reading import MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from synapse_engine.train.donor import Donor

# A donor's word counts as if it stood so often in the text, divided by its rank.
_WEIGHT = 400_000


def learn_vocabulary(texts: Iterable[str], donor: Donor | None, size: int) -> Tokenizer:
    """A tokenizer of at most ``size`` tokens, the markers first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[0-9]"), "0"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_words(texts, donor), trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def read_vocabulary(text: str) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``."""
    tokenizer: Tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _with_words(texts: Iterable[str], donor: Donor | None) -> Iterator[str]:
    yield from texts
    if donor is None:
        return
    vocabulary = Tokenizer.from_str(donor.tokenizer.decode()).get_vocab()
    for token, rank in vocabulary.items():
        word = token.removeprefix("Ġ")
        if token.startswith("Ġ") and len(word) > 2 and word.isascii() and word.isalpha() and word.islower():
            yield f" {word}" * max(1, _WEIGHT // (rank + 1000))


def first_meanings(tokenizer: Tokenizer, donor: Donor, width: int) -> Tensor:
    """An embedding (tokens, width): for each token the mean of the donor's tokens of its text, on their main axes.

    Scaled so that the numbers have a standard deviation of 0.02, as fresh embeddings have.
    """
    reader = Tokenizer.from_str(donor.tokenizer.decode())
    rows = []
    for token in range(tokenizer.get_vocab_size()):
        ids = reader.encode(tokenizer.decode([token], skip_special_tokens=False), add_special_tokens=False).ids
        rows.append(donor.embedding[ids].mean(0) if ids else torch.zeros(donor.embedding.shape[1]))
    table = torch.stack(rows)
    table -= table.mean(0)
    _, _, axes = torch.linalg.svd(table, full_matrices=False)
    table = table @ axes[:width].T
    scaled: Tensor = 0.02 * table / table.std()
    return scaled
