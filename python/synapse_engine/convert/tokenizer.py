"""Writes ``tokenizer.json`` from ``vocab.json`` and ``merges.txt``. Does not tokenize.

The family uses GPT-2's byte-level BPE and pattern, without special tokens and normalizer; pieces that the vocabulary
lacks are dropped. A vocabulary that is a list instead of a table is one of single characters.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import DamagedFileError, MismatchError, MissingFileError
from .files import read_json, read_text

_HINT = "--tokenizer names the folder with vocab.json and merges.txt, or a tokenizer.json"
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


@dataclass
class TokenizerFiles:
    """The content of ``tokenizer.json``, and what there is to say of it."""

    content: dict[str, Any]
    tokens: int
    """One more than the highest id."""
    notes: list[str] = field(default_factory=list)


def find_tokenizer(place: Path) -> TokenizerFiles:
    """From a file, or the files in a folder; raises ConvertError."""
    for path in [place] if place.is_file() else [place / "tokenizer.json", place / "tokenizer" / "tokenizer.json"]:
        if path.is_file() and path.name != "vocab.json":
            return _ready_made(path)
    vocabulary = place if place.is_file() else place / "vocab.json"
    if not vocabulary.is_file():
        raise MissingFileError(f"{place} has no tokenizer.json and no vocab.json", _HINT)
    table = read_json(vocabulary)
    if isinstance(table, list):
        return _characters(table, vocabulary.name)
    return _byte_level(_checked(table, vocabulary.name), vocabulary.with_name("merges.txt"))


def check_size(tokenizer: TokenizerFiles, rows: int) -> None:
    """Every id needs a row of the embedding; rows without an id are padding, and noted."""
    if tokenizer.tokens > rows:
        raise MismatchError(f"the tokenizer has ids up to {tokenizer.tokens - 1}; the embedding has {rows} rows", _HINT)
    if tokenizer.tokens < rows:
        tokenizer.notes.append(f"{rows - tokenizer.tokens} of {rows} rows of the embedding have no token")


def dump(tokenizer: TokenizerFiles) -> str:
    """The text of ``tokenizer.json``; raises DamagedFileError for tokens that are no Unicode text."""
    text = json.dumps(tokenizer.content, ensure_ascii=False, indent=1) + "\n"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DamagedFileError(
            f"the tokenizer has half a character as a token: {error.object[error.start]!r}", _HINT
        ) from error
    return text


def _ready_made(path: Path) -> TokenizerFiles:
    content = read_json(path)
    try:
        vocabulary = content["model"]["vocab"]
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else range(len(vocabulary))
        added = [token["id"] for token in content.get("added_tokens") or []]
        tokens = 1 + max(int(each) for each in [*ids, *added])
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise DamagedFileError(f"{path.name} is not a tokenizer: {error!r}", _HINT) from error
    return TokenizerFiles(content, tokens)


def _checked(table: Any, name: str) -> dict[str, int]:
    if not isinstance(table, dict) or not table:
        raise DamagedFileError(f"{name}: expected a table from tokens to ids", _HINT)
    ids = list(table.values())
    if any(type(each) is not int or each < 0 for each in ids) or len(set(ids)) != len(ids):
        raise DamagedFileError(f"{name}: ids are not counts, or two tokens share one", _HINT)
    return table


def _byte_level(vocabulary: dict[str, int], merges_path: Path) -> TokenizerFiles:
    notes = []
    merges = _read_merges(merges_path) if merges_path.is_file() else []
    if not merges_path.is_file():
        notes.append(f"there is no {merges_path.name}: every byte is a token")
    known = [pair for pair in merges if {*pair, "".join(pair)} <= vocabulary.keys()]
    if len(known) < len(merges):
        notes.append(f"left out {len(merges) - len(known)} merges of pieces that the vocabulary lacks")
    return TokenizerFiles(_bpe(vocabulary, known, _BYTE_LEVEL, _BYTE_LEVEL), max(vocabulary.values()) + 1, notes)


def _read_merges(path: Path) -> list[list[str]]:
    lines = read_text(path).split("\n")
    if lines[0].startswith("#"):
        del lines[0]
    return [pair for line in lines if len(pair := line.split()) == 2]


def _characters(table: list[Any], name: str) -> TokenizerFiles:
    if not table or any(not isinstance(each, str) or len(each) != 1 for each in table) or len(set(table)) < len(table):
        raise DamagedFileError(f"{name}: a list that is a vocabulary has different single characters", _HINT)
    vocabulary = {character: index for index, character in enumerate(table)}
    # The decoder joins characters as they are; by ByteFallback the engine knows that they do not spell bytes.
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    return TokenizerFiles(_bpe(vocabulary, [], None, decoder), len(table), ["the vocabulary is one of characters"])


def _bpe(
    vocabulary: dict[str, int], merges: list[list[str]], pre_tokenizer: dict[str, Any] | None, decoder: dict[str, Any]
) -> dict[str, Any]:
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])), "merges": merges,
        },
    }  # fmt: skip
