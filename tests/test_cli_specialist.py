"""`synapse specialist` as a user meets it: whole screens, JSON, what is refused and what is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server_fake import FakeRouter
from specialist_support import COOKING, write_adapter, write_specialist
from store_support import gguf_bytes
from synapse_engine import routing
from synapse_engine.cli import open_talker
from synapse_engine.cli.specialist_test import routed
from synapse_engine.specialists import Library, built_in
from synapse_engine.store import PullRequest, Silent, Store, pull
from test_cli import check_screen, run

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    write_adapter(tmp_path / "lora")
    return write_specialist(tmp_path, adapter="lora")


@pytest.mark.parametrize("name", ["add", "list", "show", "remove", "test"])
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


def test_doctor_names_what_cannot_be_used(file: Path, home: Path) -> None:
    run("specialist", "add", str(file))
    assert specialists_check()["found"] == f"8, 1 of your own in {home}/specialists"
    (home / "specialists" / "broken.toml").write_text("nme = 1")
    assert specialists_check()["state"] == "warn"
    assert "broken.toml" in specialists_check()["found"]


def specialists_check() -> dict[str, str]:
    checks = json.loads(run("doctor", "--json").stdout)
    return next(check for check in checks if check["name"] == "specialists")


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


@pytest.fixture
def cooking(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A specialist half of whose examples the fake router takes for something else."""
    text = COOKING.replace('"pie without butter"', '"math: how much butter", "cooking 0.7: a pie"')
    run("specialist", "add", str(write_specialist(tmp_path, text=text.replace('["how', '["cooking: how'))))
    monkeypatch.setattr(routing, "open_router", FakeRouter)


@pytest.mark.usefixtures("cooking")
def test_where_examples_go() -> None:
    check_screen("specialist-test", run("specialist", "test", "cooking"))
    found = json.loads(run("specialist", "test", "cooking", "--json").stdout)
    assert [row["specialist"] for row in found["examples"]] == ["cooking", "math", "cooking", None]
    assert found["answer"] is None
    assert run("specialist", "test", "cookin").exit_code == 1


@pytest.mark.usefixtures("cooking")
def test_the_first_example_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes())
    pull(Store(), PullRequest(str(tmp_path / "tiny.gguf")), Silent())
    monkeypatch.setattr(open_talker, "LocalTalker", Talker)
    result = run("specialist", "test", "cooking", "--model", "tiny")
    assert result.stdout.endswith("\n> cooking: how long do eggs take\ncooking says four minutes\n")
    found = json.loads(run("specialist", "test", "cooking", "--model", "tiny", "--json").stdout)
    assert found["answer"]["text"] == "cooking says four minutes"


def test_examples_are_routed_without_themselves() -> None:
    router = FakeRouter(built_in())
    seen = []
    router.set_specialists = lambda specialists: seen.append({one.name: one.examples for one in specialists})
    math = next(one for one in built_in() if one.name == "math")
    for example in math.examples:
        routed(router, built_in(), math, example)
        assert example not in seen[-1]["math"]
        assert len(seen[-1]["math"]) == len(math.examples) - 1
        assert len(seen[-1]) == len(built_in())


class Talker:
    """Says who it is."""

    where = "here"

    def __init__(self, chosen: Any, load: Any, specialist: str | None) -> None:
        self.model, self.specialist = chosen.name, specialist

    def stream(self, messages: Any, options: dict[str, Any], answer: Any) -> Iterator[str]:
        assert options == {"max_tokens": 200}
        answer.text = f"{self.specialist} says four minutes"
        yield answer.text

    def close(self) -> None:
        pass
