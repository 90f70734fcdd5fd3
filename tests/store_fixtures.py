"""Fixtures of the tests of the store and the command line."""

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh SYNAPSE_HOME; nothing of the machine's own settings or hub tokens leaks in."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SYNAPSE_HOME", str(folder))
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return folder
