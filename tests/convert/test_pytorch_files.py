"""The reader of ``torch.save`` against PyTorch itself, and against files that mean harm."""

import collections
import io
import os
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

from synapse_engine.convert.errors import ConvertError, DamagedFileError, UnsupportedError
from synapse_engine.convert.pytorch import read_checkpoint


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def archive(pickled: bytes, storages: dict[str, bytes] | None = None, **entries: bytes) -> bytes:
    """A zip as PyTorch lays it out, with right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("some/data.pkl", pickled)
        for name, content in (storages or {}).items():
            file.writestr(f"some/data/{name}", content)
        for name, content in entries.items():
            file.writestr(f"some/{name}", content)
    return buffer.getvalue()


def tensors() -> dict[str, torch.Tensor]:
    base = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    return {
        "plain": base, "transposed": base.T, "window": base[1:4, 2:], "every other": base.T[::2, 1::3],
        "half": base.half(), "double": base.double(),
        "bfloat16": base.bfloat16(), "bfloat16 window": base.bfloat16()[2:, 1],
        "integers": torch.arange(7), "small integers": torch.arange(7, dtype=torch.int8), "truths": base > 0,
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "parameter": torch.nn.Parameter(base[2]),
    }  # fmt: skip


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_what_torch_saves(checksums: bool, protocol: int) -> None:
    torch.serialization.set_crc32_options(checksums)
    try:
        data = saved({"tensors": tensors(), "step": 3, "list": [1.5, None, (True,), 2**70]}, pickle_protocol=protocol)
    finally:
        torch.serialization.set_crc32_options(True)
    found = read_checkpoint(data, "some.pt")
    assert (found["step"], found["list"]) == (3, [1.5, None, (True,), 2**70])
    for name, tensor in tensors().items():
        wanted = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        np.testing.assert_array_equal(found["tensors"][name], wanted.numpy(), strict=True)


def test_reads_a_state_dict_of_modules() -> None:
    state = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)).state_dict()
    assert isinstance(state, collections.OrderedDict)
    found = read_checkpoint(saved(state), "some.pt")
    assert list(found) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_tied_weights_share_a_storage() -> None:
    weight = torch.randn(1000)
    data = saved({"embedding": weight, "head": weight, "again": weight.view(10, 100)})
    assert len(data) < 2 * weight.nbytes
    found = read_checkpoint(data, "some.pt")
    np.testing.assert_array_equal(found["head"], weight.numpy())
    np.testing.assert_array_equal(found["again"], weight.numpy().reshape(10, 100))


class Harm:
    """Pickled, it is a call."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self._state = (call, arguments)

    def __reduce__(self) -> Any:
        return self._state


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("call", [os.mkdir, eval, getattr, torch.load, __import__])
def test_nothing_that_a_pickle_names_is_called(call: Any, protocol: int, tmp_path: Any) -> None:
    data = saved({"weight": torch.ones(2), "harm": Harm(call, str(tmp_path / "harm"))}, pickle_protocol=protocol)
    with pytest.raises(UnsupportedError, match=rf"`\S*{call.__name__}`.*nothing was run") as caught:
        read_checkpoint(data, "some.pt")
    assert "state_dict" in (caught.value.hint or "")
    assert not (tmp_path / "harm").exists()


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_other_formats_are_refused_by_name() -> None:
    weight = {"weight": torch.ones(2)}
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    for data, says in (
        (saved(weight, _use_new_zipfile_serialization=False), "PyTorch before 1.6"),
        (script.getvalue(), "TorchScript"),
        (pickle.dumps({"a": 1}), "bare pickle"),
        (archive(pickle.dumps({}, 2), byteorder=b"big"), "big-endian"),
    ):
        with pytest.raises(UnsupportedError, match=says):
            read_checkpoint(data, "some.pt")
    with pytest.raises(DamagedFileError, match=r"not a file of torch\.save"):
        read_checkpoint(b"GGUF" + bytes(100), "some.pt")


def storage(key: str = "0", length: int = 4, kind: bytes = b"FloatStorage") -> bytes:
    """The pickled persistent id of a storage."""
    words = b"(X\x07\x00\x00\x00storage" + b"ctorch\n" + kind + b"\n" + _text(key) + _text("cpu")
    return words + b"J" + length.to_bytes(4, "little") + b"tQ"


def tensor(storage_: bytes, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """A pickled tensor."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage_ + _whole(offset) + _tuple(shape) + _tuple(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def _text(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def _whole(number: int) -> bytes:
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def _tuple(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_whole, numbers)) + b"t"


def checkpoint(tensor_: bytes) -> bytes:
    return archive(
        b"\x80\x02}" + _text("w") + tensor_ + b"s.", {"0": np.arange(4, dtype="<f4").tobytes()}, version=b"3\n"
    )


def test_the_pickles_written_here_are_sound() -> None:
    data = checkpoint(tensor(storage(), 1, (2,), (2,)))
    assert torch.load(io.BytesIO(data), weights_only=True)["w"].tolist() == [1, 3]
    assert read_checkpoint(data, "some.pt")["w"].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("tensor_", "says"),
    [
        (tensor(storage(), 1, (4,), (1,)), "reaches past the end"),
        (tensor(storage(), 0, (2, 2), (3, 1)), "reaches past the end"),
        (tensor(storage(), 2**70, (1,), (1,)), "reaches past the end"),
        (tensor(storage(), -1, (2,), (1,)), "not counts"),
        (tensor(storage(), 3, (2,), (-1,)), "not counts"),
        (tensor(storage(), 0, (2,), ()), "not counts"),
        (tensor(storage(), 0, (2**40, 2**40), (0, 0)), "share their numbers too often"),
        (tensor(storage(), 0, (10**6,), (0,)), "share their numbers too often"),
        (tensor(storage(), 0, (1,) * 9, (1,) * 9), "9 dimensions"),
        (tensor(storage(length=5), 0, (5,), (1,)), "expected 5 numbers"),
        (tensor(storage(kind=b"DoubleStorage"), 0, (4,), (1,)), "expected 4 numbers"),
        (tensor(storage(key="../../data.pkl"), 0, (4,), (1,)), "no entry"),
        (tensor(b"K\x01Q", 0, (4,), (1,)), "pickle is broken"),
    ],
)
def test_hostile_tensors(tensor_: bytes, says: str) -> None:
    with pytest.raises(DamagedFileError, match=says):
        read_checkpoint(checkpoint(tensor_), "some.pt")


def test_many_tensors_over_one_storage_end() -> None:
    """A storage of a kilobyte may not become a thousand tensors."""
    one = _text("w{}") + tensor(storage(length=256), 0, (256,), (1,))
    many = b"".join(one.replace(b"X\x03\x00\x00\x00w{}", _text(f"w{i}")) + b"s" for i in range(1000))
    data = archive(b"\x80\x02}" + many + b".", {"0": bytes(1024)})
    with pytest.raises(DamagedFileError, match="share their numbers too often"):
        read_checkpoint(data, "some.pt")


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02}",
        b"\x80\x02.",
        b"\x80\x02(.",
        b"\x80\x02h\x05.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02]K\x01K\x02s.",
        b"\x80\x02}" + b"(" * 3 + b"ttt" + b"K\x01s.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02X\xff\xff\xff\x7fa.",
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"b.",
        b"\x80\x02)" + b"\x85" * 100_000 + b"K\x01}q\x00h\x00s.",
        b"L" + b"9" * 10_000 + b"L\n.",
        b"i__main__\nHarm\n.",
        b"\x80\x02c\xff\n\n.",
        b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.",
        b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".",
        # A list that holds the one before it twice, forty times over: its text would be 2^40 long.
        b"\x80\x04]\x94" + b"".join(b"](h%ch%ce\x94" % (i, i) for i in range(40)) + b"h\x28\x93.",
        b"\x80\x04]\x94" + b"".join(b"](h%ch%ce\x94" % (i, i) for i in range(40)) + b"Q.",
    ],
)
def test_broken_pickles(pickled: bytes) -> None:
    with pytest.raises(ConvertError):
        read_checkpoint(archive(pickled), "some.pt")


def test_deep_nesting_is_no_danger() -> None:
    """A hundred thousand lists in each other, as a value: read, and dropped again."""
    value = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(read_checkpoint(archive(value), "some.pt"), list)


def test_compressed_entries_are_refused_before_they_grow() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("some/data.pkl", bytes(50_000_000))
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(UnsupportedError, match="compressed"):
        read_checkpoint(buffer.getvalue(), "some.pt")


def test_every_truncation_is_an_error() -> None:
    whole = saved({"weight": torch.ones(3)})
    for length in range(len(whole)):
        with pytest.raises(ConvertError):
            read_checkpoint(whole[:length], "some.pt")
