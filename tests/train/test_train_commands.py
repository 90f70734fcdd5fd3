"""`synapse train` and `synapse export` as a user meets them: from a text to a folder, interrupted on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from tiny_training import text

from synapse_engine.cli.app import synapse
from synapse_engine.export.folder import write_model
from synapse_engine.train.errors import CheckpointError, ConfigError
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig

SHAPE = ["--width", "16", "--layers", "2", "--ffn", "24", "--window", "256", "--vocab-size", "300"]
SHORT = ["--steps", "20", "--batch-size", "4", "--eval-every", "10", "--threads", "1"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(synapse, [str(a) for a in arguments], prog_name="synapse", env={"COLUMNS": "100"})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "data.txt"
    file.write_text(text(2000))
    return file


def test_from_text_to_a_model_folder(data: Path, tmp_path: Path) -> None:
    symbio, control, target = tmp_path / "symbio", tmp_path / "control", tmp_path / "model"
    trained = run("train", "symbio", "--data", data, "--out", symbio, *SHAPE, *SHORT)
    assert trained.exit_code == 0, trained.output
    assert "perplexity" in trained.stdout
    assert "step 20/20" in trained.stderr
    assert (symbio / "curves.png").read_bytes().startswith(b"\x89PNG")
    attention = ["--organelles", "attention", "--heads", "2", "--head-dim", "8"]
    assert run("train", "symbio", "--data", data, "--out", control, *SHAPE, *SHORT, *attention).exit_code == 0

    exported = run("export", symbio, target, "--data", data, "--dtype", "float16", "--against", control)
    assert exported.exit_code == 0, exported.output
    config = SymbioConfig.from_json(json.loads((target / "config.json").read_text()))
    best = RunFolder(symbio).load(symbio / "best.pt")["model"]
    stored = load_file(target / "model.safetensors")
    assert {name: tensor.half() for name, tensor in best.items()}.keys() == stored.keys()
    assert all(torch.equal(stored[name], tensor.half()) for name, tensor in best.items())
    SymbioModel(config).load_state_dict(stored)
    card = (target / "README.md").read_text()
    assert f"{config.parameters():,} parameters" in card
    assert "the loss of control is" in card
    assert (target / "tokenizer.json").read_bytes() == (symbio / "tokenizer.json").read_bytes()

    again = run("export", symbio, target, "--data", tmp_path / "not read")
    assert (again.exit_code, "exists" in again.stderr) == (1, True)
    assert run("export", symbio, target, "--data", data, "--force").exit_code == 0
    assert json.loads((target / "config.json").read_text())["dtype"] == "float32"


def test_a_terminated_run_goes_on(data: Path, tmp_path: Path) -> None:
    """SIGTERM in the middle; then the same command ends where an undisturbed run ends."""
    small = ["--window", "16", "--organelles", "causal_conv,long_conv"]
    command = ["train", "symbio", "--data", data, *SHAPE, *SHORT, *small, "--steps", "120", "--out"]
    script = "import sys; from synapse_engine.cli import main; sys.argv[0] = 'synapse'; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, command), str(tmp_path / "killed")],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for line in process.stderr:
        if line.startswith("step "):
            break
    second = run(*command, tmp_path / "killed")
    assert (second.exit_code, "another process is at work on this run" in second.stderr) == (1, True)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert "the same command goes on from there" in stderr
    stopped = RunFolder(tmp_path / "killed").load(tmp_path / "killed" / "checkpoint.pt")["step"]
    assert 10 <= stopped < 120
    for name in ("killed", "whole"):
        assert run(*command, tmp_path / name).exit_code == 0
    states = [RunFolder(tmp_path / n).load(tmp_path / n / "checkpoint.pt")["model"] for n in ("killed", "whole")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name])


def test_between_the_embeddings_of_a_donor(data: Path, tmp_path: Path) -> None:
    first, donor, out = tmp_path / "first", tmp_path / "donor", tmp_path / "fused"
    assert run("train", "symbio", "--data", data, "--out", first, *SHAPE, *SHORT).exit_code == 0
    donor.mkdir()
    (donor / "tokenizer.json").write_bytes((first / "tokenizer.json").read_bytes())
    embedding = torch.randn(310, 12)  # padded beyond the 300 tokens, as real ones are
    save_file({"gpt_neox.embed_in.weight": embedding}, donor / "model.safetensors")
    result = run("train", "symbio", "--data", data, "--out", out, *SHAPE, *SHORT, "--donor", donor)
    assert result.exit_code == 0, result.output
    settings = json.loads((out / "run.json").read_text())
    assert settings["model"]["donor_hidden_size"] == 12
    assert settings["model"]["vocab_size"] == 310
    assert settings["options"]["phases"] is True
    state = RunFolder(out).load(out / "checkpoint.pt")["model"]
    assert torch.equal(state["donor.weight"], embedding)


def test_layers_of_different_organelles(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mixed"
    layers = ["--organelles", "causal_conv, long_conv", "--organelles", "attention", "--heads", "1", "--head-dim", "8"]
    assert run("train", "symbio", "--data", data, "--out", out, *SHAPE, *SHORT, *layers).exit_code == 0
    assert json.loads((out / "run.json").read_text())["model"]["organelles"] == [
        ["causal_conv", "long_conv"], ["attention"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "code", "message", "hint"),
    [
        (["--organelles", "nucleus"], 1, "found nucleus", ""),
        (["--organelles", "monarch"] * 3, 2, "once for each of 2 layers", "--help"),
        (["--window", "17"], 1, "square window", ""),
        (["--window", "16"], 1, "a window of 16 with Monarch matrices; expected 256", "--help"),
        (["--width", "24"], 1, "a width of 24 is no multiple of 16", "--help"),
        (["--width", "32", "--monarch-heads", "4"], 1, "4 Monarch heads of 32 channels", "--help"),
        (["--window", "3", "--organelles", "causal_conv"], 1, "shorter than the convolution, 4", "--help"),
        (["--device", "abacus"], 1, "device 'abacus'", "--device cpu"),
        (["--lr", "1e9"], 1, "training diverged", "lower --lr"),
        (["--donor", "nowhere"], 1, "nowhere: no tokenizer.json", "a donor is a folder"),
        (["--accumulation", "3"], 1, "3 passes do not divide a batch of 4", ""),
    ],
)
def test_what_cannot_be_trained(
    data: Path, tmp_path: Path, more: list[str], code: int, message: str, hint: str
) -> None:
    result = run("train", "symbio", "--data", data, "--out", tmp_path / "x", *SHAPE, *SHORT, *more)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert hint in result.stderr


def test_a_continued_run_must_be_the_same(data: Path, tmp_path: Path) -> None:
    command = ["train", "symbio", "--data", data, "--out", tmp_path / "x", *SHAPE, *SHORT]
    assert run(*command).exit_code == 0
    result = run(*command, "--lr", "0.5")
    assert "options.learning_rate = 0.001, not 0.5" in result.stderr
    assert "data.vocab_size = 300, not 301" in run(*command, "--vocab-size", "301").stderr
    data.write_text(text(2000, seed=9))
    assert "data.digest" in run(*command).stderr
    assert "no run lies here" in run("export", tmp_path, tmp_path / "y", "--data", data).stderr


def test_a_vocabulary_of_too_little_text_is_not_kept(data: Path, tmp_path: Path) -> None:
    little = tmp_path / "little.txt"
    little.write_text("Hello.\n")
    command = ["train", "symbio", "--out", tmp_path / "x", *SHAPE, *SHORT, "--data"]
    failed = run(*command, little)
    assert (failed.exit_code, "add text" in failed.stderr) == (1, True)
    assert run(*command, data).exit_code == 0
    assert json.loads((tmp_path / "x" / "run.json").read_text())["model"]["vocab_size"] > 290


def test_a_run_that_was_stopped_at_once_is_a_model_too(data: Path, tmp_path: Path) -> None:
    stopped = run("train", "symbio", "--data", data, "--out", tmp_path / "x", *SHAPE, *SHORT, "--minutes", "0.00001")
    assert "stopped at step" in stopped.stderr
    assert not (tmp_path / "x" / "best.pt").exists()
    exported = run("export", tmp_path / "x", tmp_path / "y", "--data", data)
    assert exported.exit_code == 0, exported.output


def test_without_pytorch(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    result = run("train", "symbio", "--data", data, "--out", tmp_path / "x")
    assert (result.exit_code, result.stderr) == (
        1, "error: training needs torch\nhint: pip install 'synapse-engine[train]'\n",
    )  # fmt: skip


def test_help_needs_no_pytorch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['numpy'] = None\n"
        "from click.testing import CliRunner; from synapse_engine.cli.app import synapse\n"
        "for c in (['train', 'symbio', '--help'], ['export', '--help']):\n"
        "    assert CliRunner().invoke(synapse, c).exit_code == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_that_do_not_fit_the_type(tmp_path: Path) -> None:
    config = SymbioConfig(8, 8, (("causal_conv",),), vocab_size=10)
    state = SymbioModel(config).state_dict()
    state["ln_f.weight"][3] = 1e6
    with pytest.raises(ConfigError, match=r"`ln_f\.weight` has numbers that float16 cannot hold"):
        write_model(tmp_path / "m", config, state, b"{}", "float16")
    state["ln_f.weight"][3] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        write_model(tmp_path / "m", config, state, b"{}", "float32")
    assert list(tmp_path.iterdir()) == []
