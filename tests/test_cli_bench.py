"""`synapse bench`: what it prints and writes for a tiny model, and its arithmetic. No speed is asserted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.make_random_gguf import Shape, write_random_gguf
from bench.quant_mix import MIXES
from click.testing import CliRunner, Result

from synapse_engine import _engine
from synapse_engine.cli import account, machine, records
from synapse_engine.cli.account import Account, Roofs, Spent
from synapse_engine.cli.app import synapse

pytest_plugins = ["store_fixtures"]
SHAPE = Shape(hidden=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=96, vocab=400, context=256)
LAYERS = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64)
ROOFS = Roofs("portable", 2, read_bytes_per_second=1e9, int8_operations_per_second=2e9)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "tiny.gguf"
    write_random_gguf(path, SHAPE, MIXES["q8_0"])
    return path


@pytest.fixture(autouse=True)
def _known_roofs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "_engine", type("Fake", (), {"roofs": lambda _: vars(ROOFS)}))


def bench(model: Path, *arguments: str) -> Result:
    options = ["bench", str(model), "--prompt", "20", "--tokens", "8", "--rounds", "2", "--threads", "1", *arguments]
    result = CliRunner().invoke(synapse, options, catch_exceptions=False)
    assert result.exit_code == 0
    return result


def test_the_screen(model: Path, tmp_path: Path) -> None:
    shown = bench(model, "--records", str(tmp_path / "kept")).stdout
    assert "at most: 1.0 GB/s read, 0.00 TOPS int8 (portable, 2 threads)" in shown
    headings = next(line for line in shown.splitlines() if line.startswith("OPERATION"))
    assert headings.split() == ["OPERATION", "PREFILL", "OF", "int8", "DECODE", "OF", "READ"]
    rows = [line.split() for line in shown.split("OF READ\n")[-1].splitlines()]
    assert [row[0] for row in rows] == [
        "draft", "norm", "qkv", "rope", "attention", "mixing", "o", "gate_up", "down", "adapters", "head", "sampling",
        "rest",
    ]  # fmt: skip
    assert sum(float(row[1]) for row in rows) == pytest.approx(100, abs=0.6)


def test_the_record_adds_up(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    streams = ["--concurrency", "1", "--concurrency", "2"]
    printed = json.loads(bench(model, "--json", *streams, "--records", str(folder)).stdout)
    (path,) = folder.glob("*/*.json")
    record = json.loads(path.read_text())
    assert path.parent.name == machine.slug(record["machine"])
    assert record["what"] == "model"
    assert {key: record[key] for key in printed} == printed
    assert [result["streams"] for result in record["results"]] == [1, 2]
    for result in record["results"]:
        for each in result["rounds"]:
            check_round(each, result["streams"])


def check_round(each: dict[str, Any], streams: int) -> None:
    spent = {name: Spent(**values) for name, values in each["prefill_account"]["operations"].items()}
    products = sum(spent[name].multiply_adds for name in ("qkv", "o", "gate_up", "down"))
    assert products == streams * 20 * LAYERS
    assert spent["head"].multiply_adds == streams * 400 * 64
    idle = ("draft", "mixing", "adapters", "rest")
    assert all(values.seconds > 0 for name, values in spent.items() if name not in idle)
    decode = Account({n: Spent(**values) for n, values in each["decode_account"]["operations"].items()}).total
    tokens, rest = divmod(decode.multiply_adds, LAYERS + 400 * 64)
    # Whole tokens, not always of both streams: one may begin, and end, a step sooner. All but the first, unless so
    # small a model is done before anyone looks.
    assert rest == 0
    assert tokens <= 7 * streams


def test_only_the_roofs(home: Path) -> None:
    plain = CliRunner().invoke(synapse, ["bench", "--roof"], catch_exceptions=False)
    assert plain.stdout == "at most: 1.0 GB/s read, 0.00 TOPS int8 (portable, 2 threads)\n"
    as_json = CliRunner().invoke(synapse, ["bench", "--roof", "--json"], catch_exceptions=False)
    assert json.loads(as_json.stdout) == vars(ROOFS)


def test_no_record(model: Path, tmp_path: Path) -> None:
    bench(model, "--no-record", "--records", str(tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


def test_roofs_are_measured() -> None:
    found = _engine.roofs(1)
    assert (found["threads"], found["kernels"]) == (1, _engine.doctor()["kernels"])
    assert found["read_bytes_per_second"] > 0
    assert found["int8_operations_per_second"] > 0


def test_shares() -> None:
    spent = Spent(seconds=2.0, multiply_adds=10**9, bytes=10**9).under(ROOFS)
    assert (spent.share_of_read, spent.share_of_int8) == (pytest.approx(0.5), pytest.approx(0.5))
    faster = replace(ROOFS, read_bytes_per_second=3e9)
    both = spent + Spent(seconds=2.0, bytes=10**9).under(faster)
    assert both.share_of_read == pytest.approx(2 / 8), "each time under its own roof"
    unmeasured = Spent(0.0, 1, 1).under(ROOFS)
    assert (unmeasured.share_of_read, unmeasured.share_of_int8) == (None, None)


def test_the_best_and_the_mean_of_roofs() -> None:
    other = replace(ROOFS, read_bytes_per_second=3e9, int8_operations_per_second=1e9)
    assert ROOFS.best(other) == replace(ROOFS, read_bytes_per_second=3e9)
    assert ROOFS.mean(other) == replace(ROOFS, read_bytes_per_second=2e9, int8_operations_per_second=1.5e9)


def test_accounts_add_and_subtract() -> None:
    one = Account({"qkv": Spent(1.0, 2, 3), "rest": Spent(0.5)})
    two = Account({"qkv": Spent(4.0, 5, 6), "rest": Spent(1.5)})
    assert (one + two).total == Spent(7.0, 7, 9)
    assert (two - one).operations == {"qkv": Spent(3.0, 3, 3), "rest": Spent(1.0)}


def test_the_newest_record_is_of_the_same_kind_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert records.newest("peers", tmp_path) is None
    monkeypatch.setattr(machine, "commit", lambda: "aaaa")
    first = records.save("peers", {"figures": [1]}, tmp_path)
    monkeypatch.setattr(machine, "commit", lambda: "bbbb")
    records.save("peers", {"figures": [2]}, tmp_path)
    records.save("model", {"figures": [3]}, tmp_path, "a/model:name")
    other = first.parent.with_name("another-machine") / first.name
    other.parent.mkdir()
    other.write_text(first.read_text())
    assert sorted(path.name.split("-", 3)[3] for path in first.parent.iterdir()) == [
        "aaaa.json", "bbbb-a-model-name.json", "bbbb.json",
    ]  # fmt: skip
    found = records.newest("peers", tmp_path)
    assert found is not None
    assert found[1]["figures"] == [2]


def test_a_checkout_keeps_its_records_itself() -> None:
    assert records.default_folder() == Path(__file__).parent.parent / "bench" / "records"


def test_an_installed_package_keeps_records_with_the_models(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGE", home)
    assert records.default_folder() == home / "records"
    assert machine.commit() == f"version-{_engine.__version__}"
