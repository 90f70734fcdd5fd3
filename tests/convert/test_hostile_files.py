"""Bytes of sound checkpoints are changed at random: what comes out is the typed error or the right tensors.

Checksums find most changes, so a second round repairs them and lets the damage reach the readers' own checks.
"""

import functools
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import organelle_sources as sources
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jld2_writer import Jld2Writer, repaired
from safetensors.numpy import load_file

from synapse_engine.convert import ConvertError, ConvertRequest, convert
from synapse_engine.convert.files import read_bytes

EXAMPLES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)
Changes = list[tuple[float, int]]


def small_tree() -> dict[str, Any]:
    """Without Monarch matrices, so that most bytes of the file are structure."""
    tree = sources.julia_tree(width=2, inner=2, layers=1)
    for block in tree["blocks"].values():
        del block["seq_mixer"]["monarch"]
        del block["seq_mixer"]["longconv"]
        block["seq_mixer"]["gate"]["logits"] = block["seq_mixer"]["gate"]["logits"][:1]
    return tree


def small_state() -> dict[str, np.ndarray]:
    return sources.torch_state(width=2, inner=2, layers=1, heads=1, head_dim=2, organelles=("causal_conv", "attention"))


def changed(data: bytes, changes: Changes) -> bytes:
    broken = bytearray(data)
    for place, value in changes:
        broken[int(place * len(broken))] = value
    return bytes(broken)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    sources.write_bpe(folder)
    return folder


def outcome(place: Path, name: str, data: bytes) -> dict[str, np.ndarray] | None:
    """The converted tensors; None after a typed error. Neither leaves anything else behind."""
    (place / name).write_bytes(data)
    try:
        convert(ConvertRequest(place / name, place / "out", force=True))
    except ConvertError:
        return None
    finally:
        assert not [each for each in place.iterdir() if each.name.startswith(".")]
    return load_file(place / "out" / "model.safetensors")


@functools.cache
def sound_outcome(place: Path, name: str, data: bytes) -> dict[str, np.ndarray] | None:
    return outcome(place, name, data)


def same(found: dict[str, np.ndarray] | None, wanted: dict[str, np.ndarray] | None) -> None:
    assert wanted is not None
    if found is not None:
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


@EXAMPLES
@given(changes=CHANGES)
def test_changed_jld2(place: Path, changes: Changes) -> None:
    """Arrays have no checksum in JLD2: a changed byte there is another number, and changes nothing else."""
    writer = Jld2Writer()
    whole = writer.file({"parameters": small_tree()})
    broken = changed(whole, changes)
    wanted = bytearray(whole)
    for _, start, end in writer.arrays:
        wanted[start:end] = broken[start:end]
    found = outcome(place, "final.jld2", broken)
    if found is not None:
        same(found, outcome(place, "final.jld2", bytes(wanted)))


@EXAMPLES
@given(changes=CHANGES, nibble=st.sampled_from([0, 3]), inline_limit=st.sampled_from([0, 1024]))
def test_changed_jld2_with_right_checksums(place: Path, changes: Changes, nibble: int, inline_limit: int) -> None:
    writer = Jld2Writer(nibble, inline_limit)
    whole = writer.file({"parameters": small_tree(), "step": np.array(3, "<i8")})
    found = outcome(place, "final.jld2", repaired(changed(whole, changes), writer.headers))
    if found is not None:
        wanted = outcome(place, "final.jld2", whole)
        assert wanted is not None
        assert {name: array.shape for name, array in found.items()} == {
            name: array.shape for name, array in wanted.items()
        }


@functools.cache
def saved_state() -> bytes:
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in small_state().items()}, buffer)
    return buffer.getvalue()


@EXAMPLES
@given(changes=CHANGES)
def test_changed_pt(place: Path, changes: Changes) -> None:
    """Every entry has a checksum: whatever passes is what was saved."""
    whole = saved_state()
    same(outcome(place, "symbio.pt", changed(whole, changes)), sound_outcome(place, "symbio.pt", whole))


@EXAMPLES
@given(changes=CHANGES)
def test_changed_pickle_with_right_checksums(place: Path, changes: Changes) -> None:
    whole = saved_state()
    with zipfile.ZipFile(io.BytesIO(whole)) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    pickle = next(name for name in entries if name.endswith("data.pkl"))
    entries[pickle] = changed(entries[pickle], changes)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name, content in entries.items():
            new.writestr(name, content)
    found = outcome(place, "symbio.pt", buffer.getvalue())
    if found is not None:
        known = {np.ascontiguousarray(array).tobytes() for array in small_state().values()}
        for name, array in found.items():
            # Another stride or storage shows other saved numbers, never numbers from elsewhere.
            assert np.isin(array, np.concatenate([np.frombuffer(each, "<f4") for each in known])).all(), name


@functools.cache
def saved_arrays(compressed: bool) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **small_state())
    return buffer.getvalue()


@EXAMPLES
@given(changes=CHANGES, compressed=st.booleans())
def test_changed_npz(place: Path, changes: Changes, compressed: bool) -> None:
    whole = saved_arrays(compressed)
    same(outcome(place, "symbio.npz", changed(whole, changes)), sound_outcome(place, "symbio.npz", whole))


@EXAMPLES
@given(data=st.binary(max_size=300), name=st.sampled_from(["a.jld2", "a.pt", "a.npz", "a.bin"]), zipped=st.booleans())
def test_any_bytes_at_all(place: Path, data: bytes, name: str, zipped: bool) -> None:
    if zipped:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a/data.pkl", data)
        data = buffer.getvalue()
    assert outcome(place, name, data) is None


def test_a_file_may_not_be_larger_than_memory_can_hold(tmp_path: Path) -> None:
    """The file has holes, and takes no space."""
    path = tmp_path / "huge.pt"
    with path.open("wb") as file:
        file.truncate((4 << 30) + 1)
    with pytest.raises(ConvertError, match="at most 4294967296"):
        read_bytes(path)
