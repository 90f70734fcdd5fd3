"""What adapters cost, beside llama.cpp: ``python -m bench.adapters [MODEL.gguf]``.

Random adapters on all seven projections or on ``--targets``. Decoding of 8 sequences without adapters, on one, and on
8 different ones; the first token after a known text when the adapter stays and when it changes; loading an adapter of
50 MB. Each engine is in a process of its own; what is compared is measured in turn, and ratios and differences are
those of neighbours.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench import inputs
from bench.cases import prompt
from bench.random_adapter import WEIGHTS, add_gguf, rank_for, write_random_adapter
from bench.run import note, rotated
from bench.worker import PeerError, Worker
from synapse_engine import _engine
from synapse_engine.cli import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PEERS = ["synapse", "llama.cpp"]
STREAMS, PROMPT, PASSES = 8, 32, 32
CONTEXT = 256
# In each round; whoever reads everything again at each of them gets fewer.
RETURNS = {"synapse": 12, "llama.cpp": 2}
LARGE = 50_000_000
LARGE_TYPES = ["float16", "float32"]
# Two ordinary tokens, which no prompt here has side by side.
MARKER = [11, 12]
ACTIVATED = "activated"


def names() -> list[str]:
    """One adapter per stream."""
    return [f"adapter-{number}" for number in range(STREAMS)]


def make(model: Path, folder: Path, rank: int, dtype: str, targets: Sequence[str]) -> None:
    """All adapters of a run, in both formats."""
    engine = _engine.Engine(str(model))
    info = engine.info()
    engine.close()
    for seed, name in enumerate(names()):
        write_random_adapter(folder / name, info, rank=rank, seed=seed, dtype=dtype, targets=targets)
    write_random_adapter(folder / ACTIVATED, info, rank=rank, seed=STREAMS, dtype=dtype, invocation=MARKER)
    for kind in LARGE_TYPES:
        write_random_adapter(folder / kind, info, rank=rank_for(info, LARGE, kind), seed=0, dtype=kind)
    for made in folder.iterdir():
        add_gguf(made, info)


def streams(workers: dict[str, Worker], rounds: int) -> None:
    """Tokens per second of all sequences together."""
    kinds: dict[str, list[str | None]] = {
        "no adapter": [None] * STREAMS,
        "one adapter": [names()[0]] * STREAMS,
        f"{STREAMS} adapters": [*names()],
    }
    rng = random.Random(6900)
    for peer, worker in workers.items():
        speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(rounds):
            prompts = [prompt(rng, PROMPT) for _ in range(STREAMS)]
            for kind in rotated(list(kinds), turn):
                seconds = worker.call("adapted_passes", prompts, PASSES, kinds[kind])
                speeds[kind].append(STREAMS * PASSES / seconds)
        for kind, found in speeds.items():
            shares = [one / bare for one, bare in zip(found, speeds["no adapter"], strict=True)]
            row(peer, f"{STREAMS} sequences, {kind}", f"{median(found):.1f} tokens/s", f"{100 * median(shares):.0f} %")


def switches(workers: dict[str, Worker], rounds: int) -> None:
    """Milliseconds to the first token after a text of which all but one token is known, or would be."""
    one, other = names()[:2]
    rng = random.Random(6901)
    for peer, worker in workers.items():
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            context = prompt(rng, CONTEXT)

            def first(kind: str, adapter: str | None, *more: int, text: list[int] = context) -> None:
                tokens = [*text, *(more or [rng.randrange(1000, 2000)])]
                found.setdefault(kind, []).append(1000 * worker.call("adapted_token", tokens, adapter))  # noqa: B023

            steps(peer, first, one, other)
        for kind, values in found.items():
            row(peer, kind, f"{median(values):.2f} ms", against(found, kind))


def steps(peer: str, first: Callable[..., None], one: str, other: str) -> None:
    """A round: who reads the text, who comes back to it."""
    first(f"reads {CONTEXT} tokens, no adapter", None)
    first("no adapter, as before", None)
    if peer == "synapse":
        # An adapter that is activated shares the base's text, so it comes while the base has just read it.
        marked = [*MARKER, 13]
        first("no adapter, 3 tokens more", None, 14, *marked[1:])
        first("aLoRA, marker and 1 token more", ACTIVATED, *marked)
    first("first time with an adapter", one)
    first("first time with another", other)
    for _ in range(RETURNS[peer]):
        first("the same adapter again", other)
        first("back to the other adapter", one)
        first("the same adapter again", one)
        first("back to the other adapter", other)


BASELINES = {
    "back to the other adapter": "the same adapter again",
    "aLoRA, marker and 1 token more": "no adapter, 3 tokens more",
    "the same adapter again": "no adapter, as before",
}


def against(found: dict[str, list[float]], kind: str) -> str:
    """How much more than what it is held against, turn by turn."""
    if kind not in BASELINES:
        return ""
    mine, theirs = found[kind], found[BASELINES[kind]]
    ratio = len(mine) // len(theirs)
    pairs = zip(mine, [value for value in theirs for _ in range(ratio)], strict=True)
    return f"{median(one - its for one, its in pairs):+.2f} ms to `{BASELINES[kind]}`"


def loads(workers: dict[str, Worker], folder: Path, rounds: int) -> None:
    """Milliseconds for an adapter of 50 MB whose file is in the page cache."""
    for kind in LARGE_TYPES:
        for peer, worker in workers.items():
            values = [1000 * worker.call("load_adapter", "large", str(folder / kind)) for _ in range(rounds)]
            size = (folder / kind / WEIGHTS).stat().st_size
            row(peer, f"loads {size / 1e6:.0f} MB of {kind}", f"{median(values):.0f} ms", "")


def row(peer: str, case: str, value: str, beside: str) -> None:
    """A line of the table."""
    print(f"| {peer} | {case} | {value} | {beside} |", flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.adapters", description=__doc__)
    parser.add_argument(
        "model", nargs="?", help="a GGUF file (default: random weights in the shape of Qwen2.5 0.5B, Q4_0)"
    )
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--targets", nargs="+", default=[], metavar="NAME", help="projections; all if absent")
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16", help="of the adapters' numbers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    parser.add_argument("--peer", choices=PEERS, action="append", help="may be given twice; default: both")
    return parser.parse_args()


def main() -> None:
    """Makes adapters in a temporary folder, measures, and prints a table."""
    options = arguments()
    model = Path(options.model) if options.model else inputs.model_file("qwen2.5-0.5b-random-q4_0")
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        note("making adapters")
        make(model, folder, options.rank, options.dtype, options.targets)
        workers: dict[str, Worker] = {}
        for peer in options.peer or PEERS:
            try:
                workers[peer] = stack.enter_context(Worker(peer, str(model), options.threads))
            except PeerError as error:
                note(f"{peer} left out: {error}")
        for worker in workers.values():
            for name in [*names(), ACTIVATED]:
                worker.call("load_adapter", name, str(folder / name))
        print(f"{model.name}, {options.threads} threads, rank {options.rank} of {options.dtype}\n")
        print("| engine | | | to none |\n| --- | --- | --- | --- |")
        streams(workers, options.rounds)
        switches(workers, options.rounds)
        loads(workers, folder, options.rounds)


if __name__ == "__main__":
    main()
