"""The random models of bench/: formats as llama.cpp's quantizer mixes them, values of a sane size."""

import json
from pathlib import Path

import numpy as np
import pytest
from bench.make_random_gguf import SHAPES as REAL_SHAPES
from bench.make_random_gguf import Shape, write_random_gguf
from bench.quant_mix import MIXES
from bench.random_blocks import LAYOUTS, random_blocks
from gguf import GGMLQuantizationType, GGUFReader, quants

from synapse_engine import _engine

GOLDEN = Path(__file__).parent / "goldens" / "quant_mix.json"
# Small, with rows that are and are not multiples of 256, and the layer counts of Qwen2.5 0.5B and 1.5B.
SHAPES = {
    "rows-of-128": Shape(hidden=128, layers=24, heads=4, kv_heads=2, head_dim=32, ffn=512, vocab=1024),
    "rows-of-256": Shape(hidden=256, layers=28, heads=4, kv_heads=2, head_dim=64, ffn=768, vocab=1024),
}


def kinds(path: Path) -> dict[str, str]:
    """The formats of each matrix, layer by layer."""
    found: dict[str, dict[int, str]] = {}
    for tensor in GGUFReader(path).tensors:
        if tensor.data.ndim > 1:
            layer, name = tensor.name.split(".", 2)[1:] if tensor.name.startswith("blk.") else (0, tensor.name)
            found.setdefault(name, {})[int(layer)] = tensor.tensor_type.name
    return {name: " ".join(kind for _, kind in sorted(layers.items())) for name, layers in found.items()}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("shape", SHAPES)
def test_formats_are_those_of_llama_cpp(shape: str, mix: str, tmp_path: Path):
    path = tmp_path / "random.gguf"
    write_random_gguf(path, SHAPES[shape], MIXES[mix])
    assert kinds(path) == json.loads(GOLDEN.read_text())["kinds"][shape][mix]


@pytest.mark.parametrize("kind", LAYOUTS, ids=lambda kind: kind.name)
def test_values_have_mean_zero_and_the_deviation_of_weights(kind: GGMLQuantizationType):
    values = quants.dequantize(random_blocks(np.random.default_rng(0), 64, 1536, kind), kind)
    assert abs(values.std() * 1536**0.5 - 1) < 0.02
    # The quants of Q4_0 and its like reach one step further down than up.
    assert abs(values.mean() * 1536**0.5) < 0.12


def test_the_engine_runs_a_mixed_file(tmp_path: Path):
    path = tmp_path / "random.gguf"
    write_random_gguf(path, SHAPES["rows-of-128"], MIXES["q4_k_m"])
    engine = _engine.Engine(str(path), context_length=64, packed_file=False)
    queue = _engine.EventQueue()
    engine.submit({"tokens": [300, 301, 302], "max_new_tokens": 4, "ignore_eos": True, "temperature": 0.0}, queue)
    tokens: list[int] = []
    while len(tokens) < 4:
        for event in queue.receive():
            assert event.error is None
            tokens += [token["id"] for token in event.tokens]
    engine.close()
    assert all(0 <= token < 1024 for token in tokens)


def test_parameters_are_those_of_the_published_models():
    assert {name: parameters(shape) for name, shape in REAL_SHAPES.items()} == {
        "qwen2.5-0.5b": 494032768,
        "qwen2.5-1.5b": 1543714304,
    }


def parameters(shape: Shape) -> int:
    """Embeddings, norms, and per layer the projections of attention with three biases, and three of the FFN."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = 2 * queries * shape.hidden + 2 * keys * shape.hidden + queries + 2 * keys
    layer = attention + 3 * shape.hidden * shape.ffn + 2 * shape.hidden
    return shape.vocab * shape.hidden + shape.layers * layer + shape.hidden
