"""How well requests find their specialist: ``python -m bench.routing [--coordinator FOLDER] [--out FOLDER]``.

Every scorer is judged on the hand-written requests of ``bench/data/routing.jsonl``, which no training has seen, beside
three baselines in the same run; the last one is shown in full. The centroids train on generated requests, as the
coordinator does.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import routing_measures as measures
from bench.routing_scorers import NAMES, Centroids, Coordinator, Keywords, Majority, Scorer
from synapse_engine import Engine
from synapse_engine.routing.opening import FOLDER
from synapse_engine.specialists import built_in
from synapse_engine.train.routing.generate import Generator, grammar
from synapse_engine.train.routing.requests import NONE, Request, read_requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.routing_measures import Floats, Integers, Interval

HELD_OUT = Path(__file__).parent / "data" / "routing.jsonl"
MEASURES = {
    "accuracy": measures.accuracy,
    "macro_f1": measures.macro_f1,
    "calibration_error": measures.calibration_error,
    "none_found": measures.none_found,
}


@dataclass(frozen=True)
class Judged:
    """One scorer on the held-out requests."""

    name: str
    probabilities: Floats
    figures: dict[str, Interval]
    by_trait: dict[str, tuple[float, int]]
    """Accuracy on the requests with a trait, and how many these are."""


def judge(scorer: Scorer, requests: Sequence[Request], truth: Integers) -> Judged:
    """Scores all requests and measures."""
    probabilities = np.asarray(scorer.score(requests), dtype=np.float64)
    if probabilities.shape != (len(requests), len(NAMES)):
        raise ValueError(f"{scorer.name}: expected ({len(requests)}, {len(NAMES)}), found {probabilities.shape}")
    if not ((probabilities >= 0).all() and (probabilities.sum(1) <= 1 + 1e-6).all()):
        raise ValueError(f"{scorer.name}: probabilities of a request are not negative and add up to at most 1")
    figures = {name: measures.with_interval(measure, probabilities, truth) for name, measure in MEASURES.items()}
    by_trait = {}
    for trait in sorted({trait for request in requests for trait in request.traits}):
        chosen = np.array([trait in request.traits for request in requests]) & (truth >= 0)
        if chosen.any():
            by_trait[trait] = (measures.accuracy(probabilities[chosen], truth[chosen]), int(chosen.sum()))
    return Judged(scorer.name, probabilities, figures, by_trait)


def truth_of(requests: Sequence[Request]) -> Integers:
    """The number of each request's specialist; -1 for none."""
    return np.array([-1 if request.label == NONE else NAMES.index(request.label) for request in requests])


def baselines(model: Path | str | None, per_label: int) -> Iterator[Scorer]:
    """All three; the centroids twice, from generated requests and from the specialists' own examples."""
    training = generated(per_label)
    yield Majority(training)
    yield Keywords()
    if model is not None:
        with Engine(model, max_sequences=8) as engine:
            yield Centroids("centroids", engine, training)
            shown = [Request((text,), s.name, "example") for s in built_in() for text in s.examples]
            yield Centroids("centroids of examples", engine, shown)


def generated(per_label: int) -> list[Request]:
    """The first requests of the generator with so many of each specialist; its seed differs from that of training."""
    kept: dict[str, list[Request]] = {name: [] for name in NAMES}
    for request in Generator(2, grammar()).stream():
        if request.label in kept and len(kept[request.label]) < per_label:
            kept[request.label].append(request)
        if all(len(found) == per_label for found in kept.values()):
            return [request for found in kept.values() for request in found]
    raise AssertionError("the stream does not end")


def table(judged: Sequence[Judged], truth: Integers) -> str:
    """For people."""
    count, none = int((truth >= 0).sum()), int((truth < 0).sum())
    lines = [f"{count} requests of {len(NAMES)} specialists, {none} of none; 95 % intervals (bootstrap)", ""]
    lines.append(f"{'':24}" + "".join(f"{name:>24}" for name in MEASURES))
    for one in judged:
        cells = [f"{i.value:9.3f} ({i.low:.3f}-{i.high:.3f})" for i in one.figures.values()]
        lines.append(f"{one.name:24}" + "".join(f"{cell:>24}" for cell in cells))
    best = judged[-1]
    lines += ["", f"{best.name}: accuracy above that of"]
    for other in judged[:-1]:
        gap = measures.difference(best.probabilities, other.probabilities, truth)
        lines.append(f"  {other.name:22} {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})")
    lines += ["", f"{best.name}: accuracy by trait"]
    lines += [f"  {trait:22} {share:.3f} of {number}" for trait, (share, number) in best.by_trait.items()]
    return "\n".join([*lines, "", *_matrix(best, truth), "", *_curve(best, truth)])


def _matrix(judged: Judged, truth: Integers) -> list[str]:
    matrix = measures.confusion(judged.probabilities, truth)
    head = f"{judged.name}: rows go to columns"
    rows = [f"  {name:10}" + "".join(f"{n:10}" for n in row) for name, row in zip([*NAMES, NONE], matrix, strict=True)]
    return [head, f"  {'':10}" + "".join(f"{name:>10}" for name in NAMES), *rows]


def _curve(judged: Judged, truth: Integers) -> list[str]:
    lines = [f"{judged.name}: below a threshold it abstains", "  threshold  answered     right  none refused"]
    return lines + [
        f"  {point.threshold:9.2f} {point.answered:9.3f} {point.right:9.3f} {point.none_refused:13.3f}"
        for point in measures.abstain_curve(judged.probabilities, truth)
    ]


def record(judged: Sequence[Judged], truth: Integers) -> dict[str, Any]:
    """For JSON."""
    return {
        one.name: {
            "figures": {name: asdict(interval) for name, interval in one.figures.items()},
            "by_trait": one.by_trait,
            "confusion": measures.confusion(one.probabilities, truth).tolist(),
            "abstain": [asdict(point) for point in measures.abstain_curve(one.probabilities, truth)],
        }
        for one in judged
    }


def load_scorer(path: str) -> Scorer:
    """What ``MODULE:FUNCTION`` returns."""
    module, _, function = path.partition(":")
    scorer: Scorer = getattr(importlib.import_module(module), function)()
    return scorer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument("--coordinator", type=Path, help="instead of the one that comes with the package")
    parser.add_argument("--scorer", action="append", default=[], help="MODULE:FUNCTION: a scorer of your own")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="base model of the centroids: a name or path")
    parser.add_argument("--no-model", action="store_true", help="leave the centroids out")
    parser.add_argument("--per-label", type=int, default=200, help="generated requests for each centroid")
    parser.add_argument("--held-out", type=Path, default=HELD_OUT)
    parser.add_argument("--out", type=Path, help="folder for routing.json and routing.png")
    options = parser.parse_args()
    requests = list(read_requests(options.held_out))
    truth = truth_of(requests)
    judged = []
    for scorer in baselines(None if options.no_model else options.model, options.per_label):
        print(f"{scorer.name} ...", file=sys.stderr, flush=True)
        judged.append(judge(scorer, requests, truth))
    coordinator = Coordinator(options.coordinator or FOLDER, built_in())
    judged += [judge(scorer, requests, truth) for scorer in (*map(load_scorer, options.scorer), coordinator)]
    print(table(judged, truth))
    if options.out:
        from bench.routing_plot import draw  # needs matplotlib, which nothing else here does

        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "routing.json").write_text(json.dumps(record(judged, truth), indent=2) + "\n")
        draw(judged, truth, options.out / "routing.png")


if __name__ == "__main__":
    main()
