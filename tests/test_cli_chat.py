"""`chat` and `run`, with a model that says what it was asked: in this process, behind a server, on a real terminal."""

import http.server
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from store_support import gguf_bytes
from synapse_engine.cli import open_talker
from synapse_engine.cli.app import Failure, synapse
from synapse_engine.cli.conversation import Conversation
from synapse_engine.cli.markdown import MarkdownWriter, end_of_block
from synapse_engine.cli.runs import registered
from synapse_engine.cli.talk import Answer, ServerTalker
from synapse_engine.store import PullRequest, Silent, Store, pull

pytest_plugins = ["store_fixtures"]

# A model that repeats the last message word by word; "forever" never ends, "break" fails.
ECHO = """
import time

class EchoTalker:
    where = "in this process"

    def __init__(self, chosen, load, specialist=None):
        self.model = chosen.name
        self.specialist = specialist
        self.closed = False

    def stream(self, messages, options, answer):
        words = messages[-1]["content"].split()
        if words == ["break"]:
            error = RuntimeError("it broke")
            error.hint = "mend it"
            raise error
        if self.specialist:
            words.insert(0, self.specialist + ":")
            answer.synapse = {"specialist": self.specialist, "probabilities": {self.specialist: 0.75}}
        if len(messages) > 1 and messages[0]["role"] == "system":
            words.insert(0, messages[0]["content"] + ":")
        while words:
            word = words.pop(0)
            answer.text += word + " "
            answer.completion_tokens += 1
            yield word + " "
            if word == "forever":
                words.append(word)
                time.sleep(0.02)
        answer.finish_reason, answer.first_token_seconds, answer.total_seconds = "stop", 0.5, 1.5

    def close(self):
        self.closed = True
"""
_made: dict[str, type] = {}
exec(ECHO, _made)  # noqa: S102 - the same source runs in a process of its own below


@pytest.fixture
def tiny(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes())
    pull(Store(), PullRequest(str(tmp_path / "tiny.gguf")), Silent())
    monkeypatch.setattr(open_talker, "LocalTalker", _made["EchoTalker"])


@pytest.mark.usefixtures("tiny")
class TestRun:
    def test_streams_to_stdout_and_nothing_else_does(self) -> None:
        result = CliRunner().invoke(synapse, ["run", "tiny", "hello there"])
        assert (result.exit_code, result.stdout, result.stderr) == (0, "hello there \n", "loading tiny ...\n")

    def test_reads_standard_input(self) -> None:
        for arguments in (["run", "tiny"], ["run", "tiny", "-"], ["chat", "tiny"], ["chat"]):
            assert CliRunner().invoke(synapse, arguments, input="from a pipe\n").stdout == "from a pipe \n"

    def test_an_empty_prompt_is_an_error(self) -> None:
        assert CliRunner().invoke(synapse, ["run", "tiny"], input="").exit_code == 1

    def test_json_has_the_whole_record(self) -> None:
        arguments = ["run", "tiny", "a b", "--json", "--system", "S", "--seed", "1", "--temperature", "0.5"]
        record = json.loads(CliRunner().invoke(synapse, arguments).stdout)
        assert record["text"] == "S: a b "
        assert record["finish_reason"] == "stop"
        assert record["completion_tokens"] == 3
        assert record["tokens_per_second"] == 2.0

    def test_a_specialist_over_the_usual_model(self) -> None:
        for name, specialist in [("synapse", "auto"), ("synapse/math", "math")]:
            result = CliRunner().invoke(synapse, ["run", name, "two"])
            assert (result.stdout, result.stderr) == (f"{specialist}: two \n", "loading tiny ...\n")
        record = json.loads(CliRunner().invoke(synapse, ["run", "synapse/math", "two", "--json"]).stdout)
        assert (record["model"], record["synapse"]["specialist"]) == ("tiny", "math")

    def test_an_error_of_the_model_is_shown_with_its_hint(self) -> None:
        result = CliRunner().invoke(synapse, ["run", "tiny", "break"])
        assert result.exit_code == 1
        assert result.stderr.endswith("error: it broke\nhint: mend it\n")


class Terminal:
    """A chat in a process of its own, on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.screen = ""
        code = ECHO + (
            "from synapse_engine.cli import main, open_talker\nopen_talker.LocalTalker = EchoTalker\nmain()\n"
        )
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, "chat", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            preexec_fn=_own_the_terminal,
        )  # fmt: skip
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, then: str = "", seconds: float = 15) -> None:
        """Reads until ``text`` is on the screen, and ``then`` after it."""
        deadline = time.monotonic() + seconds
        while not (text in self.screen and then in self.screen.partition(text)[2]):
            assert time.monotonic() < deadline, f"{text!r} did not come; the screen was: {self.screen!r}"
            if select.select([self._ours], [], [], 0.05)[0]:
                try:
                    fresh = os.read(self._ours, 65536).decode(errors="replace")
                except OSError:
                    fresh = ""
                self.screen += re.sub(r"\x1b[\[\]?][0-9;?]*[a-zA-Z]", "", fresh)

    def forget(self) -> None:
        self.screen = ""

    def leave(self) -> int:
        try:
            return self._process.wait(15)
        finally:
            self._process.kill()
            os.close(self._ours)


def _own_the_terminal() -> None:
    """Makes the pseudo-terminal the one whose Ctrl-C reaches this process."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # A test run in the background may ignore interrupts, and its children with it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.usefixtures("tiny")
def test_a_chat_on_a_terminal(tmp_path: Path) -> None:
    chat = Terminal("tiny")
    chat.wait_for("/help lists the commands")
    chat.wait_for("> ")
    chat.type("hello there\r")
    chat.wait_for("2 tokens, 1.0 tok/s, first after 0.50 s")
    chat.type("go on forever\r")
    chat.wait_for("forever forever forever")
    chat.type("\x03")
    chat.wait_for("[stopped]")
    chat.forget()
    chat.type("break\r")
    chat.wait_for("hint: mend it")
    chat.type("/system Be brief\r")
    chat.wait_for("the conversation starts over")
    chat.type("still here\r")
    chat.wait_for("Be brief: still here")
    chat.type(f"/save {tmp_path}/talk.json\r")
    chat.wait_for("saved to")
    chat.type("/nonsense\r")
    # Between two prompts the terminal would make a signal of Ctrl-C and an end of file of Ctrl-D.
    chat.wait_for("there is no /nonsense", then="> ")
    chat.forget()
    chat.type("\x03")
    chat.wait_for("> ")
    chat.type("\x04")
    assert chat.leave() == 0
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert [turn["role"] for turn in saved] == ["system", "user", "assistant"]


@pytest.mark.usefixtures("tiny")
def test_specialists_in_a_chat() -> None:
    chat = Terminal("synapse")
    chat.wait_for("synapse (auto), tiny, in this process")
    chat.wait_for("> ")
    chat.type("hello\r")
    chat.wait_for("auto (0.75), 2 tokens")
    chat.type("/specialist math\r")
    chat.wait_for("math, over tiny", then="> ")
    chat.type("hello\r")
    chat.wait_for("math: hello")
    chat.type("/specialist mth\r")
    chat.wait_for("did you mean math?", then="> ")
    chat.type("/specialist none\r")
    chat.wait_for("tiny itself", then="> ")
    chat.forget()
    chat.type("again\r")
    chat.wait_for("1 tokens")
    chat.type("/specialist\r")
    chat.wait_for("tiny itself", then="> ")
    chat.type("/exit\r")
    assert chat.leave() == 0


@pytest.mark.usefixtures("tiny")
def test_history_survives_the_session(home: Path) -> None:
    for leave_with in ("/exit\r", "/bye\r"):
        chat = Terminal("tiny")
        chat.wait_for("> ")
        chat.type(leave_with)
        assert chat.leave() == 0
    assert "/exit" in (home / "history").read_text()
    assert (home / "history").stat().st_mode & 0o077 == 0


class _Api(http.server.BaseHTTPRequestHandler):
    """Answers as the server does: two pieces, then the usage."""

    asked: dict[str, object]
    key: str | None = None

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        type(self).asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.key and self.headers.get("Authorization") != f"Bearer {self.key}":
            self._send(401, b'{"error": {"message": "wrong key"}}')
            return
        chunks = [
            {"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}]},
            {"choices": [{"delta": {"content": "one "}, "finish_reason": None}]},
            {"choices": [{"delta": {"content": "two"}, "finish_reason": "stop"}], "synapse": {"specialist": "math"}},
            {
                "choices": [],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
            },
        ]
        body = b": a comment\n\n" + b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        self._send(200, body + b"data: [DONE]\n\n")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def api(key: str | None = None) -> Iterator[tuple[type[_Api], int]]:
    handler = type("Api", (_Api,), {"key": key})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield handler, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("tiny")
def test_a_running_server_answers_instead_of_loading() -> None:
    with api() as (handler, port), registered("127.0.0.1", port, ["tiny"], auth=False):
        result = CliRunner().invoke(synapse, ["run", "tiny", "count", "--max-tokens", "9", "--json"])
        with_own_options = CliRunner().invoke(synapse, ["run", "tiny", "here", "--threads", "1"])
    record = json.loads(result.stdout)
    assert (record["text"], record["finish_reason"], record["cached_tokens"]) == ("one two", "stop", 3)
    assert handler.asked["max_tokens"] == 9
    assert handler.asked["messages"] == [{"role": "user", "content": "count"}]
    assert with_own_options.stdout == "here \n"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("name", "served", "asked"),
    [
        ("tiny", ["tiny"], {"model": "tiny"}),
        ("synapse", ["tiny"], {"model": "synapse"}),
        ("synapse/math", ["tiny"], {"model": "synapse/math"}),
        ("synapse", ["big", "tiny"], {"model": "synapse", "synapse": {"base": "big"}}),
    ],
)
def test_what_a_server_is_asked(name: str, served: list[str], asked: dict[str, object]) -> None:
    with api() as (handler, port), registered("127.0.0.1", port, served, auth=False):
        record = json.loads(CliRunner().invoke(synapse, ["run", name, "count", "--json"]).stdout)
    assert {field: handler.asked[field] for field in ("model", "synapse") if field in handler.asked} == asked
    assert record["synapse"] == {"specialist": "math"}


@pytest.mark.usefixtures("tiny")
def test_a_server_with_a_key_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with api(key="secret") as (_, port), registered("127.0.0.1", port, ["tiny"], auth=True) as run:
        monkeypatch.delenv("SYNAPSE_API_KEY", raising=False)
        assert CliRunner().invoke(synapse, ["run", "tiny", "here"]).stdout == "here \n"
        with pytest.raises(Failure, match="wrong key"):
            list(ServerTalker(run).stream([], {}, Answer()))
        monkeypatch.setenv("SYNAPSE_API_KEY", "secret")
        assert CliRunner().invoke(synapse, ["run", "tiny", "there"]).stdout == "one two\n"


def test_a_server_that_is_gone_is_a_clear_error(home: Path) -> None:
    with registered("127.0.0.1", 9, ["tiny"], auth=False) as run, pytest.raises(Failure, match="went away") as caught:
        list(ServerTalker(run).stream([], {}, Answer()))
    assert caught.value.hint


def test_a_conversation_keeps_its_order(tmp_path: Path) -> None:
    talk = Conversation("S")
    talk.ask("a")
    talk.answered("b")
    talk.ask("unanswered")
    talk.answered("")
    assert [turn["content"] for turn in talk.messages] == ["S", "a", "b"]
    assert talk.save(str(tmp_path / "x.md")).read_text() == "## system\n\nS\n\n## user\n\na\n\n## assistant\n\nb\n"
    with pytest.raises(Failure, match="exists already"):
        talk.save(str(tmp_path / "x.md"))
    talk.clear()
    assert [turn["content"] for turn in talk.messages] == ["S"]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("", None),
        ("one line", None),
        ("one line\n", None),
        ("one line\n\n", 10),
        ("\n\none\n\ntwo", 7),
        ("```\ncode\n\nmore\n", None),
        ("```\ncode\n\nmore\n```\n\n", 20),
    ],
)
def test_a_block_of_markdown_ends_at_a_blank_line_outside_code(text: str, end: int | None) -> None:
    assert end_of_block(text) == end


def test_markdown_is_drawn_once_however_it_is_cut(tmp_path: Path) -> None:
    text = "# Title\n\nSome *words*.\n\n```python\nx = 1\n\ny = 2\n```\n\n- a\n- b\n"
    screens = []
    for size in (1, 7, 1000):
        with (tmp_path / f"{size}").open("w") as file:
            writer = MarkdownWriter(Console(file=file, width=40))
            for start in range(0, len(text), size):
                writer.add(text[start : start + size])
            writer.finish()
        screens.append((tmp_path / f"{size}").read_text())
    assert screens[0] == screens[1] == screens[2]
    assert screens[0].count("y = 2") == 1
