"""Writes a folder all at once: into a hidden one beside it, then one rename. No half model is ever left there."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from .errors import MismatchError, TargetError

_MARKS = ("config.json", "adapter_config.json")


def check_target(target: Path, *, force: bool) -> None:
    """Raises TargetError if something is there that must stay."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise TargetError(f"{target} is a file or a link; the target is a folder", "name another folder")
    if not target.exists():
        return
    if not force:
        raise TargetError(f"{target} exists", "name another folder, or replace this one with --force")
    if any(target.iterdir()) and not any((target / mark).is_file() for mark in _MARKS):
        raise TargetError(f"{target} holds something other than a model", "name another folder")


@contextmanager
def new_folder(target: Path, *, force: bool) -> Iterator[Path]:
    """An empty folder that takes the name ``target`` if the block ends well, and is gone if it does not."""
    check_target(target, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        folder = workplace / "new"
        folder.mkdir()
        yield folder
        check_target(target, force=force)
        if target.exists():
            target.replace(workplace / "old")
        folder.replace(target)
    finally:
        old = workplace / "old"
        if old.exists() and not target.exists():
            old.replace(target)
        shutil.rmtree(workplace, ignore_errors=True)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], dtype: str) -> None:
    """A safetensors file in ``float32`` or ``float16``; raises MismatchError for numbers that float16 cannot hold."""
    with np.errstate(over="ignore"):
        converted = {name: np.ascontiguousarray(array, dtype=dtype) for name, array in tensors.items()}
    for name, array in converted.items():
        if not np.isfinite(array).all():
            raise MismatchError(f"tensor `{name}` has numbers that float16 cannot hold", "convert with --dtype float32")
    write_bytes(path, save(converted, {"format": "pt"}))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Indented, with a last newline."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """On the disk when it returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
