"""Puts specialists into a folder: all of one or nothing of it, also when the process is killed. Checks no field."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from synapse_engine.specialists.adapters import AdapterFiles
from synapse_engine.specialists.reading import SpecialistError
from synapse_engine.store.lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from synapse_engine.specialists.reading import Specialist

ADAPTERS = "adapters"
_UNFINISHED = ".adding-"
# What users have put there themselves stays.
_OURS = re.compile(r"(\.adding-)?[a-z0-9_-]+-[0-9a-f]{16}")


def write(folder: Path, specialist: Specialist, taken: Mapping[str, str]) -> Path:
    """Copies a specialist and its adapter into ``folder``, and returns its file there.

    ``taken``: the folder's files with the names of their specialists. The last step is one rename; before it, nothing
    of the new specialist is in sight.
    """
    with locked(folder / ".lock"):
        _sweep(folder)
        if specialist.adapter is not None:
            copy = _keep_adapter(folder, specialist.name, AdapterFiles.at(specialist.adapter))
            specialist = replace(specialist, adapter=copy.relative_to(folder))
        file = folder / _file_name(specialist.name, taken)
        _write_whole(file, document(specialist))
        return file


def remove(folder: Path, file: Path) -> None:
    """Removes a specialist's file, and the adapters that none refers to any more."""
    with locked(folder / ".lock"):
        file.unlink(missing_ok=True)
        _sweep(folder)


def document(specialist: Specialist) -> str:
    """The specialist as TOML."""
    lines = [f"name = {_quoted(specialist.name)}", f"description = {_quoted(specialist.description)}", "examples = ["]
    lines += [f"    {_quoted(example)}," for example in specialist.examples]
    lines.append("]")
    if specialist.system_prompt:
        lines.append(f"system_prompt = {_quoted(specialist.system_prompt)}")
    if specialist.adapter is not None:
        lines.append(f"adapter = {_quoted(specialist.adapter.as_posix())}")
    if specialist.sampling:
        lines += ["", "[sampling]", *(f"{name} = {value!r}" for name, value in specialist.sampling.items())]
    return "\n".join(lines) + "\n"


def _file_name(name: str, taken: Mapping[str, str]) -> str:
    """The file that this name has, or a new one."""
    mine = [file for file, owner in taken.items() if owner == name]
    fresh = (f"{name}{number}.toml" for number in ("", *range(2, len(taken) + 3)))
    return mine[0] if mine else next(file for file in fresh if file not in taken)


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's, and the one control character that JSON lets through."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _keep_adapter(folder: Path, name: str, files: AdapterFiles) -> Path:
    """Named after its contents: a server that has the one before goes on with that."""
    kept = folder / ADAPTERS / f"{name}-{files.digest()}"
    if not kept.is_dir():
        fresh = kept.with_name(f"{_UNFINISHED}{kept.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for file in files.parts:
            shutil.copyfile(file, fresh / file.name)
        fresh.replace(kept)
    return files.within(kept)


def _write_whole(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise SpecialistError(f"half of a character at letter {error.start} of the file", "write whole ones") from error
    with fresh.open("wb") as output:
        output.write(data)
        output.flush()
        os.fsync(output.fileno())
    fresh.replace(file)


# Done before something is added, not after: what was replaced last stays for servers that are about to load it.
def _sweep(folder: Path) -> None:
    """Removes what killed processes left, and adapters that no file refers to."""
    for unfinished in folder.glob(".*.toml.new"):
        unfinished.unlink()
    texts = [file.read_text("utf-8", errors="replace") for file in folder.glob("*.toml") if file.is_file()]
    for kept in _children(folder / ADAPTERS):
        if _OURS.fullmatch(kept.name) and not any(f"{ADAPTERS}/{kept.name}" in text for text in texts):
            shutil.rmtree(kept, ignore_errors=True)


def _children(folder: Path) -> Iterable[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
