"""docs/specialists.md is right: its file is a specialist, its commands exist, its Python runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from specialist_support import write_adapter
from synapse_engine.server.swarm.modes import SURE
from synapse_engine.specialists import Library
from synapse_engine.store import PullRequest, Silent, Store, pull
from synapse_engine.traces import VERSION, TraceFile, read_trace

pytest_plugins = ["store_fixtures"]
PAGE = (Path(__file__).parent.parent / "docs" / "specialists.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, ...]]:
    lines = [line.partition("#")[0].split() for block in blocks("sh") for line in block.splitlines()]
    return sorted({tuple(line) for line in lines if line[:1] == ["synapse"]})


def test_the_file_is_a_specialist(tmp_path):
    (text,) = blocks("toml")
    (tmp_path / "cooking.toml").write_text(text)
    write_adapter(tmp_path / "lora")
    assert Library(tmp_path / "library").add(tmp_path / "cooking.toml").adapter


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_exist(command):
    words = command[1:3] if command[1] in ("specialist", "trace") else command[1:2]
    run = [sys.executable, "-m", "synapse_engine.cli", *words, "--help"]
    described = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert all(option in described for option in command if option.startswith("--"))


def test_the_python_example_runs(home, smollm2_path, capsys):
    pull(Store(), PullRequest(str(smollm2_path), name="smollm2-135m-instruct"), Silent())
    (source,) = blocks("python")
    exec(compile(source, "docs/specialists.md", "exec"), {})  # noqa: S102 - our own page
    said = capsys.readouterr().out
    assert " math\n" in said
    assert "'general', 'math'" in said


def test_the_page_has_the_numbers_and_names_right(tmp_path):
    assert f"gives its choice {SURE:g} or more" in PAGE
    trace = TraceFile(tmp_path / "trace")
    trace.add({"id": "x", "time": "x", "asked": "synapse", "turns": [], "decision": {}})
    (record,) = read_trace(tmp_path / "trace", [])
    assert record["version"] == VERSION
    assert all(f"`{name}`" in PAGE for name in set(record) - {"version"})
