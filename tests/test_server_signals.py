"""A server process that is told to stop: it ends within seconds, and streams that run are told. Engine: the fake."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

from server_support import MODEL, chat_body, client

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from server_fake import FakeEngine, FakeQueue
from synapse_engine.server import ApiServer, ServerOptions
options = ServerOptions(port=0, drain_seconds=0.5)
ready = lambda url: print(url, flush=True)
ApiServer({{{model!r}: FakeEngine()}}, options, on_ready=ready, new_queue=FakeQueue).run()
"""


@pytest.fixture
def process():
    program = PROGRAM.format(tests=str(Path(__file__).parent), model=MODEL)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server(process, number):
    url = process.stdout.readline().strip()
    with client(url) as api:
        short = api.chat.completions.create(**chat_body())
        assert short.choices[0].message.content == "hello"
        says = "SAY:SLOW " + "x" * 3000
        stream = api.chat.completions.create(**chat_body(messages=[{"role": "user", "content": says}], stream=True))
        next(stream)
        begun = time.monotonic()
        process.send_signal(number)
        with pytest.raises(openai.APIError, match="shutting down"):
            list(stream)
        process.wait(10)
        assert time.monotonic() - begun < 5


def test_what_can_end_in_time_ends_well(process):
    url = process.stdout.readline().strip()
    with client(url) as api:
        says = "SAY:SLOW " + "x" * 12
        stream = api.chat.completions.create(**chat_body(messages=[{"role": "user", "content": says}], stream=True))
        text = next(stream).choices[0].delta.content
        process.send_signal(signal.SIGTERM)
        text += "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == "x" * 12
    process.wait(10)
