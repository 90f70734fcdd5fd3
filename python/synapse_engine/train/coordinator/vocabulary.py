"""The coordinator's tokens: a byte-level BPE vocabulary of small letters, without accents, every digit a 0.

Learnt from generated requests and from a list of common words, as no grammar has them all. Knows no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from synapse_engine.train.coordinator.reading import MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# The first word of a list counts as if the text had it so often, one of rank r as often as this divided by r + 1000.
_WEIGHT = 400_000


def learn_vocabulary(texts: Iterable[str], words: Sequence[str], size: int) -> Tokenizer:
    """A tokenizer of at most ``size`` tokens, the markers first; ``words`` begins with the most common."""
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
    tokenizer.train_from_iterator(_with_words(texts, words), trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def read_vocabulary(text: str) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``."""
    tokenizer: Tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _with_words(texts: Iterable[str], words: Sequence[str]) -> Iterator[str]:
    yield from texts
    for rank, word in enumerate(words):
        yield f" {word}" * max(1, _WEIGHT // (rank + 1000))
