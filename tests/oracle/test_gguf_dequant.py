"""Numbers in GGUF blocks, bit for bit as the `gguf` package reads them: the real file's, and random blocks."""

from pathlib import Path

import gguf_layout
import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter, quants
from gguf.constants import GGMLQuantizationType

from synapse_engine import _engine

ROWS = 7
COLUMNS = 512
KINDS = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", *gguf_layout.SCALES]


def ours(path: Path, name: str) -> np.ndarray:
    shape, values = _engine.gguf_tensor(str(path), name)
    return np.frombuffer(values, dtype="<f4").reshape(shape)


def bits(values: np.ndarray) -> np.ndarray:
    """So that the sign of a zero counts."""
    return np.ascontiguousarray(values, dtype="<f4").view("<u4")


def test_every_tensor_of_the_real_model(smollm2_path: Path):
    tensors = GGUFReader(smollm2_path).tensors
    assert {tensor.tensor_type.name for tensor in tensors} == {"F32", "Q4_1", "Q8_0"}
    for tensor in tensors:
        wanted = quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(bits(ours(smollm2_path, tensor.name)), bits(wanted), err_msg=tensor.name)


@pytest.mark.parametrize("kind", KINDS)
def test_random_blocks(kind: str, tmp_path: Path):
    rng = np.random.default_rng(6900)
    matrix = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    blocks = gguf_layout.encode(matrix, GGMLQuantizationType[kind], rng)
    path = tmp_path / "one.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("before", np.arange(3, dtype=np.float32))
    writer.add_tensor("matrix", blocks, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = ours(path, "matrix")
    assert found.shape == (ROWS, COLUMNS)
    np.testing.assert_array_equal(bits(found), bits(quants.dequantize(blocks, GGMLQuantizationType[kind])))
