"""``synapse merge`` as a user meets it, and the examples of its page."""

import json
import re
import shutil
from pathlib import Path

import merge_models as models
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from synapse_engine.cli.app import synapse

PAGE = Path(__file__).parents[2] / "docs" / "merging.md"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(synapse, list(arguments), prog_name="synapse", env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's examples take for granted."""
    place = tmp_path_factory.mktemp("made")
    base = models.make_base(place / "base")
    models.make_adapter(place / "math", base, 1)
    models.make_adapter(place / "sql", base, 2, target_modules=["q_proj"])
    models.make_fine_tuned(place / "tuned", base)
    rows = [{"prompt": word, "answer": " fox jumps"} for word in ["The", "quick", "brown", "lazy", "dog"]]
    (place / "held-out.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


EXAMPLES = re.findall(r"^synapse (merge .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_run(place: Path, example: str) -> None:
    # The tiny models are random: a merge may be worse, and is then refused as the page says.
    result = run(*example.split())
    target = example.split()[-1]
    if result.exit_code == 1:
        assert "worse than the base" in result.stderr
        assert not Path(target).exists()
    else:
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{Path(target)}: ")
        assert models.tensors(Path(target)).keys() == models.tensors(Path("base")).keys()


def test_the_screen(place: Path) -> None:
    result = run("merge", "base", "--with", "math", "--with", "sql=-0.5", "--out", "out")
    assert result.stdout.splitlines() == [
        "out: 14 tensors changed, float32",
        "  math (1): LoRA, 14 modules, rank 4, scale 1.5",
        "  sql (-0.5): LoRA, 2 modules, rank 4, scale 1.5",
    ]
    progress = [line for line in result.stderr.splitlines() if not line.startswith("  ")]
    assert [re.sub(r" \(.*\)", "", line) for line in progress] == [
        "largest changes of math", "largest changes of sql", "merging"
    ]  # fmt: skip


def test_the_record(place: Path) -> None:
    result = run("merge", "base", "--with", "tuned", "--out", "out", "--dtype", "float16", "--lambda", "0", "--json",
                 "--method", "linear", "--eval", "held-out.jsonl")  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["path"], record["tensors_changed"], record["dtype"]) == ("out", 21, "float16")
    assert record["sources"] == [{"name": "tuned", "weight": 1.0, "what": "model, 21 tensors"}]
    # Lambda 0 leaves the base, but for its rounding to 16 bits.
    assert record["evaluation"]["merged"] == pytest.approx(record["evaluation"]["base"], abs=0.05)
    assert record["evaluation"]["pieces"] == 5


def test_a_merge_that_is_worse_is_refused_with_numbers(place: Path) -> None:
    base = models.tensors(Path("base"))
    before = {name: tensor.clone() for name, tensor in base.items()}
    before["lm_head.weight"] *= 8
    save_file(before, Path("tuned/model.safetensors"), metadata={"format": "pt"})
    result = run("merge", "base", "--with", "tuned", "--method", "linear", "--eval", "held-out.jsonl", "--out", "out")
    assert result.exit_code == 1
    error, hint = result.stderr.splitlines()[-2:]
    numbers = r"base -\d+\.\d{4}, merged -\d+\.\d{4}, difference -\d+\.\d{4} \(95 %: -\d+\.\d{4} to -\d+\.\d{4}; "
    assert re.search(r"^error: the merge is worse than the base and was not written; .*" + numbers, error)
    assert hint.startswith("hint: try a smaller --lambda")
    assert not Path("out").exists()


def test_paths_with_an_equals_sign(place: Path) -> None:
    Path("sql").rename("sql=1")
    assert "  sql=1 (1): " in run("merge", "base", "--with", "sql=1", "--out", "out").stdout
    assert "  sql=1 (0.5): " in run("merge", "base", "--with", "sql=1=0.5", "--out", "out", "--force").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--with", "sql=much"], "'much' is not a weight; write PATH=0.5"),
        (["--with", "sql=nan"], "'nan' is not a weight"),
        (["--with", "sql", "--method", "linear", "--trim", "0.5"], "--trim is for --method ties, not for linear"),
        (["--with", "sql", "--seed", "3"], "--seed is for --method dare and dare-ties, not for ties"),
        (["--with", "sql", "--trim", "1"], "1.0 is not in the range 0<=x<1"),
        ([], "Missing option '--with'"),
    ],
)
def test_misuse(place: Path, arguments: list[str], words: str) -> None:
    result = run("merge", "base", *arguments, "--out", "out")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not Path("out").exists()


def test_names_that_are_not_installed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPSE_HOME", str(place / "home"))
    result = run("merge", "smollm2-135m-instruct", "--with", "sql", "--out", "out")
    assert result.exit_code == 1
    assert "the model 'smollm2-135m-instruct' is not installed" in result.stderr
