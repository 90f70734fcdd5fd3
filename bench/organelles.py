"""Organelle models in this engine and in PyTorch, on the same weights and in turn: ``python -m bench.organelles``.

PyTorch runs the model as it is trained, eager and compiled. For every new token it runs its window of 256 positions
again, as the family's reference does; so a token costs it what a prompt of 256 costs. Needs the ``train`` extra.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from bench.organelle_models import save_random
from synapse_engine import _engine
from synapse_engine.cli import machine, records
from synapse_engine.cli.account import Account, Roofs, measure_roofs
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 256
QUANTS = {"none": "f32", "f16": "f16", "q8": "q8"}
# Answers of one round: their tokens are at positions 1 to 255.
PROMPT, ANSWER = 1, 255
# Tokens past a full window, each of which costs the engine a prompt, too.
BEYOND = 16


class InEngine:
    """The engine with one number format."""

    def __init__(self, folder: Path, quant: str, threads: int) -> None:
        options: dict[str, Any] = {"prefix_cache": False, "packed_file": False, "speculation": "off"}
        self._engine = _engine.Engine(str(folder), quant=quant, threads=threads, **options)
        self._queue = _engine.EventQueue()
        self.parameters: int = self._engine.info()["parameters"]

    def prefill(self) -> float:
        """Seconds for the first token after 256."""
        return self._answer(WINDOW, 1)[0]

    def decode(self) -> float:
        """Seconds a token, from an empty window to a full one."""
        return self._answer(PROMPT, ANSWER)[1]

    def beyond(self) -> float:
        """Seconds a token once the window is full."""
        return self._answer(WINDOW, BEYOND)[1]

    def account(self) -> Account:
        """Where its time went so far."""
        return Account.of(self._engine.stats())

    def _answer(self, prompt: int, count: int) -> tuple[float, float]:
        request = {"tokens": list(range(10, 10 + prompt)), "max_new_tokens": count, "temperature": 0.0}
        self._engine.submit({**request, "ignore_eos": True}, self._queue)
        while True:
            for event in self._queue.receive():
                if event.error:
                    raise event.error
                if event.usage:
                    first, total = event.usage["first_token_seconds"], event.usage["total_seconds"]
                    return first, (total - first) / max(count - 1, 1)


class InTorch:
    """The PyTorch model; ``step`` is what every one of its tokens costs."""

    def __init__(self, folder: Path, *, compiled: bool) -> None:
        config = SymbioConfig.from_json(json.loads((folder / "config.json").read_text()))
        model = SymbioModel(config).eval()
        model.load_state_dict(
            {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
        )
        self._model: Callable[[torch.Tensor], torch.Tensor] = torch.compile(model) if compiled else model
        self._ids = torch.arange(10, 10 + WINDOW)[None]

    def step(self) -> float:
        """Seconds for one forward pass over the window, and the likeliest token after it."""
        start = perf_counter()
        with torch.inference_mode():
            self._model(self._ids)[0, -1].argmax().item()
        return perf_counter() - start


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everyone in turn; what each round gave."""
    torch.set_num_threads(options.threads)
    engines = {name: InEngine(folder, quant, options.threads) for quant, name in QUANTS.items()}
    peers = {"PyTorch": InTorch(folder, compiled=False), "PyTorch, compiled": InTorch(folder, compiled=True)}
    steps: dict[str, Callable[[], float]] = {f"{name}: step": peer.step for name, peer in peers.items()}
    for name, engine in engines.items():
        for what, method in [("prefill", engine.prefill), ("decode", engine.decode), ("beyond", engine.beyond)]:
            steps[f"{name}: {what}"] = method
    rounds: dict[str, list[float]] = {what: [] for what in steps}
    shares: dict[str, list[float]] = {name: [] for name in engines}
    roofs = measure_roofs(options.threads)
    for turn in range(-1, options.rounds):
        for what, step in steps.items():
            name = what.split(":")[0]
            before, roof = (engines[name].account() if name in engines else None), measure_roofs(options.threads)
            seconds = step()
            if turn < 0:
                continue  # compiles, and fills caches
            rounds[what].append(seconds)
            if before and what.endswith("decode"):
                shares[name].append(share_of_read(engines[name].account() - before, seconds * ANSWER, roof))
            roofs = roofs.best(roof)
        note(f"round {turn + 1} of {options.rounds}")
    return {"parameters": engines["f32"].parameters, "rounds": rounds, "shares": shares, "roofs": asdict(roofs)}


def share_of_read(spent: Account, seconds: float, roofs: Roofs) -> float:
    """Bytes that the answer could not do without, over those that memory gives in its time."""
    return spent.total.bytes / (seconds * roofs.read_bytes_per_second)


def table(found: dict[str, Any]) -> str:
    """For people."""
    millions = found["parameters"] / 1e6
    middle = {what: median(seconds) for what, seconds in found["rounds"].items()}
    lines = [f"{millions:.2f} million parameters; medians of {len(found['rounds']['PyTorch: step'])} rounds", ""]
    for name in ("PyTorch", "PyTorch, compiled"):
        step = middle[f"{name}: step"]
        lines.append(f"{name:18} {1000 * step:7.2f} ms a token: {1 / step:8.0f} tok/s")
    for name in QUANTS.values():
        prefill, decode, beyond = (middle[f"{name}: {what}"] for what in ("prefill", "decode", "beyond"))
        eager, compiled = (middle[f"{peer}: step"] / decode for peer in ("PyTorch", "PyTorch, compiled"))
        lines += [
            f"synapse {name:10} {1000 * decode:7.3f} ms a token: {1 / decode:8.0f} tok/s, {eager:.0f} times PyTorch and"
            f" {compiled:.0f} times compiled, {100 * median(found['shares'][name]):.0f} % of the read bandwidth",
            f"{'':18} {1000 * prefill:7.2f} ms for a prompt of {WINDOW}: {1000 * prefill / millions:.2f} a million",
            f"{'':18} {1000 * beyond:7.2f} ms a token past the window: {1 / beyond:.0f} tok/s",
        ]
    return "\n".join(lines)


def note(text: str) -> None:
    """For who waits."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.organelles", description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of an organelle model (default: SymbioSLM, random weights)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    parser.add_argument("--record", action="store_true", help="write a file under bench/records")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(options.model or save_random("SymbioSLM", Path(temporary) / "model"), options)
    print(table(found))
    if options.record:
        versions = {"torch": torch.__version__, "synapse-engine": _engine.__version__}
        record = {"threads": options.threads, "versions": versions, **found}
        note(f"record: {records.save('organelles', record, records.default_folder(), 'organelles')}")


if __name__ == "__main__":
    main()
