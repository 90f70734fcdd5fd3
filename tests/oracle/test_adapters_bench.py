"""What bench.adapters rests on: its adapters fit the model, have the size asked for, and are alike in both formats."""

from pathlib import Path
from typing import Any

import asking
import pytest
import tiny_gguf
import tiny_models
from bench.random_adapter import WEIGHTS, add_gguf, rank_for, write_random_adapter
from safetensors.numpy import load_file

MODEL = tiny_models.TinyModel("tiny", "qwen2", tiny_models.shape(64, 4, 2, 96))
TOKENS = [5, 17, 200, 9, 301, 44, 5, 17, 386, 0]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("model") / "model.gguf"
    tiny_gguf.save(MODEL, path, "Q8_0")
    loaded = asking.load(path)
    yield loaded
    loaded.close()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_random_adapter_is_one_adapter_in_two_formats(engine: Any, dtype: str, tmp_path: Path):
    write_random_adapter(tmp_path, engine.info(), rank=3, seed=1, dtype=dtype)
    peft = engine.load_adapter("peft", str(tmp_path))
    gguf = engine.load_adapter("gguf", str(add_gguf(tmp_path, engine.info())))
    assert (peft["rank"], peft["modules"], gguf["modules"]) == (3, 14, 14)
    blends: list[Any] = [[("peft", 1.0)], [("gguf", 1.0)], []]
    one, same, none = (asking.distributions(engine, TOKENS, tiny_models.VOCABULARY, blend) for blend in blends)
    assert (one == same).all()
    assert (one != none).any()


def test_the_rank_follows_the_size(engine: Any, tmp_path: Path):
    rank = rank_for(engine.info(), 100_000, "float16")
    write_random_adapter(tmp_path, engine.info(), rank=rank, seed=1, dtype="float16")
    size = sum(matrix.nbytes for matrix in load_file(tmp_path / WEIGHTS).values())
    assert 100_000 * rank / (rank + 1) < size <= 100_000


def test_an_activated_adapter_says_so(engine: Any, tmp_path: Path):
    write_random_adapter(tmp_path, engine.info(), rank=2, seed=1, invocation=[11, 12])
    assert engine.load_adapter("activated", str(tmp_path))["invocation_tokens"] == [11, 12]
