"""Measures this engine and its peers on the same files, round by round in turn: `python -m bench --help`."""

from __future__ import annotations

import argparse
import os
import random
import sys
from contextlib import ExitStack
from typing import Any

from bench import inputs, machine, report
from bench.cases import CASES, COLD_START, Case, cold_start
from bench.peers import PEERS, USUAL
from bench.report import Figure
from bench.worker import PeerError, Worker

CASE_NAMES = [case.name for case in CASES] + [COLD_START]
# Other programs at work, beyond which no record is written. llama.cpp's threads wait for each other by spinning: one
# other process on two cores slowed its decode tenfold here, so that a ratio from a busy machine flatters this engine.
QUIET_LOAD = 0.7


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    several: dict[str, Any] = {"action": "append", "help": "may be given several times; default: all"}
    parser.add_argument("--model", choices=inputs.NAMES, **several)
    parser.add_argument("--case", choices=CASE_NAMES, **several)
    usual = f"may be given several times; default: {', '.join(USUAL)}"
    parser.add_argument("--peer", choices=list(PEERS), action="append", help=usual)
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many rounds counts (default: 5)")
    parser.add_argument("--threads", type=int, default=machine.usable_cores(), help="default: all cores")
    parser.add_argument("--no-record", action="store_true", help="only print, write no file under bench/records")
    return parser.parse_args(given)


def main() -> None:
    """Measures, prints a table and writes a record."""
    options = arguments()
    peers = options.peer or USUAL
    wanted = options.case or CASE_NAMES
    load_before = load()
    if busy := load_before > QUIET_LOAD:
        note(f"the machine is busy (load {load_before:.1f}): these figures compare nothing and will not be recorded")
    versions: dict[str, str] = {}
    figures: list[Figure] = []
    for name in options.model or inputs.NAMES:
        path = str(inputs.model_file(name))
        note(f"{name}: loading")
        figures += measure_running(name, path, peers, wanted, options, versions)
        if COLD_START in wanted:
            figures.append(measure_cold(name, path, [peer for peer in peers if peer in versions], options))
    print(report.table(figures, [peer for peer in peers if peer in versions]))
    if not options.no_record and not busy:
        note(f"record: {write(figures, versions, options, load_before)}")


def measure_running(
    name: str, path: str, peers: list[str], wanted: list[str], options: argparse.Namespace, versions: dict[str, str]
) -> list[Figure]:
    """The cases of loaded models. Peers that load are entered in `versions`."""
    cases = [case for case in CASES if case.name in wanted]
    figures = {case.name: Figure(name, case.name, "tok/s") for case in cases}
    rng = random.Random(6900)
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for peer in peers:
            try:
                workers[peer] = stack.enter_context(Worker(peer, path, options.threads))
                versions[peer] = workers[peer].version
                workers[peer].call("prefill", rng.choices(range(1000, 2000), k=64))
            except PeerError as error:
                workers.pop(peer, None)
                note(f"{peer} left out: {error}")
        for turn in range(options.rounds):
            for case in cases:
                for peer in rotated(list(workers), turn):
                    attempt(figures[case.name], peer, case, workers[peer], rng)
    return list(figures.values())


def rotated(peers: list[str], turn: int) -> list[str]:
    """Everyone goes first in turn, so that no one always follows the same neighbour."""
    start = turn % len(peers) if peers else 0
    return peers[start:] + peers[:start]


def attempt(figure: Figure, peer: str, case: Case, worker: Worker, rng: random.Random) -> None:
    """One figure of one round."""
    if peer in figure.refused:
        return
    try:
        speed = case.measure(worker, rng)
    except PeerError as error:
        figure.refused[peer] = str(error)
        return
    figure.rounds.setdefault(peer, []).append(speed)
    note(f"{figure.model}: {case.name}: {peer}: {speed:.1f} tok/s (load {load():.1f})")


def measure_cold(name: str, path: str, peers: list[str], options: argparse.Namespace) -> Figure:
    """Fresh processes; the round before the first fills the page cache and writes the packed file."""
    figure = Figure(name, COLD_START, "s", higher_is_better=False)
    rng = random.Random(6900)
    for turn in range(-1, options.rounds):
        for peer in rotated(peers, turn):
            if peer in figure.refused:
                continue
            try:
                seconds = cold_start(peer, path, options.threads, rng)
            except PeerError as error:
                figure.refused[peer] = str(error)
                continue
            if turn >= 0:
                figure.rounds.setdefault(peer, []).append(seconds)
                note(f"{name}: {COLD_START}: {peer}: {seconds:.2f} s (load {load():.1f})")
    return figure


def load() -> float:
    """Processes that ran or waited in the last minute, on average."""
    return os.getloadavg()[0]


def write(figures: list[Figure], versions: dict[str, str], options: argparse.Namespace, load_before: float) -> str:
    """Saves the record; where it lies."""
    described = machine.describe()
    record = {
        "commit": machine.commit(),
        "machine": described,
        "threads": options.threads,
        "load_before": round(load_before, 2),
        "versions": versions,
        "figures": [figure.record() for figure in figures],
    }
    return str(report.save(record, machine.slug(described)))


def note(text: str) -> None:
    """For who waits; standard output carries the table alone."""
    print(text, file=sys.stderr, flush=True)
