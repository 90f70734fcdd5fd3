"""``synapse convert`` as a user meets it."""

import json
from pathlib import Path

import numpy as np
import organelle_sources as sources
import pytest
from click.testing import CliRunner, Result
from jld2_writer import Jld2Writer

from synapse_engine.cli.app import synapse


def run(*arguments: str) -> Result:
    return CliRunner().invoke(synapse, list(arguments), prog_name="synapse", env={"COLUMNS": "100"})


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sources.write_bpe(tmp_path)
    entries = {"parameters": sources.julia_tree(), "step": np.array(900, "<i8")}
    (tmp_path / "final.jld2").write_bytes(Jld2Writer().file(entries))
    return tmp_path / "final.jld2"


def test_the_screen(checkpoint: Path) -> None:
    result = run("convert", "final.jld2", "out")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == ["out: model of 23,288 parameters", "  step: 900", "  monarch layout: julia"]
    assert lines[3].startswith("  monarch layout from: the file's format, julia; the values do not decide (scores: ")
    assert lines[5].split() == ["LAYER", "GATE", "ENTROPY", "MEAN", "WEIGHTS"]
    assert len(lines) == 8


def test_the_record(checkpoint: Path) -> None:
    result = run("convert", "final.jld2", "out", "--json", "--monarch-layout", "torch", "--dtype", "float16")
    record = json.loads(result.stdout)
    assert (record["kind"], record["parameters"], record["facts"]["monarch_layout"]) == ("model", 23_288, "torch")
    assert [layer["organelles"] for layer in record["layers"]] == [["causal_conv", "monarch", "long_conv"]] * 2
    assert json.loads(Path("out/config.json").read_text())["dtype"] == "float16"


def test_show_reads_what_convert_wrote(checkpoint: Path) -> None:
    assert run("convert", "final.jld2", "out").exit_code == 0
    record = json.loads(run("show", "./out", "--json").stdout)
    assert (record["parameters"], record["metadata"]["model_type"]) == (23_288, "symbio")


def test_errors_have_a_hint_and_no_traceback(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    result = run("convert", "final.jld2", "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"error: final.jld2: it claims {len(checkpoint.read_bytes()) + 100} bytes, with addresses from 512 on, and has "
        f"{len(checkpoint.read_bytes())}",
        "hint: the file is damaged or not complete; get it again",
    ]
