"""`synapse specialist` as a user meets it: whole screens, JSON, what is refused and what is asked."""

import json
from pathlib import Path

import pytest

from specialist_support import write_adapter, write_specialist
from synapse_engine.specialists import Library
from test_cli import check_screen, run

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    write_adapter(tmp_path / "lora")
    return write_specialist(tmp_path, adapter="lora")


@pytest.mark.parametrize("name", ["add", "list", "show", "remove"])
def test_help_screens(name: str) -> None:
    check_screen(f"help-specialist-{name}", run("specialist", name, "--help"))


def test_from_add_to_remove(file: Path, home: Path) -> None:
    check_screen("specialist-add", run("specialist", "add", str(file)))
    assert run("specialist", "add", str(file)).stdout == "replaced cooking, with its adapter\n"
    check_screen("specialist-list", run("specialist", "list"))
    check_screen("specialist-show", run("specialist", "show", "cooking"), home=str(home))
    assert run("specialist", "remove", "cooking", stdin="n\n").exit_code == 130
    assert Library().find("cooking")
    assert run("specialist", "remove", "cooking", stdin="y\n").stdout == "removed cooking\n"
    assert "cooking" not in run("specialist", "list").stdout


def test_json(file: Path, home: Path) -> None:
    added = json.loads(run("specialist", "add", str(file), "--json").stdout)
    assert added["name"] == "cooking"
    assert Path(added["adapter"]).is_dir()
    assert Path(added["file"]) == home / "specialists" / "cooking.toml"
    assert json.loads(run("specialist", "show", "cooking", "--json").stdout) == added
    (home / "specialists" / "broken.toml").write_text("nme = 1")
    listed = json.loads(run("specialist", "list", "--json").stdout)
    assert listed["specialists"][-1] == added
    assert len(listed["specialists"]) == 8
    assert listed["problems"][0]["file"].endswith("broken.toml")


def test_a_starter_comes_back(home: Path, tmp_path: Path) -> None:
    run("specialist", "add", str(write_specialist(tmp_path, "math")))
    removed = run("specialist", "remove", "math", "-y")
    assert removed.stdout == "removed math; the one that comes with the package is back\n"


def test_removing_several_is_all_or_nothing(file: Path) -> None:
    run("specialist", "add", str(file))
    assert run("specialist", "remove", "-y", "cooking", "nothing").exit_code == 1
    assert Library().find("cooking")


def test_error_screens(home: Path, tmp_path: Path) -> None:
    def check(name: str, *arguments: str) -> None:
        check_screen(f"error-specialist-{name}", run("specialist", *arguments), home=str(home), folder=str(tmp_path))

    check("starter", "remove", "math", "-y")
    check("unknown", "show", "mth")
    (tmp_path / "broken.toml").write_text('nme = "x"')
    check("broken", "add", str(tmp_path / "broken.toml"))
    (tmp_path / "big.toml").write_bytes(b"#" * 10_000_000)
    check("big", "add", str(tmp_path / "big.toml"))
    check("two-files", "add", str(tmp_path))
    check("no-adapter", "add", str(write_specialist(tmp_path / "other", adapter="nowhere")))
    (home / "specialists").mkdir(exist_ok=True)
    (home / "specialists" / "bad.toml").write_bytes(b"\xff")
    check("listed", "list")
