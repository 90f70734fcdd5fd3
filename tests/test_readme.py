"""The README's commands exist and its examples are right: what is printed there is what runs here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("source", blocks("python"), ids=lambda source: source.strip().splitlines()[0])
def test_python_examples_compile(source):
    compile(source, "README.md", "exec", flags=0x2000)  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def test_linked_files_exist():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
