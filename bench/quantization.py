"""Perplexity and size of this engine's q8 and q4 beside llama.cpp's Q8_0, Q4_0 and Q4_K_M.

    python -m bench.quantization

All start from the same float32 weights of SmolLM2-135M-Instruct, in two forms that compute the same (see
`bench.float_models`): `as published`, on the grid of the Q4_1 file that they come from, and `turned`, on none.
llama.cpp's quantizer makes its files; every format runs in this engine, llama.cpp's in llama.cpp as well. Text and
windows are those of `bench.perplexity`. Bits are the bytes of the tensors in the file, of all and of the layers alone.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf import GGUFReader

from bench import float_models, inputs
from bench.perplexity import TEXT, Losses, measure_engine, measure_llama_cpp
from bench.quant_mix import MIXES
from synapse_engine import _engine
from synapse_engine.cli import machine, records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synapse_engine.engine import Quant

OURS: list[Quant] = ["q8", "q4"]
THEIRS = ["q8_0", "q4_k_m", "q4_0"]
FORMS = {"as published": False, "turned": True}


@dataclass(frozen=True)
class Size:
    """Bits per weight in a file."""

    all: float
    # Without embedding and head.
    layers: float

    @classmethod
    def of(cls, tensors: Iterable[tuple[str, int, int]]) -> Size:
        """From names, bytes and numbers of weights."""
        totals = {True: [0, 0], False: [0, 0]}
        for name, size, weights in tensors:
            total = totals[name.startswith(("blk.", "model.layers."))]
            total[0] += size
            total[1] += weights
        every = [sum(pair) for pair in zip(*totals.values(), strict=True)]
        return cls(8 * every[0] / every[1], 8 * totals[True][0] / totals[True][1])


@dataclass
class Row:
    """A format's figures for one form of the model."""

    format: str
    runs_in: str
    size: Size
    losses: Losses

    def excess(self, truth: Losses) -> tuple[float, float]:
        """Loss per token above the truth's, and its standard error over windows, which are taken pair by pair."""
        counts = truth.counts
        differences = [(a - b) / n for a, b, n in zip(self.losses.sums, truth.sums, counts, strict=True)]
        mean = (math.fsum(self.losses.sums) - math.fsum(truth.sums)) / truth.tokens
        return mean, statistics.stdev(differences) / math.sqrt(len(counts))

    def record(self, truth: Losses) -> dict[str, Any]:
        """What is kept."""
        mean, error = self.excess(truth)
        return {
            "format": self.format,
            "runs_in": self.runs_in,
            "bits_per_weight": self.size.all,
            "bits_per_layer_weight": self.size.layers,
            "perplexity": self.losses.perplexity,
            "loss_above_f32": mean,
            "standard_error": error,
        }


def size_of_gguf(path: Path) -> Size:
    """What the tensors of a GGUF file take."""
    tensors = GGUFReader(path).tensors
    return Size.of((tensor.name, int(tensor.n_bytes), int(tensor.n_elements)) for tensor in tensors)


def size_of_packed(path: Path, quant: Quant) -> Size:
    """What the tensors of this engine's packed file take."""
    engine = _engine.Engine(str(path), quant=quant, context_length=64)
    packed = Path(engine.info()["packed_file"])
    with packed.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    engine.close()
    packed.unlink()
    metadata = header.pop("__metadata__")

    def sizes(name: str) -> tuple[str, int, int]:
        start, end = header[name]["data_offsets"]
        _, rows, columns, _ = metadata[name].split(" ")
        return name, end - start, int(rows) * int(columns)

    return Size.of(map(sizes, header))


def measure(source: Path, folder: Path, text: str, threads: int) -> list[Row]:
    """All formats, made from the float32 file `source`; the first row is float32 itself."""
    from bench.peers.llama_cpp import quantize

    losses = measure_engine(source, "none", "", text, threads).losses
    rows = [Row("f32", "synapse", size_of_gguf(source), losses)]
    for quant in OURS:
        losses = measure_engine(source, quant, "", text, threads).losses
        rows.append(Row(quant, "synapse", size_of_packed(source, quant), losses))
    for mix in THEIRS:
        file = folder / f"{mix}.gguf"
        quantize(source, file, int(MIXES[mix].file_type))
        size, name = size_of_gguf(file), mix.upper()
        rows.append(Row(name, "synapse", size, measure_engine(file, "auto", "", text, threads).losses))
        rows.append(Row(name, "llama.cpp", size, measure_llama_cpp(file, "", text, threads).losses))
        file.unlink()
    return rows


def table(form: str, rows: list[Row]) -> str:
    """In Markdown."""
    lines = [
        f"| {form} | runs in | bits | of the layers | perplexity | to f32 | loss above f32 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    truth = rows[0].losses
    for row in rows:
        mean, error = row.excess(truth)
        change = "" if row.losses is truth else f"{100 * (row.losses.perplexity / truth.perplexity - 1):+.2f} %"
        loss = "" if row.losses is truth else f"{mean:.4f} ± {error:.4f}"
        sizes = f"{row.size.all:.3f} | {row.size.layers:.3f}"
        lines.append(f"| {row.format} | {row.runs_in} | {sizes} | {row.losses.perplexity:.3f} | {change} | {loss} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints a table for each form of the model and writes a record."""
    parser = argparse.ArgumentParser(prog="python -m bench.quantization", description=__doc__)
    parser.add_argument("--form", choices=list(FORMS), action="append", help="default: both")
    parser.add_argument("--threads", type=int, default=machine.usable_cores(), help="default: all cores")
    parser.add_argument("--no-record", action="store_true", help="only print")
    options = parser.parse_args()
    text = TEXT.read_text(encoding="utf-8")
    measured = {}
    for form in options.form or FORMS:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "f32.gguf"
            float_models.write(inputs.model_file(inputs.SMOLLM2), source, turned=FORMS[form])
            rows = measure(source, Path(folder), text, options.threads)
        print(table(form, rows), end="\n\n", flush=True)
        measured[form] = [row.record(rows[0].losses) for row in rows]
    if not options.no_record:
        records.save("quantization", {"quantization": measured}, records.default_folder(), "quantization")


if __name__ == "__main__":
    main()
