"""What bench.quantization rests on: a turned model is the same function on other weights; sizes and errors by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import tiny_gguf
import tiny_models
from asking import distributions, load
from bench import float_models
from bench.perplexity import Losses
from bench.quantization import Row, Size, size_of_packed
from gguf import GGUFReader

TOKENS = [5, 17, 200, 9, 301, 44, 5, 17, 386, 0]


@pytest.mark.parametrize("tied", [False, True], ids=["head of its own", "tied head"])
def test_a_turned_model_computes_the_same(tied: bool, tmp_path: Path):
    shape = tiny_models.shape(64, 4, 2, 96, tie_word_embeddings=tied)
    source = tmp_path / "source.gguf"
    tiny_gguf.save(tiny_models.TinyModel("tiny", "llama", shape), source, "Q8_0")
    found = []
    for turned in (False, True):
        target = tmp_path / f"{turned}.gguf"
        float_models.write(source, target, turned=turned)
        engine = load(target, quant="none")
        found.append(distributions(engine, TOKENS, tiny_models.VOCABULARY))
        engine.close()
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)


def test_a_turned_model_has_other_weights(tmp_path: Path):
    source, target = tmp_path / "source.gguf", tmp_path / "turned.gguf"
    tiny_gguf.save(tiny_models.TinyModel("tiny", "llama", tiny_models.shape(64, 4, 2, 96)), source, "F32")
    float_models.write(source, target, turned=True)
    before, after = ({tensor.name: tensor.data for tensor in GGUFReader(path).tensors} for path in (source, target))
    for name, values in after.items():
        if name.endswith("_norm.weight"):
            assert (values == 1.0).all()
        else:
            assert np.abs(values - before[name]).max() > 0.1 * np.abs(before[name]).max(), name


def test_size_counts_layers_apart():
    size = Size.of([("blk.0.attn_q.weight", 18, 32), ("token_embd.weight", 34, 32), ("output_norm.weight", 16, 4)])
    assert (size.all, size.layers) == (8 * 68 / 68, 4.5)


def test_size_of_a_packed_file(tmp_path: Path):
    source = tmp_path / "source.gguf"
    tiny_gguf.save(tiny_models.TinyModel("tiny", "llama", tiny_models.shape(64, 4, 2, 96)), source, "F32")
    packed_before = set(tmp_path.iterdir())
    size = size_of_packed(source, "q8")
    norms = 2 * 2 * 64
    matrices = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64)
    assert size.layers == pytest.approx((8.5 * matrices + 32 * norms) / (matrices + norms))
    assert set(tmp_path.iterdir()) == packed_before


def test_the_error_is_of_paired_windows():
    truth = Losses(sums=[10.0, 30.0, 20.0], counts=[10, 10, 10])
    row = Row("q", "synapse", Size(4.0, 4.0), Losses(sums=[11.0, 33.0, 22.0], counts=[10, 10, 10]))
    mean, error = row.excess(truth)
    # Differences of 0.1, 0.3 and 0.2 a token: their deviation is 0.1.
    assert (mean, error) == (pytest.approx(0.2), pytest.approx(0.1 / math.sqrt(3)))
    assert row.losses.perplexity == pytest.approx(math.exp(66 / 30))
