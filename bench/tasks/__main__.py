"""``python -m bench.tasks FOLDER``: writes the conversations that the two specialists learn from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.tasks.task import KINDS, conversation, training


def write(folder: Path, count: int, seed: int) -> list[Path]:
    """KIND.jsonl for each kind, with ``count`` conversations."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind in KINDS:
        files.append(folder / f"{kind}.jsonl")
        lines = (json.dumps(conversation(task), ensure_ascii=False) + "\n" for task in training(kind, count, seed))
        files[-1].write_text("".join(lines), encoding="utf-8")
    return files


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.tasks", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=6000, help="conversations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for file in write(options.folder, options.count, options.seed):
        print(file)


if __name__ == "__main__":
    main()
