"""`--adapter` of run and up, on the real model: what it adds, and what is refused."""

import json
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from specialist_support import write_smollm2_adapter
from synapse_engine.cli.app import synapse as program
from synapse_engine.cli.options import LoadOptions
from synapse_engine.cli.runs import running
from synapse_engine.cli.stop import command as stop

pytest_plugins = ["store_fixtures"]

QUESTION = ("What is the capital of France?", "--temperature", "0", "--max-tokens", "12")


@pytest.fixture
def synapse(home: Path) -> Callable[..., Result]:
    return lambda *arguments: CliRunner(env=dict(os.environ)).invoke(program, [str(one) for one in arguments])


def test_an_answer_with_an_adapter_is_another_one(
    synapse: Callable[..., Result], smollm2_path: Path, tmp_path: Path
) -> None:
    adapter = write_smollm2_adapter(tmp_path / "noise", 1)
    plain, adapted = (synapse("run", smollm2_path, *QUESTION, *more) for more in ((), ("--adapter", adapter)))
    named = synapse("run", smollm2_path, *QUESTION, "--adapter", f"some={adapter}")
    assert (plain.exit_code, adapted.exit_code) == (0, 0), adapted.output
    assert plain.stdout.strip()
    assert adapted.stdout != plain.stdout
    assert named.stdout == adapted.stdout


def test_a_server_has_the_adapters_it_was_started_with(
    synapse: Callable[..., Result], smollm2_path: Path, tmp_path: Path
) -> None:
    adapter = write_smollm2_adapter(tmp_path / "noise", 1)
    limits = ("--max-adapters", 1, "--max-adapter-rank", 4)
    started = synapse("up", smollm2_path, "--port", 0, "--detach", "--json", "--adapter", f"mine={adapter}", *limits)
    assert started.exit_code == 0, started.output
    try:
        with urllib.request.urlopen(f"{running()[0].url}/v1/adapters", timeout=10) as answer:  # noqa: S310
            listed = json.load(answer)["data"]
        assert [(one["name"], one["rank"]) for one in listed] == [("mine", 4)]
    finally:
        CliRunner().invoke(stop, ["--all"])


@pytest.mark.parametrize(
    ("value", "complaint"),
    [("nothing-there", "'nothing-there': expected NAME=PATH"), ("=x", "'=x': expected NAME=PATH")],
)
def test_what_is_no_adapter_is_refused(synapse: Callable[..., Result], value: str, complaint: str) -> None:
    refused = synapse("run", "model", "hello", "--adapter", value)
    assert refused.exit_code == 2
    assert complaint in refused.output


def test_limits_are_refused_by_name(synapse: Callable[..., Result], smollm2_path: Path, tmp_path: Path) -> None:
    adapter = write_smollm2_adapter(tmp_path / "noise", 1)
    refused = synapse("up", smollm2_path, "--port", 0, "--adapter", f"mine={adapter}", "--max-adapter-rank", 3)
    assert refused.exit_code != 0
    assert "mine: expected a rank of at most 3, found 4" in refused.output


def test_defaults_of_the_options_are_those_of_the_engine() -> None:
    arguments = LoadOptions().engine_arguments("auto")
    found = [arguments[name] for name in ("max_adapters", "max_adapter_rank", "max_adapter_bytes")]
    assert found == [64, 256, 4 << 30]
