"""Writes quant_mix.json: the formats that the quantizer in llama-cpp-python gives the tensors of small random models.

python -m tests.goldens.make_quant_mix
"""

import json
import tempfile
from pathlib import Path

import llama_cpp
from bench.make_random_gguf import write_random_gguf
from bench.peers.llama_cpp import quantize
from bench.quant_mix import MIXES
from tests.test_random_gguf import SHAPES, kinds

GOLDEN = Path(__file__).with_name("quant_mix.json")


def requantized(name: str, mix: str, folder: Path) -> dict[str, str]:
    """What llama.cpp makes of a Q8_0 file."""
    source, target = folder / "source.gguf", folder / "target.gguf"
    write_random_gguf(source, SHAPES[name], MIXES["q8_0"])
    quantize(source, target, int(MIXES[mix].file_type))
    return kinds(target)


def main() -> None:
    """Both shapes, every mix."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: {mix: requantized(name, mix, Path(folder)) for mix in MIXES} for name in SHAPES}
    made_with = f"llama-cpp-python {llama_cpp.__version__}"
    GOLDEN.write_text(json.dumps({"made_with": made_with, "kinds": found}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
