"""Measures this engine and its peers on the same files, round by round in turn: `python -m bench --help`."""

from __future__ import annotations

import argparse
import os
import random
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import compare, inputs, report
from bench.cases import CASES, PASSES, Case, pass_name, prompt
from bench.peers import PEERS, USUAL
from bench.report import Figure
from bench.start import COLD_START, PEAK_MEMORY, start
from bench.work import Work, work_of
from bench.worker import PeerError, Worker
from synapse_engine.cli import machine, records
from synapse_engine.cli.account import Roofs, measure_roofs

START = "start"
CASE_NAMES = [case.name for case in CASES] + [START]
RECORD = "peers"
# A decent picture in about five minutes.
QUICK_MODELS = ["qwen2.5-0.5b-random-q4_0", "qwen2.5-1.5b-random-q4_k_m"]
QUICK_CASES = ["prefill 512", "decode 128", pass_name(1), pass_name(8), START]
QUICK_PEERS = ["synapse", "llama.cpp-flash"]
# The long context is measured on the small model: on the large one its products hide what attention costs.
DEEP_MODELS = "qwen2.5-0.5b"
# Other programs at work, beyond which no record is written. llama.cpp's threads wait for each other by spinning: one
# other process on two cores slowed its decode tenfold here, so that a ratio from a busy machine flatters this engine.
QUIET_LOAD = 0.7


@dataclass
class Run:
    """What is asked for, and what has been found so far."""

    options: argparse.Namespace
    peers: list[str]
    cases: list[str]
    versions: dict[str, str] = field(default_factory=dict)
    roofs: Roofs | None = None
    figures: list[Figure] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Rounds of every case."""
        return int(self.options.rounds or (2 if self.options.quick else 5))

    @property
    def usual(self) -> bool:
        """Everyone runs as installed: such figures can be held against a record."""
        return not (self.options.kernels or self.options.llama_cpp_python)

    def python_of(self, peer: str) -> str:
        """The interpreter that has the peer's package."""
        other = self.options.llama_cpp_python if peer.startswith("llama.cpp") else None
        return str(other or sys.executable)

    def measure_roofs(self) -> Roofs:
        """What the machine can do now; the best of the whole run is kept."""
        found = measure_roofs(self.options.threads)
        self.roofs = found.best(self.roofs) if self.roofs else found
        return found


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    several: dict[str, Any] = {"action": "append", "help": "may be given several times; default: all"}
    parser.add_argument("--model", choices=inputs.NAMES, **several)
    parser.add_argument("--case", choices=CASE_NAMES, **several)
    usual = f"may be given several times; default: {', '.join(USUAL)}"
    parser.add_argument("--peer", choices=list(PEERS), action="append", help=usual)
    parser.add_argument("--rounds", type=int, help="the median of so many rounds counts (default: 5)")
    parser.add_argument("--threads", type=int, default=machine.usable_cores(), help="default: all cores")
    parser.add_argument("--kernels", help="force this kernel set on this engine; no record is written")
    parser.add_argument(
        "--llama-cpp-python",
        metavar="PYTHON",
        help="the Python of an environment whose llama.cpp was built otherwise; no record is written",
    )
    parser.add_argument("--quick", action="store_true", help="two models, few cases, two rounds: about five minutes")
    parser.add_argument("--no-record", action="store_true", help="only print, write no file under bench/records")
    return parser.parse_args(given)


def main() -> None:
    """Measures, prints a table and what moved since the last record, and writes a record."""
    options = arguments()
    if options.kernels:
        # For this process, which measures the roofs, and for those that it starts.
        os.environ["SYNAPSE_KERNELS"] = options.kernels
    quick = options.quick
    run = Run(
        options,
        peers=options.peer or (QUICK_PEERS if quick else USUAL),
        cases=options.case or (QUICK_CASES if quick else CASE_NAMES),
    )
    load_before = load()
    if busy := load_before > QUIET_LOAD:
        note(f"the machine is busy (load {load_before:.1f}): these figures compare nothing and will not be recorded")
    for name in options.model or (QUICK_MODELS if quick else inputs.NAMES):
        measure_model(run, name)
    finish(run, load_before, keep=run.usual and not (options.no_record or busy))


def measure_model(run: Run, name: str) -> None:
    """All cases of a model: those of loaded peers first, then fresh processes."""
    path = inputs.model_file(name)
    note(f"{name}: loading")
    wanted = [case for case in CASES if case.name in run.cases and (not case.deep or name.startswith(DEEP_MODELS))]
    figures = {case.name: Figure(name, case.name, case.unit, case.higher_is_better, case.roof) for case in wanted}
    work = work_of(path)
    with ExitStack() as stack:
        workers = opened(run, str(path), stack)
        for deep in (False, True):
            cases = [case for case in wanted if case.deep == deep]
            measure_rounds(run, work, figures, cases, workers)
    run.figures += figures.values()
    run.figures += relative_passes(figures)
    if START in run.cases:
        run.figures += measure_start(run, name, str(path))


def opened(run: Run, path: str, stack: ExitStack) -> dict[str, Worker]:
    """A warm worker for each peer that can load the model."""
    workers: dict[str, Worker] = {}
    for peer in run.peers:
        try:
            worker = stack.enter_context(Worker(peer, path, run.options.threads, run.python_of(peer)))
            worker.call("prefill", prompt(random.Random(0), 64))
        except PeerError as error:
            note(f"{peer} left out: {error}")
            continue
        workers[peer], run.versions[peer] = worker, worker.version
    return workers


def measure_rounds(
    run: Run, work: Work, figures: dict[str, Figure], cases: list[Case], workers: dict[str, Worker]
) -> None:
    """Everyone's rounds of these cases, in turn."""
    rng = random.Random(6900)
    for turn in range(run.rounds):
        for case in cases:
            for peer in rotated(list(workers), turn):
                attempt(run, work, figures[case.name], case, (peer, workers[peer]), rng)


def rotated(peers: list[str], turn: int) -> list[str]:
    """Everyone goes first in turn, so that no one always follows the same neighbour."""
    first = turn % len(peers) if peers else 0
    return peers[first:] + peers[:first]


def attempt(run: Run, work: Work, figure: Figure, case: Case, who: tuple[str, Worker], rng: random.Random) -> None:
    """One figure of one round, with its share of the roof as measured before and after."""
    peer, worker = who
    if peer in figure.refused:
        return
    before = run.measure_roofs() if case.roof else None
    try:
        value = case.measure(worker, rng)
    except PeerError as error:
        figure.refused[peer] = str(error)
        note(f"{figure.model}: {figure.case}: {peer} cannot: {error}")
        return
    figure.rounds.setdefault(peer, []).append(value)
    share = case.share(value, work, before.mean(run.measure_roofs())) if before else None
    if share is not None:
        figure.shares.setdefault(peer, []).append(share)
    of_roof = "" if share is None else f", {100 * share:.0f} % of {case.roof}"
    note(f"{figure.model}: {figure.case}: {peer}: {value:.2f} {figure.unit}{of_roof} (load {load():.1f})")


def relative_passes(figures: dict[str, Figure]) -> list[Figure]:
    """What a pass of several rows costs beside a pass of one."""
    one = figures.get(pass_name(1))
    several = [rows for rows in PASSES if rows > 1 and pass_name(rows) in figures]
    if one is None:
        return []
    return [report.relative(figures[pass_name(rows)], one, f"{pass_name(rows)} / pass of 1") for rows in several]


def measure_start(run: Run, name: str, path: str) -> list[Figure]:
    """Fresh processes; the round before the first fills the page cache and writes the packed file."""
    time = Figure(name, COLD_START, "s", higher_is_better=False)
    memory = Figure(name, PEAK_MEMORY, "MB", higher_is_better=False)
    rng = random.Random(6900)
    for turn in range(-1, run.rounds):
        for peer in rotated([peer for peer in run.peers if peer in run.versions], turn):
            try:
                found = start(peer, path, run.options.threads, prompt(rng, 16), run.python_of(peer))
            except PeerError as error:
                time.refused[peer] = memory.refused[peer] = str(error)
                continue
            if turn >= 0:
                time.rounds.setdefault(peer, []).append(found.seconds)
                memory.rounds.setdefault(peer, []).append(found.memory)
                note(f"{name}: {START}: {peer}: {found.seconds:.2f} s, {found.memory:.0f} MB (load {load():.1f})")
    return [time, memory]


def finish(run: Run, load_before: float, *, keep: bool) -> None:
    """The table, what moved, and the record."""
    print(report.table(run.figures, [peer for peer in run.peers if peer in run.versions]))
    if not run.usual:
        return
    record = {
        "threads": run.options.threads,
        "load_before": round(load_before, 2),
        "versions": run.versions,
        "roofs": asdict(run.roofs) if run.roofs else None,
        "figures": [figure.record() for figure in run.figures],
    }
    if last := records.newest(RECORD, records.default_folder()):
        path, old = last
        print(f"\n{compare.summary(old, record, path.name)}")
    if keep:
        note(f"record: {records.save(RECORD, record, records.default_folder())}")


def load() -> float:
    """Processes that ran or waited in the last minute, on average."""
    return os.getloadavg()[0]


def note(text: str) -> None:
    """For who waits; standard output carries the tables alone."""
    print(text, file=sys.stderr, flush=True)
