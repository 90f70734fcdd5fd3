"""`kill -9` during a pull, at random moments: never a half model, and the next pull works."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store_support import FakeHub, gguf_bytes, serving
from synapse_engine.store import PullRequest, Silent, Store, pull

pytest_plugins = ["store_fixtures"]


def _start(*arguments: str, hub: str | None = None) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, **({"HF_ENDPOINT": hub} if hub else {})}
    command = [sys.executable, "-m", "synapse_engine.cli", "pull", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(process: "subprocess.Popen[bytes]") -> str:
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    return said.decode()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)


def _sound(store: Store, content: bytes) -> bool:
    """True when the model is there; that it is there in part is what must never be seen."""
    models = [path for path in store.root.glob("*") if not path.name.startswith(".")]
    for folder in models:
        assert (folder / "synapse.json").is_file()
    for model in store.installed():
        assert model.load_path.read_bytes() == content
    return bool(models)


def test_a_killed_download_is_never_half_a_model_and_goes_on(home: Path) -> None:
    content, chance, store = gguf_bytes(padding=600_000), random.Random(6), Store(home / "models")
    hub = FakeHub({"tiny.gguf": content}, bytes_per_second=400_000)
    with serving(hub) as address:
        for _ in range(5):
            process = _start("maker/tiny", hub=address)
            time.sleep(chance.uniform(0.1, 1.4))
            _kill(process)
            if _sound(store, content):
                break
        hub.bytes_per_second = 0
        parts = list(store.root.glob(".partial-*/*.part"))
        there = parts[0].stat().st_size if parts else 0
        hub.sent = 0
        _finish(_start("maker/tiny", hub=address))
    assert _sound(store, content)
    if there:
        assert f"bytes={there}-" in hub.ranges
        assert hub.sent < len(content) - there + 10_000
    assert not list(store.root.glob(".partial-*"))


def test_a_killed_copy_goes_on(home: Path, tmp_path: Path) -> None:
    content, chance, store = gguf_bytes(padding=30_000_000), random.Random(7), Store(home / "models")
    path = tmp_path / "big.gguf"
    path.write_bytes(content)
    for _ in range(6):
        process = _start(str(path), "--force")
        deadline = time.monotonic() + 10
        while not list(store.root.glob(".partial-*/*.part")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        _kill(process)
        _sound(store, content)
    _finish(_start(str(path), "--force"))
    assert _sound(store, content)
    assert not [path for path in store.root.iterdir() if path.name.startswith((".partial", ".old"))]


def test_a_part_of_a_file_that_has_changed_since_is_not_used(home: Path, tmp_path: Path) -> None:
    store, path = Store(home / "models"), tmp_path / "big.gguf"
    path.write_bytes(gguf_bytes(padding=1_000_000))
    pull(store, PullRequest(str(path)), Silent())
    partial = store.root / ".partial-big"
    partial.mkdir()
    (partial / ".source").write_text("something else")
    (partial / "big.gguf.part").write_bytes(b"x" * 1000)
    content = gguf_bytes(padding=1_000_000)
    path.write_bytes(content)
    pull(store, PullRequest(str(path), force=True), Silent())
    assert _sound(store, content)


def test_two_pulls_at_once_download_once(home: Path) -> None:
    content, store = gguf_bytes(padding=300_000), Store(home / "models")
    hub = FakeHub({"tiny.gguf": content}, bytes_per_second=300_000)
    with serving(hub) as address:
        first, second = _start("maker/tiny", hub=address), _start("maker/tiny", hub=address)
        said = _finish(first) + _finish(second)
    assert _sound(store, content)
    assert said.count("another process is pulling") == 1
    assert hub.sent < len(content) + 10_000


@pytest.mark.skipif(os.name != "posix", reason="an inherited descriptor keeps the lock on POSIX only")
def test_a_download_that_outlives_its_parent_keeps_the_lock(home: Path) -> None:
    store = Store(home / "models")
    hold = "import sys, time; sys.stdout.write('x'); sys.stdout.flush(); time.sleep(60)"
    with store.lock("m") as lock:
        child = subprocess.Popen([sys.executable, "-c", hold], pass_fds=(lock,), stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read(1)
    waited: list[float] = []

    def on_wait() -> None:
        waited.append(time.monotonic())
        child.kill()

    with store.lock("m", on_wait):
        child.communicate()
    assert len(waited) == 1
