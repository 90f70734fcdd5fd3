"""What cannot be merged is named, with what to do; and nothing is written."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import merge_models as models
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from synapse_engine.convert.errors import (
    ConvertError,
    DamagedFileError,
    MismatchError,
    MissingFileError,
    TargetError,
    UnsupportedError,
)
from synapse_engine.merge import MergeRequest, merge

Change = Callable[[Path], Any]
Q0 = "model.layers.0.self_attn.q_proj"
A0 = f"base_model.model.{Q0}.lora_A.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    models.make_base(place / "base")
    models.make_adapter(place / "adapter", place / "base", target_modules=["q_proj", "v_proj"])
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A base and an adapter that may be spoiled."""
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


def refused(place: Path, kind: type[ConvertError], *words: str, **settings: Any) -> ConvertError:
    sources = settings.pop("sources", ((place / "adapter", 1.0),))
    request = MergeRequest(settings.pop("base", place / "base"), sources, place / "out", **settings)
    with pytest.raises(kind) as caught:
        merge(request)
    assert all(word in str(caught.value) for word in words), caught.value
    assert caught.value.hint
    assert not (place / "out").exists()
    assert not list(place.glob(".*"))
    return caught.value


def edit(file: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"fan_in_fan_out": True},
        {"alora_invocation_tokens": [1, 2]},
        {"trainable_token_indices": [3]},
        {"layer_replication": [[0, 2]]},
        {"target_parameters": ["experts"]},
        {"something_new": 1},
        {"bias": "all"},
        {"peft_type": "IA3"},
        {"init_lora_weights": "pissa_niter_4"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_are_refused_by_name(place: Path, settings: dict[str, Any]) -> None:
    models.change_settings(place / "adapter", **settings)
    refused(place, UnsupportedError, "adapter/adapter_config.json", next(iter(settings)))


@pytest.mark.parametrize("settings", [{"r": 0}, {"lora_alpha": "x"}, {"r": None}, {"rank_pattern": {"(": 3}}], ids=str)
def test_settings_that_are_none_are_damage(place: Path, settings: dict[str, Any]) -> None:
    models.change_settings(place / "adapter", **settings)
    refused(place, DamagedFileError, "adapter/adapter_config.json")


def test_dora_vectors_are_refused_by_name(place: Path) -> None:
    name = f"base_model.model.{Q0}.lora_magnitude_vector"
    edit(place / "adapter/adapter_model.safetensors", lambda found: found.update({name: torch.ones(60)}))
    refused(place, UnsupportedError, f"`{name}`")


def test_a_whole_module_that_was_trained_is_refused(place: Path) -> None:
    name = "base_model.model.lm_head.weight"
    own = models.tensors(place / "base")["lm_head.weight"]
    file = place / "adapter/adapter_model.safetensors"
    edit(file, lambda found: found.update({name: own + 1}))
    refused(place, MismatchError, f"`{name}`")
    edit(file, lambda found: found.update({name: own.clone()}))
    merge(MergeRequest(place / "base", ((place / "adapter", 1.0),), place / "out"))


def test_adapters_of_another_base(place: Path) -> None:
    other = models.make_base(place / "other", models.QWEN2)
    error = refused(place, MismatchError, f"`{A0}`: expected (4, 56), found (4, 60)", base=other)
    assert str(place.parent) not in str(error)
    assert "name that one as the base" in str(error.hint)
    edit(place / "base/model.safetensors", lambda found: found.pop(f"{Q0}.weight"))
    refused(place, MismatchError, f"`{Q0}.weight`, which the base does not have")


def test_adapters_that_lack_something(place: Path) -> None:
    file = place / "adapter/adapter_model.safetensors"
    edit(file, lambda found: found.pop(A0))
    refused(place, DamagedFileError, f"`{Q0}` lacks one of its two matrices")
    edit(file, lambda found: found.pop(A0.replace("lora_A", "lora_B")))
    refused(place, MismatchError, f"targets q_proj, v_proj and has nothing for `{Q0}`")
    file.unlink()
    assert "safe_serialization" in str(refused(place, MissingFileError, "adapter_model.safetensors").hint)


def test_ranks_that_are_not_those_of_the_settings(place: Path) -> None:
    models.change_settings(place / "adapter", rank_pattern={"0.self_attn.q_proj": 5})
    refused(place, MismatchError, f"`{A0}`: expected (5, 60), found (4, 60)")


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_tied_weights_are_not_changed_on_one_side(place: Path, target: str) -> None:
    models.make_adapter(place / "wide", place / "base", target_modules=[target, "q_proj"])
    tied = models.make_base(place / "tied", models.TIED)
    error = refused(place, UnsupportedError, target, base=tied, sources=((place / "wide", 1.0),))
    assert "without embed_tokens" in str(error.hint)


def test_models_of_another_shape(place: Path) -> None:
    tuned = models.make_fine_tuned(place / "tuned", place / "base")
    name = "model.layers.1.mlp.up_proj.weight"
    edit(tuned / "model.safetensors", lambda found: found.update({name: torch.ones(3, 4)}))
    refused(place, MismatchError, f"`{name}`: expected (90, 60), found (3, 4)", sources=((tuned, 1.0),))
    edit(tuned / "model.safetensors", lambda found: found.pop(name))
    refused(place, MismatchError, "the base has", f"`{name}`, tuned has none", sources=((tuned, 1.0),))


def test_bases_that_are_quantized(place: Path) -> None:
    gguf = place / "model.gguf"
    gguf.write_bytes(b"GGUF")
    assert "safetensors" in str(refused(place, UnsupportedError, "model.gguf is GGUF", base=gguf).hint)
    config = place / "base/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "quantization_config": {"bits": 4}}))
    refused(place, UnsupportedError, "quantization_config")


def test_integer_weights_are_refused_by_name(place: Path) -> None:
    edit(place / "base/model.safetensors", lambda found: found.update({"extra": torch.ones(3, dtype=torch.int8)}))
    refused(place, UnsupportedError, "`extra` is I8")


@pytest.mark.parametrize("name", ["base", "adapter", "out"])
def test_what_is_not_there(place: Path, name: str) -> None:
    if name == "out":
        (place / "out").mkdir()
        with pytest.raises(TargetError, match="exists"):
            merge(MergeRequest(place / "base", ((place / "adapter", 1.0),), place / "out"))
        return
    shutil.rmtree(place / name)
    refused(place, MissingFileError, f"{place / name}: no such folder")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["ties", "linear"])
def test_numbers_that_are_not_finite(place: Path, number: float, method: str) -> None:
    edit(place / "adapter/adapter_model.safetensors", lambda found: found[A0].fill_(number))
    refused(place, DamagedFileError, f"`{A0}`", method=method)


def test_numbers_that_float16_cannot_hold(place: Path) -> None:
    error = refused(
        place, MismatchError, "q_proj.weight` gets numbers that float16 cannot hold", dtype="float16", strength=1e7
    )
    assert error.hint == "use --dtype float32"


def test_shards_outside_the_folder(place: Path) -> None:
    (place / "base/model.safetensors").rename(place / "outside.safetensors")
    index = {"weight_map": {"lm_head.weight": "../outside.safetensors"}}
    (place / "base/model.safetensors.index.json").write_text(json.dumps(index))
    refused(place, DamagedFileError, "`../outside.safetensors` is not the name of a file")


def spoiled(content: bytes) -> list[bytes]:
    """A safetensors file with other headers."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]

    def with_first(**changes: Any) -> bytes:
        name = next(name for name in header if name != "__metadata__")
        text = json.dumps({**header, name: {**header[name], **changes}}).encode()
        return struct.pack("<Q", len(text)) + text + data

    return [
        b"", content[:7], content[:200], content[:-1], content + b"x", struct.pack("<Q", 1 << 60) + content[8:],
        struct.pack("<Q", 4) + b"[[[[", with_first(data_offsets=[0, 1 << 40]), with_first(shape=[-1, 4]),
        with_first(shape="x"), with_first(data_offsets=[4]), with_first(shape=[1 << 40, 1 << 40]),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(12))
def test_damaged_weights(place: Path, case: int) -> None:
    file = place / "adapter/adapter_model.safetensors"
    file.write_bytes(spoiled(file.read_bytes())[case])
    refused(place, DamagedFileError, "adapter_model.safetensors")


def test_a_failure_leaves_the_old_target(place: Path) -> None:
    shutil.copytree(place / "base", place / "out")
    edit(place / "adapter/adapter_model.safetensors", lambda found: found[A0].fill_(np.nan))
    with pytest.raises(DamagedFileError):
        merge(MergeRequest(place / "base", ((place / "adapter", 1.0),), place / "out", force=True))
    assert (place / "out/model.safetensors").read_bytes() == (place / "base/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "settings", [{"trim": 1.0}, {"drop": -0.1}, {"strength": float("nan")}, {"sources": ()}, {"seed": -1}], ids=str
)
def test_requests_without_meaning(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        merge(MergeRequest(**{"base": tmp_path, "sources": ((tmp_path, 1.0),), "target": tmp_path / "out", **settings}))
