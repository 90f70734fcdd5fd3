"""Measurements on disk: a JSON file each, in a folder for each kind of machine. Knows nothing of what was measured."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from synapse_engine.cli import machine
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def default_folder() -> Path:
    """``bench/records`` of a checkout, or a folder of this user."""
    checkout = machine.checkout()
    return checkout / "bench" / "records" if checkout else home().data / "records"


def save(what: str, measured: dict[str, Any], folder: Path, label: str = "") -> Path:
    """Writes FOLDER/MACHINE/DATE-COMMIT[-LABEL].json; a later record of the same name replaces it.

    ``what`` names the kind of measurement; with the machine and the commit it stands before what was measured.
    """
    described, commit = machine.describe(), machine.commit()
    today = dt.datetime.now(tz=dt.timezone.utc)
    record = {"what": what, "date": today.isoformat(timespec="seconds"), "commit": commit, "machine": described}
    ending = "-" + re.sub(r"[^A-Za-z0-9._-]+", "-", label) if label else ""
    path = folder / machine.slug(described) / f"{today.date().isoformat()}-{commit}{ending}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**record, **measured}, indent=1) + "\n", encoding="utf-8")
    return path


def newest(what: str, folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The last record of this kind from this kind of machine."""
    found = sorted(_all(what, folder), key=lambda each: (each[1].get("date", each[0].name[:10]), each[0].name))
    return found[-1] if found else None


def _all(what: str, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in (folder / machine.slug(machine.describe())).glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("what") == what:
            yield path, record
