"""The coordinator's tokens: whole words, parts of others, letters small and without accents, every digit a 0.

Every word stands for itself, whatever is around it: space, bracket or quotation mark. Knows no model.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from synapse_engine.train.coordinator.reading import MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterable

# Words, numbers, line ends and what else is no space.
_PART = r"\p{L}+|\p{N}+|\n|[^\s\p{L}\p{N}]+"
_WORD = r"\p{L}{3,}"


def learn_vocabulary(texts: Iterable[str], common: Iterable[str], size: int, pieces: int) -> Tokenizer:
    """A tokenizer of at most ``size`` tokens, the markers first, then at most ``pieces`` of a BPE of ``texts``.

    The others are whole words, the most frequent of ``common``, counted once a text.
    """
    bpe = _bare()
    trainer = trainers.BpeTrainer(
        vocab_size=min(size, pieces),
        special_tokens=list(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    learnt = json.loads(bpe.to_str())
    vocabulary: dict[str, int] = learnt["model"]["vocab"]
    for word, _ in _words(bpe, common).most_common():
        if len(vocabulary) >= size:
            break
        vocabulary.setdefault(word, len(vocabulary))
    learnt["model"]["ignore_merges"] = True  # whole words first
    return read_vocabulary(json.dumps(learnt))


def read_vocabulary(text: str) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``."""
    tokenizer: Tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _bare() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[0-9]"), "0"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PART), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """In how many texts each word is, as the vocabulary spells it; of equally frequent ones the first comes first."""
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    counts: Counter[str] = Counter()
    for text in texts:
        found = split.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
        counts.update(dict.fromkeys(word for word, _ in found).keys())
    return counts
