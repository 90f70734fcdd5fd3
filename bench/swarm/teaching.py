"""Finds specialists in folders, or trains them as a user would: with ``synapse train specialist``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from bench.tasks.__main__ import write
from bench.tasks.task import KINDS
from synapse_engine.specialists.reading import read_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synapse_engine.specialists import Specialist

CONVERSATIONS = 4000
SETTINGS = ["--batch-tokens", "1024", "--learning-rate", "1e-3", "--eval-conversations", "64", "--eval-every", "40"]
STEPS = {"arithmetic": 160, "sql": 100}
DESCRIPTIONS = {
    "arithmetic": "Word problems with numbers: sums, differences, products, shares and prices, "
    "answered with the working and the result.",
    "sql": "SQL queries from a question and the schema of a table: filters, counts, averages, groups and rankings.",
}


def train(base: Path, folder: Path, threads: int) -> list[Path]:
    """One run for each kind of task, below ``folder``; those that are complete end at once."""
    write(folder / "data", CONVERSATIONS, seed=0)
    for kind in KINDS:
        command = [
            sys.executable, "-m", "synapse_engine.cli", "train", "specialist", str(base), "--name", kind,
            "--data", str(folder / "data" / f"{kind}.jsonl"), "--description", DESCRIPTIONS[kind],
            "--out", str(folder / kind), "--steps", str(STEPS[kind]), "--threads", str(threads), *SETTINGS,
        ]  # fmt: skip
        subprocess.run(command, check=True)
    return [folder / kind for kind in KINDS]


def find(folders: Sequence[Path]) -> dict[str, Specialist]:
    """Those with an adapter, by name."""
    found = {one.name: one for folder in folders for one in read_folder(folder) if one.adapter}
    missing = [kind for kind in KINDS if kind not in found]
    if missing:
        raise SystemExit(
            f"no specialist {' and no '.join(missing)} in {', '.join(map(str, folders))}; use --train FOLDER"
        )
    return found


def history(specialist: Specialist) -> dict[str, Any]:
    """How it was trained, where its run lies beside it."""
    folder = specialist.source.parent if specialist.source else None
    if folder is None or not (folder / "run.json").exists():
        return {}
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    looks = [{"step": each["step"], "loss": each["loss"]} for each in log if each["kind"] == "validation"]
    return {**json.loads((folder / "run.json").read_text()), "steps_done": log[-1]["step"], "held_out_loss": looks}
