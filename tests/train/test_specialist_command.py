"""`synapse train specialist` as a user meets it: what it prints, what it refuses, and which line was wrong."""

import json
from pathlib import Path

import pytest
import tiny_specialist as tiny
from click.testing import CliRunner, Result

from synapse_engine.cli.app import synapse

SHORT = [
    "--steps", "4", "--batch-tokens", "192", "--window", "96", "--rank", "4", "--threads", "1", "--precision", "f32",
    "--held-out", "0.1",
]  # fmt: skip
GOOD = tiny.turns("fox?", "jumps")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(synapse, [str(a) for a in arguments], prog_name="synapse", env={"COLUMNS": "100"})


def train(base: Path, data: Path, out: Path, *more: object) -> Result:
    named = ["--name", "words", "--description", "Words for words."]
    return run("train", "specialist", base, "--data", data, "--out", out, *named, *SHORT, *more)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("data") / "data.jsonl", tiny.mapping())


def test_from_conversations_to_a_specialist(base: Path, data: Path, tmp_path: Path) -> None:
    result = train(base, data, tmp_path / "run", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["complete"], told["step"]) == (True, 4)
    assert told["loss"] < told["base_loss"]
    assert "step 4/4" in result.stderr
    folder = tmp_path / "run" / "words"
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert f"{told['loss']:.4f} after" in (folder / "README.md").read_text()
    again = train(base, data, tmp_path / "run")
    assert again.exit_code == 0
    assert f"loss {told['base_loss']:.3f} before, {told['loss']:.3f} after" in again.stdout
    other = train(base, data, tmp_path / "run", "--rank", "8")
    assert "options.rank = 4, not 8" in other.stderr


def test_a_run_that_was_stopped_at_once_goes_on(base: Path, data: Path, tmp_path: Path) -> None:
    stopped = train(base, data, tmp_path / "run", "--minutes", "0.00001")
    assert "stopped at step 0; the same command goes on" in stopped.stderr
    assert "the adapter changes nothing" in stopped.stderr
    assert "4 steps from 0 on" in train(base, data, tmp_path / "run").stderr


def test_epochs_set_the_steps(base: Path, data: Path, tmp_path: Path) -> None:
    named = ["--name", "words", "--description", "Words.", *SHORT[2:]]
    result = run("train", "specialist", base, "--data", data, "--out", tmp_path / "run", *named, "--epochs", "2")
    assert result.exit_code == 0, result.output
    steps = json.loads((tmp_path / "run" / "run.json").read_text())["options"]["steps"]
    tokens = sum(9 + len(json.dumps(row)) for row in tiny.mapping())
    assert 2 <= steps <= tokens / 96


@pytest.mark.parametrize(
    ("row", "message", "hint"),
    [
        ("no json", "line 3: not JSON", "each line is"),
        ([], "line 3: no list of `messages`", "each line is"),
        ({"messages": []}, "line 3: no list of `messages`", "each line is"),
        ({"messages": ["hello"]}, "line 3, message 1: no text in `content`", "each line is"),
        ({"messages": [{"role": "user", "content": 3}]}, "line 3, message 1: no text in `content`", "each line is"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "line 3, message 1: the role is 'robot'", "system, user"),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "message 1: has `name`", "role and content"),
        (tiny.turns("fox?", "  "), "line 3, message 2: is empty", "write something"),
        (tiny.turns("fox?"), "line 3: nothing to learn", "add the answer"),
        (tiny.turns("fox?", "a", "b"), "line 3: nothing to learn", "add the answer"),
        ({"messages": GOOD["messages"][::-1]}, "message 1: the assistant's turn, expected the user's", "alternate"),
        ({"messages": [{"role": "system", "content": "x"}]}, "line 3: nothing to learn", "add the answer"),
        (tiny.turns("fox? " * 60, "jumps"), "line 3: ", "a larger --window"),
    ],
)
def test_nonsense_is_told_with_its_line(base: Path, tmp_path: Path, row: object, message: str, hint: str) -> None:
    lines = [json.dumps(tiny.turns("dog?", "lazy")), "", row if isinstance(row, str) else json.dumps(row)]
    lines += [json.dumps(each) for each in tiny.mapping(4)]
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(lines))
    result = train(base, file, tmp_path / "run")
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert hint in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no conversations"),
        (b"\xff\xfe", "not UTF-8 text, byte 0"),
        (json.dumps(GOOD).encode(), "all conversations begin with the same request"),
    ],
)
def test_files_that_hold_too_little(base: Path, tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(content)
    result = train(base, file, tmp_path / "run")
    assert (result.exit_code, message in result.stderr) == (1, True), result.stderr


@pytest.mark.parametrize(
    ("more", "code", "message", "hint"),
    [
        (["--targets", "q_proj,x_proj"], 1, "no linear layers 'x_proj'", "--targets down_proj,"),
        (["--window", "1024", "--batch-tokens", "1024"], 1, "a window of 1024", "--window 512"),
        (["--batch-tokens", "100"], 1, "no whole number of windows of 96", "--batch-tokens 96"),
        (["--device", "abacus"], 1, "device 'abacus'", "--device cpu"),
        (["--name", "Two Words"], 1, "is no name", "small letters"),
        (["--held-out", "1"], 1, "a held-out share of 1", ""),
        (["--lr", "1e30"], 1, "training diverged", "lower --lr"),
    ],
)
def test_what_cannot_be_trained(
    base: Path, data: Path, tmp_path: Path, more: list[str], code: int, message: str, hint: str
) -> None:
    result = train(base, data, tmp_path / "run", *more)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert hint in result.stderr


def test_bases_that_pass_no_gradient_on(base: Path, data: Path, tmp_path: Path) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    assert "model.gguf is GGUF" in train(gguf, data, tmp_path / "run").stderr
    assert "name a folder with config.json and *.safetensors" in train(tmp_path, data, tmp_path / "run").stderr
    quantized = tmp_path / "quantized"
    quantized.mkdir()
    (quantized / "model.safetensors").write_bytes(b"")
    (quantized / "config.json").write_text('{"quantization_config": {"bits": 4}}')
    assert "quantized is quantized" in train(quantized, data, tmp_path / "run").stderr
    silent = tiny.make_base(tmp_path / "silent")
    (silent / "chat_template.jinja").unlink()
    assert "silent has no chat template" in train(silent, data, tmp_path / "run").stderr


def test_four_bits_take_a_gpu_and_bitsandbytes(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    refused = train(base, data, tmp_path / "run", "--quantize", "nf4")
    assert (refused.exit_code, "bitsandbytes gives no gradient there" in refused.stderr) == (1, True)
    assert "--device cuda" in refused.stderr
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name))
    # PyTorch's device without numbers stands for a GPU.
    refused = train(base, data, tmp_path / "run", "--quantize", "nf4", "--device", "meta")
    assert (refused.exit_code, "--quantize nf4 needs bitsandbytes" in refused.stderr) == (1, True)
