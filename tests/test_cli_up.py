"""`up`, `ps`, `chat` and `stop` together, with real processes, ports and signals; the model behind them is a fake."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from store_support import gguf_bytes
from synapse_engine.cli import processes
from synapse_engine.cli.runs import running
from synapse_engine.store import PullRequest, Silent, Store, pull

pytest_plugins = ["store_fixtures"]

# Python imports sitecustomize at every start, so that servers in the background get the fake engine too.
SITECUSTOMIZE = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
from server_fake import FakeEngine, FakeQueue
from synapse_engine import _engine
_engine.Engine = lambda path, **options: FakeEngine()
_engine.EventQueue = FakeQueue
"""


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes())
    pull(Store(), PullRequest(str(tmp_path / "tiny.gguf")), Silent())
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("SYNAPSE_API_KEY", None)
    yield environment
    for run in running():
        processes.kill(run.pid, run.born, 10)


def synapse(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "synapse_engine.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def up(environment: dict[str, str], *arguments: str) -> dict[str, object]:
    done = synapse(environment, "up", "--port", "0", "--detach", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def listed() -> list[int]:
    return [run.pid for run in running()]


def test_a_server_in_the_background_from_start_to_stop(environment: dict[str, str], home: Path) -> None:
    run = up(environment)
    assert (run["model"], run["auth"]) == ("tiny", False)
    with urllib.request.urlopen(f"{run['url']}/v1/models", timeout=10) as answer:  # noqa: S310
        assert [model["id"] for model in json.load(answer)["data"]][:2] == ["tiny", "synapse"]
    assert listed() == [run["pid"]]
    answered = synapse(environment, "run", "tiny", "SAY:hello from the server")
    assert (answered.returncode, answered.stdout, answered.stderr) == (0, "hello from the server\n", "")
    stopped = synapse(environment, "stop", str(run["port"]))
    assert (stopped.returncode, stopped.stdout) == (0, f"stopped tiny on port {run['port']}\n")
    assert listed() == []
    assert list((home / "run").glob("*.json")) == []


def test_several_models_in_one_server(environment: dict[str, str], tmp_path: Path) -> None:
    pull(Store(), PullRequest(str(tmp_path / "tiny.gguf"), name="second"), Silent())
    run = up(environment, "second", "--model", "tiny", "second")
    assert (run["model"], run["others"]) == ("second", ["tiny"])
    with urllib.request.urlopen(f"{run['url']}/v1/models", timeout=10) as answer:  # noqa: S310
        assert [model["id"] for model in json.load(answer)["data"]][:3] == ["second", "tiny", "synapse"]
    for model in ("second", "tiny"):
        answered = synapse(environment, "run", model, "SAY:yes", "--json")
        assert json.loads(answered.stdout)["model"] == model
    listing = synapse(environment, "ps").stdout
    assert "second, tiny" in listing
    assert "is being served on port" in synapse(environment, "rm", "--yes", "tiny").stderr
    assert synapse(environment, "stop", "tiny").stdout == f"stopped second, tiny on port {run['port']}\n"


def test_after_kill_9_the_next_start_works(environment: dict[str, str], home: Path) -> None:
    first = up(environment)
    os.kill(int(str(first["pid"])), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while listed() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert listed() == []
    second = up(environment, "--port", str(first["port"]))
    assert second["port"] == first["port"]
    assert listed() == [second["pid"]]
    assert [model.name for model in Store(home / "models").installed()] == ["tiny"]


def test_a_port_in_use_names_who_uses_it(environment: dict[str, str]) -> None:
    run = up(environment)
    again = synapse(environment, "up", "--port", str(run["port"]))
    assert again.returncode == 1
    assert f"error: port {run['port']} is serving tiny already" in again.stderr
    assert f"hint: synapse stop {run['port']}" in again.stderr


def test_the_key_is_needed_and_not_to_be_seen(environment: dict[str, str], home: Path) -> None:
    run = up({**environment, "SYNAPSE_API_KEY": "a-secret-key"})
    assert run["auth"] is True
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{run['url']}/v1/models", timeout=10)  # noqa: S310
    assert refused.value.code == 401
    answered = synapse({**environment, "SYNAPSE_API_KEY": "a-secret-key"}, "run", "tiny", "SAY:yes")
    assert answered.stdout == "yes\n"
    for path in (home / "run").iterdir():
        assert "a-secret-key" not in path.read_text()
    command_line = Path(f"/proc/{run['pid']}/cmdline")
    if command_line.exists():
        assert b"a-secret-key" not in command_line.read_bytes()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_a_signal_ends_it_cleanly(
    environment: dict[str, str], home: Path, how: signal.Signals
) -> None:
    command = [sys.executable, "-m", "synapse_engine.cli", "up", "tiny", "--port", "0"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline().startswith("tiny is served on http://127.0.0.1:")
    assert listed() == [server.pid]
    server.send_signal(how)
    _, said = server.communicate(timeout=20)
    assert server.returncode == 0, said
    assert "Traceback" not in said
    assert list((home / "run").glob("*.json")) == []


def test_a_server_that_cannot_start_says_why(environment: dict[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "site" / "sitecustomize.py"
    broken.write_text(SITECUSTOMIZE.replace("FakeEngine()", "(_ for _ in ()).throw(_engine.ModelError('too large'))"))
    done = synapse(environment, "up", "--port", "0", "--detach")
    assert done.returncode == 1
    assert "error: the server did not start:" in done.stderr
    assert "too large" in done.stderr
    assert listed() == []


def test_nothing_installed_and_offline_is_a_clear_error(environment: dict[str, str]) -> None:
    assert synapse(environment, "rm", "-y", "tiny").returncode == 0
    done = synapse(environment, "up", "--offline", "--port", "0")
    assert done.returncode == 1
    assert "--offline forbids" in done.stderr
