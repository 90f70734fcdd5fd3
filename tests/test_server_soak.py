"""The soak test itself: it passes over a sound server and notices one that is not. Then briefly over the real model."""

import asyncio
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from bench import soak

from server_fake import FakeEngine
from server_support import MODEL, fake_server

OPTIONS = Namespace(requests=120, connections=16, seconds=60, seed=0, progress=False)
ROOT = Path(__file__).parent.parent


def run_over(engine: FakeEngine, **server) -> soak.Tally:
    with fake_server(engine, **server) as (url, _):
        return asyncio.run(soak.run(url, MODEL, OPTIONS, os.getpid()))


def test_a_sound_server_passes(capsys):
    tally = run_over(FakeEngine(max_queue=256))
    assert soak.report(tally, 1)
    assert sum(tally.outcomes.values()) == OPTIONS.requests
    assert {"streamed chat", "left a stream", "whole chat", "refused a mistake"} <= set(tally.outcomes)
    assert json.loads(capsys.readouterr().out)["faults"] == {}


def test_a_full_queue_is_noticed():
    tally = run_over(FakeEngine(max_sequences=1, max_queue=1))
    assert any("status 429" in fault for fault in tally.faults)


class Leaky(FakeEngine):
    def cancel(self, request_id: int) -> None:
        """Never frees a slot."""

    def stats(self):
        return {**super().stats(), "running": 1}


def test_a_slot_that_is_not_freed_is_noticed(monkeypatch):
    monkeypatch.setattr(soak, "END_SECONDS", 0.2)
    tally = run_over(Leaky(max_queue=256))
    assert tally.faults["synapse_requests_running is 1 in the end"] == 1


@pytest.mark.parametrize(
    ("rss", "well"), [([100] * 40, True), ([100] * 20 + [110] * 20, True), (range(0, 800, 20), False)]
)
def test_growing_memory_is_noticed(capsys, rss, well):
    assert soak.report(soak.Tally(rss=[value * 2**20 for value in rss]), 1) is well
    assert ("memory grew" in capsys.readouterr().out) is not well


def test_the_real_server(smollm2_path):
    load = ["--requests", "240", "--connections", "16", "--ctx", "512"]
    command = [sys.executable, "-m", "bench.soak", str(smollm2_path), *load]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(json.loads(done.stdout)["outcomes"].values()) == 240
