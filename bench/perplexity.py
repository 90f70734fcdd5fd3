"""Perplexity of a fixed text under every number format, beside llama.cpp and float32.

    python tests/oracle/gguf_to_hf.py SmolLM2-135M-Instruct.Q4_1.gguf FOLDER
    python -m bench.perplexity FOLDER

FOLDER then has the file's weights in float32, so that everyone starts from the same numbers. Windows of 512 tokens
start every 256; each counts the tokens that the one before did not.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import inputs
from synapse_engine import _engine
from synapse_engine.cli import machine, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from synapse_engine.engine import Quant

TEXT = Path(__file__).parent / "data" / "perplexity.txt"
WINDOW, STRIDE = 512, 256
TRUTH = "transformers f32"

QUANTS: list[Quant] = ["none", "f16", "q8", "q4"]


@dataclass
class Losses:
    """Of each window, the negative log-likelihood of its new tokens and how many they are."""

    sums: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Over all windows."""
        return sum(self.counts)

    @property
    def perplexity(self) -> float:
        """Over all tokens."""
        return math.exp(math.fsum(self.sums) / self.tokens)


@dataclass
class Result:
    """One row of the table."""

    name: str
    # Over all weights of the model; None where nothing was quantized.
    bits_per_weight: float | None
    losses: Losses

    @property
    def perplexity(self) -> float:
        """See `Losses`."""
        return self.losses.perplexity

    def record(self) -> dict[str, Any]:
        """What is kept."""
        kept = {"name": self.name, "bits_per_weight": self.bits_per_weight}
        return {**kept, "perplexity": self.perplexity, "tokens": self.losses.tokens}


def windows(tokens: list[int]) -> Iterator[tuple[list[int], int]]:
    """Each window, and how many of its tokens, from its end, count."""
    yield tokens[:WINDOW], min(WINDOW, len(tokens)) - 1
    for start in range(STRIDE, len(tokens) - WINDOW + STRIDE, STRIDE):
        window = tokens[start : start + WINDOW]
        yield window, len(window) - (WINDOW - STRIDE)


def losses_of(score: Callable[[list[int]], list[float]], tokens: list[int]) -> Losses:
    """Over all tokens but the first."""
    losses = Losses()
    for window, new in windows(tokens):
        losses.sums.append(-math.fsum(score(window)[-new:]))
        losses.counts.append(new)
        progress(losses.tokens, len(tokens) - 1)
    return losses


def progress(done: int, total: int) -> None:
    """One line that overwrites itself."""
    print(f"\r{done} of {total} tokens", end="\n" if done == total else "", file=sys.stderr, flush=True)


def measure_engine(path: Path, quant: Quant, name: str, text: str, threads: int) -> Result:
    """This engine."""
    engine = _engine.Engine(str(path), quant=quant, threads=threads, context_length=1024, packed_file=False)
    queue = _engine.EventQueue()

    def score(window: list[int]) -> list[float]:
        engine.submit({"tokens": window, "task": "score"}, queue)
        found: list[dict[str, Any]] = []
        while True:
            for event in queue.receive():
                if event.error:
                    raise event.error
                found += event.tokens
                if event.kind == "done":
                    return [token["logprob"] for token in found[1:]]

    losses = losses_of(score, engine.tokenize(text, add_special=False))
    bits = engine.info()["bits_per_weight"]
    engine.close()
    return Result(name, bits, losses)


def measure_llama_cpp(path: Path, name: str, text: str, threads: int) -> Result:
    """llama.cpp on a GGUF file."""
    import llama_cpp
    import numpy as np

    from bench.peers.llama_cpp import Model

    model = Model(str(path), threads=threads, context=1024, sequences=1, flash_attention=True)
    vocabulary = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)

    def score(window: list[int]) -> list[float]:
        model.clear()
        rows = [(token, at, 0) for at, token in enumerate(window)]
        logits = model.run(rows, list(range(len(rows))))[:-1].astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        found = shifted[np.arange(len(shifted)), window[1:]] - np.log(np.exp(shifted).sum(axis=1))
        return [float(value) for value in found]

    tokens = vocabulary.tokenize(text.encode(), add_bos=False)
    return Result(name, None, losses_of(score, tokens))


def measure_transformers(folder: Path, text: str, threads: int) -> Result:
    """The truth: the file's weights, nothing rounded."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def score(window: list[int]) -> list[float]:
        with torch.no_grad():
            values = model(torch.tensor([window])).logits[0, :-1].log_softmax(-1)
        return [float(value) for value in values[torch.arange(len(window) - 1), window[1:]]]

    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    return Result(TRUTH, None, losses_of(score, tokens))


def table(results: list[Result]) -> str:
    """For people; the last column is the distance from float32."""
    truth = next((result.perplexity for result in results if result.name == TRUTH), None)
    lines = [f"{'':32}{'bits/weight':>12}{'perplexity':>12}{'to f32':>9}"]
    for result in results:
        bits = "-" if result.bits_per_weight is None else f"{result.bits_per_weight:.2f}"
        change = "-" if truth is None else f"{100 * (result.perplexity / truth - 1):+.2f} %"
        lines.append(f"{result.name:32}{bits:>12}{result.perplexity:>12.3f}{change:>9}")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints a table and writes a record."""
    parser = argparse.ArgumentParser(prog="python -m bench.perplexity", description=__doc__)
    parser.add_argument("folder", type=Path, help="SmolLM2 as a Hugging Face folder in float32")
    parser.add_argument("--quant", choices=QUANTS, action="append", help="default: all")
    parser.add_argument("--threads", type=int, default=machine.usable_cores(), help="default: all cores")
    parser.add_argument("--alone", action="store_true", help="only this engine, on the folder")
    parser.add_argument("--no-record", action="store_true", help="only print")
    options = parser.parse_args()
    text = TEXT.read_text(encoding="utf-8")
    results: list[Result] = []
    if not options.alone:
        file = inputs.model_file(inputs.SMOLLM2)
        results += [
            measure_transformers(options.folder, text, options.threads),
            measure_llama_cpp(file, "llama.cpp, same file", text, options.threads),
            measure_engine(file, "auto", "synapse, GGUF as it is", text, options.threads),
        ]
    for quant in options.quant or QUANTS:
        results.append(measure_engine(options.folder, quant, f"synapse, {quant}", text, options.threads))
    print(table(results))
    if not options.no_record:
        measured = {"perplexity": [one.record() for one in results]}
        records.save("perplexity", measured, records.default_folder(), "perplexity")


if __name__ == "__main__":
    main()
