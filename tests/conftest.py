"""What several test files share: the real model, and an engine that runs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real_model import smollm2

from synapse_engine import Engine


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The file of the real model."""
    return smollm2()


@pytest.fixture(scope="session")
def engine(smollm2_path: Path) -> Iterator[Engine]:
    """The real model, running. Shared: leave it as you found it, and do not close it."""
    with Engine(smollm2_path, max_sequences=8) as engine:
        yield engine
