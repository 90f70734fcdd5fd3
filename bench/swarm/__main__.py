"""What a swarm is worth: base, specialists alone, routed, in parallel and merged, on the same held-out tasks.

``python -m bench.swarm --base FOLDER --adapters RUN RUN`` measures two specialists of ``synapse train specialist``;
``--train FOLDER`` trains them first. ``--wall MODEL`` also measures what four adapters at a time cost on that model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.swarm import figures, teaching
from bench.swarm.run import Run, Settings, measure
from synapse_engine.cli import machine, records
from synapse_engine.routing.opening import FOLDER


def show(run: Run) -> None:
    """For people."""
    print(figures.table(run.rows, {kind: len(tasks) for kind, tasks in run.tasks.items()}))
    for library, hits in run.found["routing"].items():
        for kind, hit in hits.items():
            value, low, high = (100 * hit[name] for name in ("value", "low", "high"))
            print(f"{library}: {kind} routed right {value:.1f} % ({low:.1f} to {high:.1f})")
    for what, ratio in run.found["wall"].items():
        print(f"wall time of {what}: {ratio['whole']:.2f}x of one with the prompt, {ratio['decode']:.2f}x without")


def save(run: Run) -> None:
    """Writes a record, with how the specialists were trained."""
    settings = run.settings
    measured = {
        "base": settings.base.name,
        "quant": settings.quant,
        "threads": settings.threads,
        "tasks": {kind: len(tasks) for kind, tasks in run.tasks.items()},
        "rows": [row.record() for row in run.rows],
        **run.found,
        "trained": {name: teaching.history(specialist) for name, specialist in run.specialists.items()},
    }
    records.save("swarm", measured, records.default_folder(), "swarm")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.swarm", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="the model's folder (safetensors)")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--adapters", type=Path, nargs="+", metavar="RUN", help="folders with NAME.toml")
    which.add_argument("--train", type=Path, metavar="FOLDER", help="train both there first, or go on with it")
    parser.add_argument("--quant", default="q8", choices=["none", "f16", "q8", "q4"], help="of the base; default: q8")
    parser.add_argument("--count", type=int, default=200, help="held-out tasks of each kind; default: 200")
    parser.add_argument("--text-tokens", type=int, default=6000, help="of the plain text; default: 6000")
    parser.add_argument("--trim", type=float, action="append", help="of the TIES merge; default: 0.8")
    parser.add_argument("--coordinator", type=Path, default=FOLDER, help="default: the one that comes with the package")
    parser.add_argument("--rounds", type=int, default=9, help="of the measurement of wall time; default: 9")
    parser.add_argument("--wall", type=Path, metavar="MODEL", help="four random adapters at a time on this model")
    parser.add_argument("--threads", type=int, default=machine.usable_cores(), help="default: all cores")
    parser.add_argument("--no-record", action="store_true", help="only print")
    return parser.parse_args()


def main() -> None:
    """Measures, prints a table and writes a record."""
    options = arguments()
    settings = Settings(
        options.base,
        options.quant,
        options.threads,
        options.count,
        options.text_tokens,
        tuple(options.trim or [0.8]),
        options.coordinator,
        options.rounds,
        options.wall,
    )
    folders = teaching.train(options.base, options.train, options.threads) if options.train else options.adapters
    run = Run.of(settings, teaching.find(folders))
    measure(run)
    show(run)
    if not options.no_record:
        save(run)


if __name__ == "__main__":
    main()
