"""Learns a byte-level BPE vocabulary from text, with GPT-2's pattern and alphabet. Knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from synapse_engine.train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

BYTES = 256


def learn_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of at most ``vocab_size`` tokens; the first 256 are the bytes, none is special."""
    if vocab_size < BYTES:
        raise DataError(f"a vocabulary of {vocab_size} cannot hold the {BYTES} bytes", "use --vocab-size 2000")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
