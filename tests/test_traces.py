"""Traces: what a server writes down, how it survives kills and full disks, how it is shown and replayed."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from server_fake import FakeRouter
from server_support import HTTP, MODEL, fake_server, idle, post, wait_until
from synapse_engine import routing
from synapse_engine.cli import trace
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.specialists import Library
from synapse_engine.traces import TraceError, TraceFile, read_trace, turns_of
from test_cli import check_screen, run

pytest_plugins = ["store_fixtures"]
RECORD = {
    "id": "chatcmpl-1",
    "time": "2026-11-23T20:00:00.000+00:00",
    "asked": "synapse",
    "base": "tiny",
    "turns": [["user", "math: what is\n2 + 2?\x1b[31m"]],
    "decision": {"specialist": "math", "reason": "chosen", "probabilities": {"math": 0.9, "sql": 0.06, "code": 0.01}},
    "specialist": "math",
    "mode": "single",
    "timings": {"total_seconds": 0.25},
    "finish": "stop",
}


def read(path: Path) -> list[dict[str, Any]]:
    broken: list[int] = []
    records = list(read_trace(path, broken))
    assert broken == []
    return records


@pytest.fixture(params=[True, False], ids=["text", "hashes"])
def traced(request, tmp_path):
    """A server with a trace, and how to read it."""
    path = tmp_path / "trace.jsonl"
    desk = Desk(Library(tmp_path / "specialists"), FakeRouter)
    with fake_server(desk=desk, trace=path, trace_text=request.param, drain_seconds=0.02) as (url, engine):
        yield url, engine, lambda: read(path), request.param


def chat(url: str, text: str = "math: SAY:four", **fields: Any) -> Any:
    body = {"model": "synapse", "messages": [{"role": "user", "content": text}], **fields}
    return post(url, "/v1/chat/completions", body)


def test_every_decision_is_one_line(traced):
    url, _, lines, text = traced
    answer = chat(url).json()
    chat(url, stream=True)
    chat(url, model=MODEL)
    chat(url, synapse={"mode": "parallel", "k": 2})
    chat(url, synapse={"mode": "parallel", "choose": "synthesis"}, max_tokens=3, stream=True)
    post(url, "/v1/completions", {"model": "synapse/math", "prompt": "SAY:four"})
    post(url, "/v1/completions", {"model": "synapse", "prompt": "math: SAY:four", "stream": True})
    records = lines()
    assert [record["asked"] for record in records] == ["synapse"] * 4 + ["synapse/math", "synapse"]
    assert [record["mode"] for record in records] == ["single"] * 2 + ["parallel"] * 2 + ["single"] * 2
    assert [record["finish"] for record in records] == ["stop", "stop", "stop", "length", "stop", "stop"]
    assert records[0]["id"] == answer["id"]
    assert records[0]["base"] == MODEL
    assert records[0]["decision"]["probabilities"]["math"] == 0.9
    assert records[0]["timings"] == answer["synapse"]["timings"]
    assert all(record["timings"]["total_seconds"] > 0 for record in records)
    assert len(records[2]["candidates"]) == 2
    assert ("content" in records[2]["candidates"][0]) is text
    if text:
        assert turns_of(records[0]) == [("user", "math: SAY:four")]
    else:
        assert "four" not in json.dumps(records)
        assert turns_of(records[0]) is None
        assert records[0]["turns_sha256"] == records[1]["turns_sha256"] != records[4]["turns_sha256"]


def leave(url: str, stream: bool) -> None:
    """A client that goes while it is being answered."""
    body = {"model": "synapse", "messages": [{"role": "user", "content": "math: SAY:SLOW " + "x" * 900}]}
    if not stream:
        with pytest.raises(httpx.ReadTimeout):
            post(url, "/v1/chat/completions", body, timeout=0.5)
        return
    with HTTP.stream("POST", f"{url}/v1/chat/completions", json={**body, "stream": True}) as response:
        next(response.iter_bytes())


def test_failures_and_clients_that_leave_are_noted(traced):
    url, engine, lines, _ = traced
    for stream in (False, True):
        chat(url, "math: SAY:FAIL x", stream=stream)
        chat(url, "math: " + "x" * 5000, stream=stream)
        leave(url, stream)
        assert wait_until(lambda: idle(engine) and len(lines()) % 3 == 0, 5)
    failures = ["failed: internal_error", "failed: context_length_exceeded", "client left"]
    assert [record["finish"] for record in lines()] == failures * 2


def test_only_the_user_may_read_it(tmp_path):
    TraceFile(tmp_path / "trace").close()
    assert stat.S_IMODE((tmp_path / "trace").stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    path = tmp_path / "trace"
    for _ in range(2):
        cut = TraceFile(path)
        cut.add(RECORD)
        cut.close()
        with path.open("a") as file:
            file.write('{"version": 1, "id": "chatc')
    broken: list[int] = []
    assert [record["id"] for record in read_trace(path, broken)] == ["chatcmpl-1"] * 2
    assert broken == [2, 4]


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "1",
        "[" * 100_000,
        "\0",
        '{"version": 2}',
        '{"version": 1, "decision": {}}',
        *(
            json.dumps({"version": 1, **RECORD, **change})
            for change in (
                {"version": 2},
                {"id": 3},
                {"turns": 1},
                {"turns": [1]},
                {"turns": [["user", 1]]},
                {"decision": {"probabilities": {"math": "likely"}}},
                {"timings": [1]},
                {"candidates": 3},
            )
        ),
    ],
)
def test_lines_that_are_none(tmp_path, line):
    (tmp_path / "trace").write_text(f"{line}\n\n")
    broken: list[int] = []
    assert list(read_trace(tmp_path / "trace", broken)) == []
    assert broken == [1]


def test_a_full_disk_is_no_reason_not_to_answer(tmp_path, caplog):
    desk = Desk(Library(tmp_path / "specialists"), FakeRouter)
    with fake_server(desk=desk, trace=Path("/dev/full")) as (url, _):
        assert [chat(url).status_code for _ in range(3)] == [200] * 3
    assert [record.message.partition(":")[0] for record in caplog.records] == ["the trace /dev/full cannot be written"]


def test_a_trace_that_cannot_be_opened(tmp_path):
    with pytest.raises(TraceError, match="Is a directory"):
        TraceFile(tmp_path)


@pytest.fixture
def file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace of five decisions, and a router that finds the specialist by the request's first word."""
    monkeypatch.setattr(routing, "open_router", FakeRouter)
    monkeypatch.setenv("TZ", "UTC")
    other = {**RECORD, "turns": [["user", "sql: which rows?"]]}
    several = {"mode": "parallel", "candidates": [{"specialist": "math"}, {"specialist": None}]}
    texts = TraceFile(tmp_path / "trace.jsonl")
    for record in (RECORD, other, {**RECORD, "asked": "synapse/math"}, {**RECORD, **several, "choose": "likelihood"}):
        texts.add(record)
    texts.close()
    hashes = TraceFile(tmp_path / "trace.jsonl", text=False)
    hashes.add({**RECORD, **several, "choose": "synthesis", "specialist": None, "finish": "client left"})
    hashes.close()
    return tmp_path / "trace.jsonl"


@pytest.mark.parametrize("name", ["show", "replay"])
def test_help_screens(name: str) -> None:
    check_screen(f"help-trace-{name}", run("trace", name, "--help"))


def test_show(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_screen("trace-show", run("trace", "show", str(file)))
    assert len(json.loads(run("trace", "show", str(file), "--json", "--last", "2").stdout)) == 2
    assert "\x1b" not in run("trace", "show", str(file)).stdout
    monkeypatch.setattr(trace, "_width", lambda: 80)
    narrow = run("trace", "show", str(file)).stdout.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in narrow)
    assert narrow[1].split()[-6:] == ["math", "chosen", "0.90", "stop,", "0.25", "s"]


def test_replay(file: Path) -> None:
    check_screen("trace-replay", run("trace", "replay", str(file)))
    found = json.loads(run("trace", "replay", str(file), "--json").stdout)
    assert (found["routed"], found["replayed"], len(found["elsewhere"])) == (4, 3, 1)
    assert found["elsewhere"][0]["now"]["specialist"] == "sql"


def test_error_screens(home: Path, tmp_path: Path) -> None:
    check_screen("error-trace-missing", run("trace", "show", str(tmp_path / "none")), folder=str(tmp_path))
    (tmp_path / "other").write_bytes(os.urandom(100_000))
    check_screen("error-trace-other", run("trace", "replay", str(tmp_path / "other")), folder=str(tmp_path))
    (tmp_path / "empty").touch()
    assert run("trace", "replay", str(tmp_path / "empty")).stdout == "0 of 0 requests go where they went\n"
