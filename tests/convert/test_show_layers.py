"""``synapse show --layers``: figures against plain sums, the picture, and what is not a sound organelle model."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import organelle_sources as sources
import pytest
import torch
from click.testing import CliRunner, Result
from jld2_writer import Jld2Writer
from safetensors.numpy import load_file, save_file

from synapse_engine.cli import layers as layers_module
from synapse_engine.cli.app import synapse
from synapse_engine.convert import ConvertRequest, convert


def run(*arguments: str) -> Result:
    return CliRunner().invoke(synapse, ["show", *arguments], prog_name="synapse", env={"COLUMNS": "100"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two layers of two organelles, of which the second layer's gate is written down here; temperature 0.5."""
    sources.write_bpe(tmp_path)
    state = sources.torch_state(width=4, layers=2, organelles=("causal_conv", "long_conv"))
    for layer in range(2):
        state[f"blocks.{layer}.seq_mixer.gate.temperature"][:] = 0.5
    # Twice the logits' difference is ln 3 in three channels and -ln 3 in one: weights of 3/4 and 1/4.
    half = math.log(3) / 2
    state["blocks.1.seq_mixer.gate.logits"] = np.array([[half, half, half, 0], [0, 0, 0, half]], "<f4")
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, tmp_path / "a.pt")
    return convert(ConvertRequest(tmp_path / "a.pt", tmp_path / "model")).target


def test_the_figures(model: Path) -> None:
    record = json.loads(run(str(model), "--layers", "--json").stdout)
    layer = record["layers"][1]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert layer["gate_entropy"] == pytest.approx(entropy, abs=1e-6)
    assert layer["highest_entropy"] == pytest.approx(math.log(2))
    assert layer["weights"] == pytest.approx({"causal_conv": 0.625, "long_conv": 0.375}, abs=1e-6)
    assert layer["largest_in"] == {"causal_conv": 0.75, "long_conv": 0.25}
    mean = sum(each["gate_entropy"] for each in record["layers"]) / 2
    assert record["mean_gate_entropy"] == pytest.approx(mean)


def test_the_screen(model: Path) -> None:
    lines = run(str(model), "--layers").stdout.splitlines()
    assert lines[0].split() == ["LAYER", "GATE", "ENTROPY", "CAUSAL", "CONV", "LONG", "CONV"]
    assert lines[2].split() == ["1", "0.5623", "of", "0.6931", "0.625", "75%", "0.375", "25%"]


def test_layers_that_differ(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["organelles"] = [["causal_conv", "long_conv"], ["monarch", "long_conv"]]
    (model / "config.json").write_text(json.dumps(config))
    lines = run(str(model), "--layers").stdout.splitlines()
    assert lines[2].split() == ["1", "0.5623", "of", "0.6931", "-", "0.375", "25%", "0.625", "75%"]


def test_a_sigmoid_gate(tmp_path: Path) -> None:
    sources.write_bpe(tmp_path)
    tree = sources.julia_tree(monarch_slm=True)
    tree["blocks"]["block_1"]["seq_mixer"]["gate"]["weight"][:] = math.log(4)
    (tmp_path / "final.jld2").write_bytes(Jld2Writer().file({"parameters": tree}))
    target = convert(ConvertRequest(tmp_path / "final.jld2", tmp_path / "model")).target
    record = json.loads(run(str(target), "--layers", "--json").stdout)
    assert record["mean_gate_entropy"] is None
    assert record["layers"][0]["weights"] == pytest.approx({"causal_conv": 0.8, "monarch": 0.8})
    assert "one sigmoid" in run(str(target), "--layers").stdout


def test_the_picture(model: Path, tmp_path: Path) -> None:
    picture = tmp_path / "gates.png"
    result = run(str(model), "--plot", str(picture))
    assert result.exit_code == 0
    assert result.stderr == f"drew {picture}\n"
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    # Width and height stand in the header: 8 x 6 inches of 110 dots.
    assert (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")) == (880, 660)


def test_without_matplotlib(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_module.importlib.util, "find_spec", lambda name: None)
    result = run(str(model), "--plot", str(tmp_path / "gates.png"))
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: --plot needs matplotlib", "hint: pip install 'synapse-engine[train]'"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "qwen2"}, "has no organelles"),
        ({"organelles": []}, "does not fit 2 layers"),
        ({"organelles": "monarch"}, "does not fit 2 layers"),
        ({"organelles": [["monarch"]]}, "does not fit 2 layers"),
        ({"num_hidden_layers": 3}, "expected 2 rows, found none"),
        ({"num_hidden_layers": 10**12}, "does not fit"),
        ({"organelles": ["causal_conv"]}, "expected 1 rows, found (2, 4)"),
    ],
)
def test_models_without_sound_gates(model: Path, change: dict[str, Any], says: str) -> None:
    config = json.loads((model / "config.json").read_text()) | change
    (model / "config.json").write_text(json.dumps(config))
    result = run(str(model), "--layers")
    assert result.exit_code == 1
    assert says in result.stderr
    assert "hint:" in result.stderr


@pytest.mark.parametrize(
    ("logits", "says"),
    [(np.ones((2, 4), np.int8), "holds I8"), (np.full((2, 4), np.nan, "<f4"), "not finite")],
)
def test_gates_that_are_no_numbers(model: Path, logits: np.ndarray, says: str) -> None:
    tensors = load_file(model / "model.safetensors") | {"blocks.0.seq_mixer.gate.logits": logits}
    save_file(tensors, model / "model.safetensors")
    result = run(str(model), "--layers")
    assert result.exit_code == 1
    assert says in result.stderr
