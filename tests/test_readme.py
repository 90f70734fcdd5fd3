"""The README's commands exist and its examples are right: what is printed there is what runs here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from server_support import running
from synapse_engine.store import PullRequest, Silent, Store, pull

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for tag, body in FENCE.findall((ROOT / "README.md").read_text()) if tag == language]


def commands(first_word: str) -> list[list[str]]:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return sorted({tuple(line.split()) for line in lines if line.split()[:1] == [first_word]})


def test_the_two_commands_are_there():
    assert ("./install.sh", "--up") in commands("./install.sh")
    assert ("make", "test") in commands("make")
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("command", commands("make"), ids=" ".join)
def test_make_targets_exist(command):
    subprocess.run(["make", "--dry-run", *command[1:]], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", commands("./install.sh"), ids=" ".join)
def test_install_options_exist(command):
    described = subprocess.run(["./install.sh", "--help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert all(option in described for option in command[1:])


@pytest.mark.parametrize("command", commands("synapse"), ids=" ".join)
def test_synapse_commands_exist(command):
    """`synapse COMMAND --help` names every option that the README uses."""
    run = [sys.executable, "-m", "synapse_engine.cli", command[1], "--help"]
    described = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert all(option.split("=")[0] in described for option in command[2:] if option.startswith("--"))


def example(part: str) -> str:
    (source,) = [block for block in blocks("python") if part in block]
    return source


def test_the_python_example_runs(smollm2_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SYNAPSE_HOME", str(tmp_path))
    pull(Store(), PullRequest(str(smollm2_path), name="smollm2-135m-instruct"), Silent())
    exec(example("import Engine"), {})  # noqa: S102 - the README is ours
    assert "5 (TokenChoice(" in capsys.readouterr().out


def test_the_openai_example_runs(engine, capsys):
    with running({"smollm2-135m-instruct": engine.native}) as url:
        exec(example("import OpenAI").replace("http://127.0.0.1:6900", url), {})  # noqa: S102 - the README is ours
    assert capsys.readouterr().out == engine.chat("Why is the sky blue?", max_tokens=60, temperature=0).text


def test_linked_files_exist():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
