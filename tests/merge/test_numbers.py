"""Number formats, trimming and combining, against PyTorch, PEFT and loops in plain Python."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from merge_models import ties_slowly
from peft.utils import merge_utils

from synapse_engine.merge import weights
from synapse_engine.merge.formats import all_finite, from_float32, to_float32
from synapse_engine.merge.methods import Dare, cut_of, disjoint_mean, total
from synapse_engine.merge.trim import find_cut, kept
from synapse_engine.merge.weights import Tensor

TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
# Few values, so that magnitudes are equal, opposite and zero often.
COARSE = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, 1e-40, -1e-40])
LENGTHS = st.integers(1, 40)


@pytest.mark.parametrize("dtype", TORCH)
@given(values=arrays(np.float32, LENGTHS, elements=FINITE))
@example(values=np.array([3.3961776e38, 3.4028235e38, 65519.0, 65520.0, 1e-40, -0.0], np.float32))
def test_rounding_is_that_of_torch(dtype: str, values: np.ndarray) -> None:
    wanted = torch.from_numpy(values).to(TORCH[dtype])
    found = from_float32(values, dtype)
    assert found.tobytes() == wanted.view(torch.uint8).numpy().tobytes()
    assert np.array_equal(to_float32(found, dtype), wanted.float().numpy())
    assert all_finite(found, dtype) == bool(wanted.isfinite().all())


def test_halves_of_bfloat16_go_to_even() -> None:
    halfway = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xBF808000], np.uint32).view(np.float32)
    assert from_float32(halfway, "BF16").tolist() == [0x3F80, 0x3F82, 0x3F81, 0xBF80]


@given(data=st.data(), elements=st.sampled_from([COARSE, FINITE]), size=LENGTHS)
def test_a_cut_keeps_exactly_the_largest(data: st.DataObject, elements: st.SearchStrategy[float], size: int) -> None:
    values = data.draw(arrays(np.float32, size, elements=elements))
    keep = data.draw(st.integers(0, size))
    step = data.draw(st.integers(1, size))
    blocks = [values[at : at + step] for at in range(0, size, step)]
    cut = find_cut(lambda: iter(blocks), keep)
    found = np.concatenate([cut(block) for block in blocks])
    order = sorted(range(size), key=lambda at: (-abs(values[at]), at))[:keep]
    wanted = np.zeros_like(values)
    wanted[order] = values[order]
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize(("elements", "trim", "stay"), [(10, 0.8, 2), (100, 0.29, 71), (1, 0.8, 0), (7, 0.0, 7)])
def test_how_many_stay(elements: int, trim: float, stay: int) -> None:
    assert kept(elements, trim) == stay


@given(data=st.data(), sources=st.integers(1, 4), size=LENGTHS)
def test_the_disjoint_mean_is_that_of_a_loop(data: st.DataObject, sources: int, size: int) -> None:
    vectors = [data.draw(arrays(np.float32, size, elements=COARSE)) for _ in range(sources)]
    found = disjoint_mean(vectors)
    assert found.dtype == np.float32
    # The loop adds in float64; these few values add up to the same in both.
    assert np.array_equal(found, ties_slowly(vectors, [size] * sources))


def test_equal_votes_leave_the_base_alone() -> None:
    deltas = [np.array([1.0, 1.0, 0.0], np.float32), np.array([-1.0, -0.5, 0.0], np.float32)]
    assert disjoint_mean(deltas).tolist() == [0.0, 1.0, 0.0]


class Given:
    """A source with one tensor."""

    name, weight, facts = "given", 1.0, ""

    def __init__(self, change: np.ndarray) -> None:
        self.change = change
        self.tensors = [Tensor("w", "F32", change.shape, Path("none"), 0)]

    def delta(self, tensor: Tensor, start: int, stop: int) -> np.ndarray:
        return self.change[start:stop]


@pytest.mark.parametrize("block", [1, 64, 1 << 20])
def test_ties_is_that_of_peft(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BLOCK", block)
    sources = [Given(np.random.default_rng(seed).normal(size=(20, 15)).astype(np.float32)) for seed in range(3)]
    [tensor] = sources[0].tensors
    pruned = []
    for source in sources:
        cut = cut_of(source, source.tensors, 0.8)
        pruned.append(np.concatenate([cut(source.delta(tensor, *rows)) for rows in weights.row_blocks(tensor)]))
    wanted = merge_utils.ties([torch.from_numpy(source.change) for source in sources], torch.ones(3), 0.2)
    np.testing.assert_allclose(disjoint_mean(pruned), wanted.numpy(), rtol=1e-6)


def drop(rows: int, index: int = 0, **settings: object) -> np.ndarray:
    """Ones through DARE, some rows at a time."""
    tensor = SimpleNamespace(name=settings.pop("name", "w"))
    prune = Dare(**{"drop": 0.75, "elect": False, "seed": 7, **settings}).pruner(index, None, tensor)
    ones = np.ones((400, 250), np.float32)
    return np.concatenate([prune(ones[at : at + rows]) for at in range(0, 400, rows)])


def test_dare_drops_a_share_and_keeps_the_mean() -> None:
    found = drop(400)
    assert set(np.unique(found).tolist()) == {0.0, 4.0}
    # Five standard deviations of a binomial of 100,000 draws.
    assert abs((found == 0).mean() - 0.75) < 5 * (0.75 * 0.25 / found.size) ** 0.5


def test_dare_depends_on_seed_name_and_place_only() -> None:
    found = drop(400)
    assert np.array_equal(found, drop(3))
    for other in (drop(400, seed=8), drop(400, name="v"), drop(400, index=1)):
        # Two independent draws agree in 10/16 of the places.
        assert abs((found == other).mean() - 0.625) < 0.01


def test_a_sum_changes_none_of_its_terms() -> None:
    first = np.ones(3, np.float32)
    assert total([first, first, first]).tolist() == [3.0] * 3
    assert first.tolist() == [1.0] * 3
