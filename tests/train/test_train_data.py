"""Text to windows: nothing is lost or mixed up between files, splits and epochs."""

from pathlib import Path

import numpy as np
import pytest
from tiny_training import text
from tokenizers import Tokenizer

from synapse_engine.train.dataset import Windows, prepare, read_splits
from synapse_engine.train.errors import DataError
from synapse_engine.train.tokenizer import learn_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "texts"
    (data / "deeper").mkdir(parents=True)
    (data / "b.txt").write_text(text(200, seed=1))
    (data / "deeper" / "a.md").write_text(text(100, seed=2))
    (data / "picture.png").write_bytes(b"\xff\xfe")
    return data


def test_each_file_gives_its_end_for_validation(folder: Path) -> None:
    splits = read_splits(folder, 0.1)
    assert [split.training + split.validation for split in splits] == [text(200, 1), text(100, 2)]
    assert all(split.training.endswith(".\n") and split.validation for split in splits)
    assert len(splits[0].validation) == pytest.approx(0.1 * len(text(200, 1)), abs=60)


@pytest.mark.parametrize(("written", "training"), [("a b c d e f g h i j", "a b c d e f g "), ("x" * 100, "x" * 75)])
def test_a_text_of_one_line(tmp_path: Path, written: str, training: str) -> None:
    (tmp_path / "line.txt").write_text(written)
    (split,) = read_splits(tmp_path / "line.txt", 0.25)
    assert (split.training, split.training + split.validation) == (training, written)


def test_tokens_are_the_text(folder: Path, tmp_path: Path) -> None:
    tokenizer, tokens = prepare(folder, tmp_path / "tokenizer.json", tmp_path / "cache", 300, 0.1)
    splits = read_splits(folder, 0.1)
    assert tokenizer.decode(tokens.training.tolist()) == "".join(split.training for split in splits)
    assert tokenizer.decode(tokens.validation.tolist()) == "".join(split.validation for split in splits)


def test_the_cache_is_used_and_follows_the_text(folder: Path, tmp_path: Path) -> None:
    vocabulary, cache = tmp_path / "tokenizer.json", tmp_path / "cache"
    _, before = prepare(folder, vocabulary, cache, 300)
    (file,) = cache.iterdir()
    np.savez(file, training=np.arange(5, dtype=np.uint16), validation=before.validation)
    assert prepare(folder, vocabulary, cache, 300)[1].training.tolist() == [0, 1, 2, 3, 4]
    (folder / "c.txt").write_text("One more line of text.\n")
    _, after = prepare(folder, vocabulary, cache, 300)
    assert after.digest != before.digest
    assert len(after.training) + len(after.validation) > len(before.training) + len(before.validation)


def test_vocabulary_is_gpt2s_kind() -> None:
    tokenizer = learn_tokenizer([text(300)], 290)
    assert tokenizer.get_vocab_size() == 290
    assert {tokenizer.id_to_token(number) for number in range(256)} >= {"a", "\u0120", "\u010a", "\u00ff"}
    awkward = "It's 100% odd:\t\u00e9\u4e2d\U0001f600 \n\n  end"
    assert tokenizer.decode(tokenizer.encode(awkward).ids) == awkward
    pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("we're  at 42!")]
    assert pieces == ["we", "'re", "\u0120", "\u0120at", "\u012042", "!"]
    assert Tokenizer.from_str(tokenizer.to_str()).encode("the cat").ids == tokenizer.encode("the cat").ids


def test_a_vocabulary_needs_the_bytes() -> None:
    with pytest.raises(DataError, match="cannot hold the 256 bytes"):
        learn_tokenizer(["text"], 200)


def test_windows_cover_the_text_once_an_epoch() -> None:
    tokens = np.arange(53, dtype=np.uint16)
    windows = Windows(tokens, 4, seed=3, what="training")
    assert windows.count == 10
    first = windows.batch(0, 10).tolist()
    assert sorted(first) == [list(range(start, start + 5)) for start in range(0, 50, 5)]
    assert first != sorted(first)
    assert sorted(windows.batch(10, 10).tolist()) == sorted(first)
    assert windows.batch(10, 10).tolist() != first
    across = windows.batch(8, 4).tolist()
    assert across == first[8:] + windows.batch(10, 2).tolist()
    assert Windows(tokens, 4, seed=3, what="training").batch(8, 4).tolist() == across


def test_windows_in_order_and_spread() -> None:
    windows = Windows(np.arange(50, dtype=np.uint16), 4, seed=0, what="training")
    rows = [row for batch in windows.in_order(3) for row in batch.tolist()]
    assert rows == [list(range(start, start + 5)) for start in range(0, 50, 5)]
    assert [len(batch) for batch in windows.in_order(3, limit=4)] == [3, 1]
    assert [row[0] for row in next(windows.spread(4).in_order(9)).tolist()] == [0, 15, 30, 45]
    assert windows.spread(99).count == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere.txt", "no such file"),
        (lambda p: p, "no text files"),
        (lambda p: _written(p / "a.txt", b"caf\xe9"), "not UTF-8 text, byte 3"),
    ],
)
def test_text_that_cannot_be_read(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_splits(make(tmp_path), 0.1)


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_too_little_text() -> None:
    with pytest.raises(DataError, match="validation text has 4 tokens, one window needs 5"):
        Windows(np.arange(4, dtype=np.uint16), 4, 0, "validation")
