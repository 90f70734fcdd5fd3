"""From files of text to windows of tokens: split, encode, cache, and an order that the step number alone decides."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer

from synapse_engine.train.errors import DataError
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.tokenizer import learn_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

TEXT_SUFFIXES = (".txt", ".md", ".text")
_LINES_AT_ONCE = 20_000


@dataclass(frozen=True)
class Split:
    """A file's text in two contiguous parts; the end of each file is for validation."""

    training: str
    validation: str


def read_splits(data: Path, validation_share: float) -> list[Split]:
    """Reads a file, or the text files below a folder in the order of their names."""
    files = sorted(f for f in data.rglob("*") if f.suffix in TEXT_SUFFIXES) if data.is_dir() else [data]
    if not files:
        raise DataError(f"{data}: no text files", f"training reads files that end in {', '.join(TEXT_SUFFIXES)}")
    return [_split(_read(file), validation_share) for file in files]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: not UTF-8 text, byte {error.start}", "convert it first, for example with iconv"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file or folder", "name a text file or a folder of text files") from error


def _split(text: str, validation_share: float) -> Split:
    # Cut at the end of a line, so that no sentence stands on both sides; text that is one line, between words.
    end = int(len(text) * (1 - validation_share))
    cut = text.rfind("\n", 0, end) + 1 or text.rfind(" ", 0, end) + 1 or end
    return Split(text[:cut], text[cut:])


@dataclass(frozen=True)
class Tokens:
    """The encoded text; ``digest`` names the text and the vocabulary."""

    training: NDArray[np.uint16]
    validation: NDArray[np.uint16]
    digest: str


def prepare(
    data: Path, tokenizer_file: Path, cache: Path, vocab_size: int, validation_share: float = 0.02
) -> tuple[Tokenizer, Tokens]:
    """Learns the vocabulary from the training part unless ``tokenizer_file`` exists, and encodes both parts once."""
    splits = read_splits(data, validation_share)
    if not tokenizer_file.exists():
        learned = learn_tokenizer((line for split in splits for line in _batches(split.training)), vocab_size)
        RunFolder.write(tokenizer_file, lambda file: learned.save(str(file)))
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    digest = _digest(splits, tokenizer)
    cached = cache / f"tokens-{digest}.npz"
    if not cached.exists():
        cache.mkdir(parents=True, exist_ok=True)
        training = _encode(tokenizer, [split.training for split in splits])
        validation = _encode(tokenizer, [split.validation for split in splits])
        RunFolder.write(cached, lambda file: _save(file, training, validation))
    with np.load(cached) as arrays:
        return tokenizer, Tokens(arrays["training"], arrays["validation"], digest)


def _save(file: Path, training: NDArray[np.uint16], validation: NDArray[np.uint16]) -> None:
    with file.open("wb") as opened:  # a path would get a suffix
        np.savez(opened, training=training, validation=validation)


def _digest(splits: list[Split], tokenizer: Tokenizer) -> str:
    digest = hashlib.sha256(tokenizer.to_str().encode())
    for split in splits:
        digest.update(split.training.encode() + b"\0" + split.validation.encode() + b"\0")
    return digest.hexdigest()[:16]


def _encode(tokenizer: Tokenizer, texts: list[str]) -> NDArray[np.uint16]:
    batches = [batch for text in texts for batch in _batches(text)]
    numbers = [np.array(tokenizer.encode(batch, add_special_tokens=False).ids, np.uint16) for batch in batches]
    return np.concatenate([np.zeros(0, np.uint16), *numbers])


def _batches(text: str) -> Iterator[str]:
    # Whole lines, as a break inside a word would give other tokens than the text has.
    lines = text.splitlines(keepends=True)
    for start in range(0, len(lines), _LINES_AT_ONCE):
        yield "".join(lines[start : start + _LINES_AT_ONCE])


class Windows:
    """Windows of ``length + 1`` tokens that do not overlap; the first ``length`` predict the last."""

    def __init__(self, tokens: NDArray[np.uint16], length: int, seed: int, what: str) -> None:
        self.count = len(tokens) // (length + 1)
        if self.count == 0:
            raise DataError(
                f"the {what} text has {len(tokens)} tokens, one window needs {length + 1}",
                "add text; the last 2 % of each file are held out for validation",
            )
        self._rows = tokens[: self.count * (length + 1)].reshape(self.count, length + 1)
        self._seed = seed
        self._epoch, self._order = -1, np.arange(self.count)

    def batch(self, first: int, size: int) -> Tensor:
        """Windows number ``first`` and following of an endless shuffled sequence, (size, length + 1)."""
        rows = [self._row(first + i) for i in range(size)]
        return torch.from_numpy(self._rows[rows].astype(np.int64))

    def in_order(self, size: int, limit: int | None = None) -> Iterator[Tensor]:
        """The first ``limit`` windows as they stand in the text, ``size`` at once."""
        count = min(limit or self.count, self.count)
        for start in range(0, count, size):
            yield torch.from_numpy(self._rows[start : min(start + size, count)].astype(np.int64))

    def spread(self, limit: int) -> Windows:
        """``limit`` windows at equal distances, so that all of the text is represented."""
        chosen = np.unique(np.linspace(0, self.count - 1, min(limit, self.count)).astype(int))
        return Windows(self._rows[chosen].reshape(-1), self._rows.shape[1] - 1, self._seed, "validation")

    def _row(self, number: int) -> int:
        epoch, place = divmod(number, self.count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self._seed, epoch)).permutation(self.count)
        return int(self._order[place])
