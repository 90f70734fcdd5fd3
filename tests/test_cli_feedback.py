"""`synapse route` and `synapse feedback` as a user meets them: screens, JSON, nonsense. Coordinator: the fake."""

import json
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from routing_support import FakeCoordinator, empty_bias, fake_desk
from server_fake import FakeEngine, FakeQueue
from server_support import MODEL, post, running
from synapse_engine.cli import feedback_server
from synapse_engine.cli.app import synapse
from synapse_engine.cli.runs import Run
from synapse_engine.routing import KeptBias
from test_cli import check_screen, run

pytest_plugins = ["store_fixtures"]
SQL = "List the ten customers with the highest total orders"


@pytest.fixture(autouse=True)
def fake(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = sys.modules["synapse_engine.routing.opening"]
    monkeypatch.setattr(opening, "open_coordinator", FakeCoordinator)
    monkeypatch.setattr(opening, "space_of", lambda _: "fake")


@pytest.mark.parametrize("name", ["up", "code", "list", "export", "import", "reset"])
def test_help_screens(name: str) -> None:
    check_screen(f"help-feedback-{name}", run("feedback", name, "--help"))


def test_route() -> None:
    check_screen("route", run("route", SQL))
    check_screen("route-nobody", run("route", "zzzz qqqq xxxx"))
    assert run("route", "-", stdin=SQL).stdout == run("route", SQL).stdout
    told = json.loads(run("route", SQL, "--json").stdout)
    assert (told["specialist"], told["reason"]) == ("sql", "chosen")
    assert "nearest_examples" in json.loads(run("route", SQL, "--json", "--explain").stdout)


def test_from_a_correction_to_a_reset(home: Path) -> None:
    run("route", SQL)
    assert stat.S_IMODE((home / "last-route.json").stat().st_mode) == 0o600
    check_screen("feedback-first", run("feedback", "code", "--last"))
    check_screen("feedback-second", run("feedback", "code", "--last"))
    check_screen("feedback-list", run("feedback", "list"))
    check_screen("route-explain", run("route", SQL, "--explain"))
    check_screen("feedback-none", run("feedback", "none", "Hello there"))
    down = json.loads(run("feedback", "down", SQL, "--json").stdout)
    assert down["rewards"] == {"code": -1}
    assert run("feedback", "reset", "--region", "2").stdout == "forgot 1 tie between requests and specialists\n"
    assert run("feedback", "reset", stdin="n\n").exit_code == 130
    assert len(json.loads(run("feedback", "list", "--json").stdout)) == 1
    assert run("feedback", "reset", "-y").stdout == "forgot 2 ties between requests and specialists\n"
    check_screen("feedback-list-empty", run("feedback", "list"))


def test_an_export_comes_back(tmp_path: Path) -> None:
    run("feedback", "code", SQL)
    written = run("feedback", "export").stdout
    assert run("feedback", "export", str(tmp_path / "f.json")).exit_code == 0
    assert (tmp_path / "f.json").read_text() == written
    run("feedback", "reset", "-y")
    assert run("feedback", "import", "-", stdin=written).stdout == "1 region\n"
    assert run("feedback", "export").stdout == written


@pytest.mark.parametrize("text", ["\udcb6\udc80 half characters", "\x1b[31m\0", "x" * 100_000, "\u202e\U0001f916"])
def test_any_text_can_be_routed(text: str) -> None:
    assert run("route", "--", text).exit_code == 0
    assert run("feedback", "code", "--last").exit_code == 0
    assert "\x1b" not in run("feedback", "list").stdout
    assert CliRunner().invoke(synapse, ["route", "-"], input=b"\xff\xfe\x80").exit_code == 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("route-nothing", ["route", " "]),
        ("feedback-alone", ["feedback"]),
        ("feedback-near", ["feedback", "exports"]),
        ("feedback-near-name", ["feedback", "cod", "x"]),
        ("feedback-unknown", ["feedback", "xyzzy", "x"]),
        ("feedback-no-last", ["feedback", "up", "--last"]),
        ("feedback-two", ["feedback", "up", "x", "--last"]),
        ("feedback-id", ["feedback", "up", "--id", "chatcmpl-1"]),
        ("feedback-region", ["feedback", "reset", "--region", "7"]),
        ("feedback-import", ["feedback", "import", "-"]),
    ],
)
def test_nonsense(name: str, arguments: list[str]) -> None:
    check_screen(f"error-{name}", run(*arguments, stdin="{}"))


def test_a_damaged_file_is_said_and_set_aside(home: Path) -> None:
    run("feedback", "code", SQL)
    (home / "feedback.json").write_text("{")
    check_screen("feedback-damaged", run("feedback", "list"), home=str(home))
    assert (home / "feedback.unusable-1.json").read_text() == "{"
    (home / "last-route.json").write_text("[]")
    assert "damaged" in run("feedback", "up", "--last").stderr


def test_a_response_of_a_running_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    kept = KeptBias(home / "feedback.json", empty_bias())
    with running({MODEL: engine}, FakeQueue, desk=fake_desk(home, kept), drain_seconds=0.02, api_key="secret") as url:
        host, port = url.removeprefix("http://").split(":")
        served = Run(1, "", host, int(port), MODEL, "2026-01-01T00:00:00+00:00", auth=True)
        monkeypatch.setattr(feedback_server, "running", lambda: [served])
        refused = run("feedback", "up", "--id", "x")
        assert refused.exit_code == 1
        assert "SYNAPSE_API_KEY" in refused.stderr
        monkeypatch.setenv("SYNAPSE_API_KEY", "secret")
        headers = {"Authorization": "Bearer secret"}
        routed = post(url, "/v1/route", {"input": SQL}, headers=headers).json()
        result = run("feedback", "code", "--id", routed["id"])
        assert result.exit_code == 0, result.output
        assert "code: bias 0.00 to +4.00" in result.stdout
        assert "no running server remembers" in run("feedback", "up", "--id", "x").stderr
    assert "1 region" not in run("feedback", "up", "--id", routed["id"]).stdout
    assert json.loads(run("feedback", "list", "--json").stdout)[0]["label"] == SQL
    engine.close()
