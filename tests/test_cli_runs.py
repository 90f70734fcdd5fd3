"""Run files: who is listed, who is stopped, and what becomes of servers that were killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from synapse_engine.cli import processes
from synapse_engine.cli.app import Failure, synapse
from synapse_engine.cli.ports import require_free
from synapse_engine.cli.runs import Run, registered, run_of, running

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.usefixtures("home")

# A stand-in for a server: registers itself, says so, and waits for SIGTERM as a server does.
SERVER = """
import signal, sys, time
from synapse_engine.cli.runs import registered
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0) if sys.argv[3] == "polite" else None)
with registered("127.0.0.1", int(sys.argv[1]), sys.argv[2:3], auth=False):
    print("up", flush=True)
    while True:
        time.sleep(0.05)
"""


def start(port: int, model: str, manner: str = "polite") -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), model, manner], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.fixture
def server() -> Iterator["subprocess.Popen[str]"]:
    process = start(7001, "tiny")
    yield process
    process.kill()
    process.communicate()


def test_a_server_is_listed_while_it_runs() -> None:
    assert running() == []
    with registered("127.0.0.1", 7001, ["tiny", "second"], auth=True) as run:
        assert running() == [run]
        assert run_of("tiny") == run_of("second") == run
        assert run_of("other") is None
    assert running() == []


def test_a_server_runs_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SYNAPSE_HOME", str(tmp_path / "file" / "home"))
    with registered("127.0.0.1", 7001, ["tiny"], auth=False) as run:
        assert run.models == ("tiny",)
        assert running() == []
    assert "synapse ps and synapse stop will not find this server" in capsys.readouterr().err


def test_ps_shows_it(server: "subprocess.Popen[str]") -> None:
    listed = CliRunner().invoke(synapse, ["ps"]).stdout.splitlines()
    assert listed[0].split() == ["MODEL", "URL", "KEY", "UP", "PID"]
    assert listed[1].split()[:3] == ["tiny", "http://127.0.0.1:7001", "no"]
    record = json.loads(CliRunner().invoke(synapse, ["ps", "--json"]).stdout)[0]
    assert (record["pid"], record["model"], record["url"]) == (server.pid, "tiny", "http://127.0.0.1:7001")


def test_a_killed_server_is_forgotten(server: "subprocess.Popen[str]", home: Path) -> None:
    assert len(running()) == 1
    server.send_signal(signal.SIGKILL)
    server.wait(10)
    assert running() == []
    assert list((home / "run").glob("*.json")) == []


def test_another_process_with_the_same_pid_is_not_a_server(home: Path) -> None:
    with registered("127.0.0.1", 7001, "tiny", auth=False) as run:
        path = home / "run" / f"{run.pid}.json"
        path.write_text(json.dumps({**asdict(run), "born": "long ago"}))
        assert running() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x"}'])
def test_a_damaged_run_file_is_no_error(home: Path, text: str) -> None:
    (home / "run").mkdir(parents=True)
    (home / "run" / "1.json").write_text(text)
    assert running() == []


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
def test_stop_ends_it_either_way(monkeypatch: pytest.MonkeyPatch, manner: str) -> None:
    monkeypatch.setattr("synapse_engine.cli.stop._PATIENCE_SECONDS", 0.5)
    process = start(7002, "tiny", manner)
    result = CliRunner().invoke(synapse, ["stop"])
    assert (result.exit_code, result.stdout) == (0, "stopped tiny on port 7002\n")
    process.communicate(timeout=10)
    assert running() == []


def test_stop_wants_to_know_which_of_several(server: "subprocess.Popen[str]") -> None:
    other = start(7003, "other")
    try:
        result = CliRunner().invoke(synapse, ["stop"])
        assert result.exit_code == 1
        assert "7001 (tiny), 7003 (other)" in result.stderr
        assert CliRunner().invoke(synapse, ["stop", "7009"]).exit_code == 1
        assert CliRunner().invoke(synapse, ["stop", "other"]).exit_code == 0
        assert [run.port for run in running()] == [7001]
    finally:
        other.kill()
        other.communicate()


def test_a_model_that_is_served_is_not_removed(server: "subprocess.Popen[str]", tmp_path: Path) -> None:
    from store_support import gguf_bytes

    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes())
    assert CliRunner().invoke(synapse, ["pull", str(tmp_path / "tiny.gguf")]).exit_code == 0
    result = CliRunner().invoke(synapse, ["rm", "-y", "tiny"])
    assert result.exit_code == 1
    assert "hint: synapse stop 7001" in result.stderr


def test_a_process_is_known_by_its_birth() -> None:
    born = processes.identity(os.getpid())
    assert born
    assert processes.identity(os.getpid()) == born
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert processes.identity(child.pid) is None


def test_a_port_in_use_is_told_with_the_next_step() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Failure, match=f"port {port} is in use by another program") as caught:
            require_free("127.0.0.1", port)
        assert caught.value.hint == f"choose another: --port {port + 1}"
        with (
            registered("127.0.0.1", port, ["tiny"], auth=False),
            pytest.raises(Failure, match="is serving tiny already"),
        ):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(Failure, match="no address of this machine"):
        require_free(host, 6900)


def test_the_url_is_one_that_clients_can_use() -> None:
    run = Run(1, "", "0.0.0.0", 6900, "m", "2026-01-01T00:00:00+00:00", auth=True)  # noqa: S104
    assert run.url == "http://127.0.0.1:6900"


def test_the_default_port_is_the_servers() -> None:
    from synapse_engine.cli import up
    from synapse_engine.server import options

    assert up.DEFAULT_PORT == options.DEFAULT_PORT
