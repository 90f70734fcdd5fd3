"""LoRA states, NPZ files, JuliaSLM, tokenizers, and the detection of the Monarch layout."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import organelle_sources as sources
import pytest
import torch
from jld2_writer import Jld2Writer
from organelle_sources import ALL, symbio_logits, torch_logits, torch_state
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from synapse_engine.convert import (
    ConvertError,
    ConvertRequest,
    DamagedFileError,
    MismatchError,
    UnsupportedError,
    convert,
)
from synapse_engine.convert.layout import detect_layout
from synapse_engine.convert.npz import read_npz
from synapse_engine.convert.tokenizer import dump, find_tokenizer

IDS = list(range(0, 240, 7))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sources.write_bpe(tmp_path)
    return tmp_path


# LoRA


def lora_state(pattern: str, transposed: bool = False) -> dict[str, torch.Tensor]:
    """Six blocks, w1 and w2, rank 16, of a model 256 wide with 640 inside: 24 tensors."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for block in range(6):
        for target, (outputs, inputs) in {"w1": (640, 256), "w2": (256, 640)}.items():
            for half, shape in {"A": (16, inputs), "B": (outputs, 16)}.items():
                array = torch.randn(*(shape[::-1] if transposed else shape), generator=generator)
                state[pattern.format(block=block, target=target, half=half)] = array
    return state


@pytest.mark.parametrize(
    "pattern",
    [
        "blocks.{block}.ffn.{target}.lora_{half}",
        "blocks.{block}.ffn.{target}.lora_{half}.weight",
        "base_model.model.blocks.{block}.ffn.{target}.lora_{half}.default.weight",
        "_orig_mod.blocks.{block}.ffn.{target}_lora_{half}",
        "blocks.{block}.ffn.{target}.{half}",
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_lora_becomes_a_peft_adapter(tmp_path: Path, pattern: str, transposed: bool) -> None:
    state = lora_state(pattern, transposed)
    torch.save(state, tmp_path / "lora_state.pt")
    result = convert(ConvertRequest(tmp_path / "lora_state.pt", tmp_path / "adapter", base="symbio"))
    assert (result.kind, result.parameters) == ("adapter", 172_032)
    config = json.loads((result.target / "adapter_config.json").read_text())
    wanted = {"r": 16, "lora_alpha": 32, "use_rslora": False, "target_modules": ["w1", "w2"], "peft_type": "LORA"}
    assert wanted.items() <= config.items()
    assert config["base_model_name_or_path"] == "symbio"
    tensors = load_file(result.target / "adapter_model.safetensors")
    assert len(tensors) == 24
    for name, tensor in state.items():
        block, half = name.partition("blocks.")[2][0], "A" if "A" in name else "B"
        target = "w1" if "w1" in name else "w2"
        found = tensors[f"base_model.model.blocks.{block}.ffn.{target}.lora_{half}.weight"]
        np.testing.assert_array_equal(found, tensor.numpy().T if transposed else tensor.numpy())


def test_loras_alpha_is_read_where_it_is_told(tmp_path: Path) -> None:
    torch.save(lora_state("blocks.{block}.ffn.{target}.{half}"), tmp_path / "lora_state.pt")
    record = tmp_path / "experiment_config.json"
    record.write_text(json.dumps({"best_adapter": {"rank": 16, "alpha": 24}}))
    result = convert(ConvertRequest(tmp_path / "lora_state.pt", tmp_path / "adapter"))
    assert result.facts["alpha"] == 24
    record.write_text(json.dumps({"best_adapter": {"alpha": "many"}}))
    with pytest.raises(DamagedFileError, match="`alpha` is 'many'"):
        convert(ConvertRequest(tmp_path / "lora_state.pt", tmp_path / "other"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"blocks.0.ffn.w1.A": None}, "only half of its pair"),
        ({"blocks.0.ffn.w1.A": torch.zeros(8, 256)}, "do not share a rank"),
        ({"blocks.0.ffn.w1.A": torch.zeros(8, 256), "blocks.0.ffn.w1.B": torch.zeros(640, 8)}, "several ranks"),
        ({"blocks.0.ffn.w1.A": torch.zeros(16, 16)}, "do not share a rank"),
        ({"blocks.0.ffn.w1.A": torch.zeros(16)}, "not half of a low-rank pair"),
        ({"blocks.0.ffn.w1.lora_A": torch.zeros(16, 256)}, "two halves A"),
    ],
)
def test_a_lora_that_does_not_fit(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    state = lora_state("blocks.{block}.ffn.{target}.{half}") | change
    torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, tmp_path / "lora.pt")
    with pytest.raises(MismatchError, match=says):
        convert(ConvertRequest(tmp_path / "lora.pt", tmp_path / "adapter"))


# NPZ and JuliaSLM


def julia_slm(heads: int | None, suffix: str = "") -> dict[str, np.ndarray]:
    """A transformer under JuliaSLM's names."""
    state = {}
    for name, array in torch_state(organelles=("attention",), heads=heads or 1, head_dim=8, extras=False).items():
        short = name.replace("seq_mixer.organelle_modules.attention", "attn")
        if "gate" not in name:
            state[short.removesuffix(".weight") + suffix if "attn" in short or "ffn" in short else short] = array
    return state | ({} if heads is None else {"_hp_n_heads": np.array([heads]), "_hp_d_model": np.array([8])})


@pytest.mark.parametrize("suffix", ["", ".weight"])
def test_julia_slm_with_one_head(folder: Path, suffix: str) -> None:
    """With one head, mixing head and position is the identity, and the model is attention under a gate of one."""
    np.savez(folder / "juliaslm.npz", **julia_slm(1, suffix))
    result = convert(ConvertRequest(folder / "juliaslm.npz", folder / "out"))
    state = torch_state(organelles=("attention",), heads=1, head_dim=8, extras=False)
    wanted = torch_logits(state, IDS, ("attention",), head_dim=8)
    assert np.abs(symbio_logits(result.target, IDS) - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(("heads", "says"), [(4, "with 4 heads"), (None, "with an unknown number of heads")])
def test_julia_slm_with_more_heads_is_refused_by_name(folder: Path, heads: int | None, says: str) -> None:
    np.savez(folder / "juliaslm.npz", **julia_slm(heads))
    with pytest.raises(UnsupportedError, match=rf"`blocks.0.attn.wq.weight`: .*{says} mixes the positions"):
        convert(ConvertRequest(folder / "juliaslm.npz", folder / "out"))


def test_julia_slm_in_julias_own_format_is_refused_too(folder: Path) -> None:
    attention = {name: np.zeros((8, 8), "<f4") for name in ("wq", "wk", "wv", "wo")}
    tree = sources.julia_tree()
    for block in tree["blocks"].values():
        del block["seq_mixer"]
        block["attn"] = attention
    (folder / "final.jld2").write_bytes(Jld2Writer().file({"parameters": tree}))
    (folder / "config.toml").write_text("[model]\nn_heads = 4\n")
    with pytest.raises(UnsupportedError, match="with 4 heads mixes the positions"):
        convert(ConvertRequest(folder / "final.jld2", folder / "out"))


def test_organelle_models_may_come_as_npz(folder: Path) -> None:
    state = torch_state()
    np.savez_compressed(folder / "symbio.npz", **state)
    result = convert(ConvertRequest(folder / "symbio.npz", folder / "out"))
    wanted = torch_logits(state, IDS, ALL)
    assert np.abs(symbio_logits(result.target, IDS) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_npz_reads_what_numpy_writes() -> None:
    arrays = {"c": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "s": np.array(3)}
    for name, array in read_npz(npz(**arrays), "some.npz").items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)


class Harm:
    called = False

    def __reduce__(self) -> Any:
        return (setattr, (Harm, "called", True))


def test_npz_never_unpickles() -> None:
    with pytest.raises(UnsupportedError, match="holds Python objects"):
        read_npz(npz(a=np.array([Harm()], dtype=object)), "some.npz")
    assert Harm.called is False


def with_header(shape: str, content: bytes, descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content)
    return buffer.getvalue()


def with_lzma() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.npy", bytes(100))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        with_lzma(),
        with_header("(1000000000000,)", bytes(8)),
        with_header("(3,)", bytes(8)),
        with_header("(-2,)", bytes(8)),
        with_header("(2.0,)", bytes(8)),
        with_header("(" * 5000, bytes(8)),
        with_header("(2,)", bytes(8), "U1"),
        with_header("(2,)", bytes(8), "<f9999999999"),
        b"PK\x05\x06" + bytes(10),
    ],
)
def test_hostile_npz(data: bytes) -> None:
    with pytest.raises(ConvertError):
        read_npz(data, "some.npz")


def test_npz_that_would_fill_memory() -> None:
    """Eight entries of zeros that claim a gigabyte each: refused before one is unpacked."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for index in range(8):
            file.writestr(f"{index}.npy", b"\x93NUMPY")
    directory = bytearray(buffer.getvalue())
    place = directory.index(b"PK\x01\x02")
    while place >= 0:
        directory[place + 24 : place + 28] = (1 << 30).to_bytes(4, "little")
        place = directory.find(b"PK\x01\x02", place + 1)
    with pytest.raises(UnsupportedError, match="claims 8 arrays with 8589934592 bytes"):
        read_npz(bytes(directory), "some.npz")


# Tokenizers


def test_the_tokenizer_is_byte_level_bpe(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(find_tokenizer(folder).content))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = tokenizer.encode("in the thin  café\n")
    assert encoded.tokens == ["in", "Ġthe", "Ġth", "in", "Ġ", "Ġ", "c", "a", "f", "Ã", "©", "Ċ"]
    assert tokenizer.decode(encoded.ids) == "in the thin  café\n"
    assert encoded.ids[0] == 259


def test_pieces_that_the_vocabulary_lacks_are_dropped(folder: Path) -> None:
    """As the source does with a vocabulary from lower-case text."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    (folder / "vocab.json").write_text(
        json.dumps({letter: index for index, letter in enumerate([*letters, "Ġ", "th"])})
    )
    found = find_tokenizer(folder)
    assert found.notes == ["left out 3 merges of pieces that the vocabulary lacks"]
    tokenizer = Tokenizer.from_str(json.dumps(found.content))
    assert tokenizer.encode("The that").tokens == ["h", "e", "Ġ", "th", "a", "t"]


def test_a_list_is_a_vocabulary_of_characters(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps(["\n", " ", "a", "b", "é"]))
    tokenizer = Tokenizer.from_str(json.dumps(find_tokenizer(folder).content))
    assert tokenizer.encode("ab é?\na").ids == [2, 3, 1, 4, 0, 2]
    assert tokenizer.decode([2, 3, 1, 4]) == "ab é"


def test_a_ready_made_tokenizer_is_kept(folder: Path) -> None:
    content = find_tokenizer(folder).content
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text(json.dumps(content | {"added_tokens": [{"id": 300}]}))
    found = find_tokenizer(folder)
    assert (found.tokens, found.content["added_tokens"]) == (301, [{"id": 300}])


@pytest.mark.parametrize(
    "vocabulary",
    [
        "{",
        "3",
        "{}",
        '{"a": -1}',
        '{"a": 1, "b": 1}',
        '{"a": "b"}',
        '["ab"]',
        '["a", "a"]',
        "[]",
        "[" * 100_000,
        "\udc80",
    ],
)
def test_broken_vocabularies(folder: Path, vocabulary: str) -> None:
    (folder / "vocab.json").write_bytes(vocabulary.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedFileError):
        find_tokenizer(folder)


@pytest.mark.parametrize("model", [{"vocab": {"a": float("inf")}}, {"vocab": {}}, {"vocab": 3}, [], None])
def test_broken_ready_made_tokenizers(folder: Path, model: Any) -> None:
    (folder / "tokenizer.json").write_text(json.dumps({"model": model}))
    with pytest.raises(DamagedFileError):
        find_tokenizer(folder)


def test_half_a_character_is_no_token(folder: Path) -> None:
    (folder / "vocab.json").write_text('{"\\ud800": 0}')
    with pytest.raises(DamagedFileError, match="half a character"):
        dump(find_tokenizer(folder))


# The Monarch layout


def trained_monarch(layout: str, seed: int, matrices: int = 8) -> dict[str, np.ndarray]:
    """Weights after training: the entries that the mask lets through have moved, all have decayed."""
    rng = np.random.default_rng(seed)
    m, n, i, j = np.indices((16,) * 4).reshape(4, -1)
    later, earlier = (m + 16 * n, i + 16 * j) if layout == "julia" else (16 * m + n, 16 * i + j)
    live = later >= earlier
    live_l1, live_l2 = np.zeros((16,) * 3, bool), np.zeros((16,) * 3, bool)
    live_l1[n[live], j[live], m[live]] = True
    live_l2[m[live], i[live], j[live]] = True
    assert live_l1.sum() + live_l2.sum() == 6152
    weights = {}
    for index in range(matrices):
        for name, alive in (("L1", live_l1), ("L2", live_l2)):
            drawn = rng.normal(size=(16,) * 3) * 0.25
            learned = rng.normal(size=(16,) * 3) * rng.uniform(0.1, 0.6, size=(16, 16, 1))
            weights[f"{index}.{name}"] = (0.6 * (drawn + alive * learned)).astype("<f4")
    return weights


@pytest.mark.parametrize("layout", ["julia", "torch"])
@pytest.mark.parametrize("matrices", [1, 8, 64])
@pytest.mark.parametrize("seed", range(5))
def test_the_layout_shows_in_the_entries_that_training_never_touched(layout: str, matrices: int, seed: int) -> None:
    assert detect_layout(trained_monarch(layout, seed, matrices)).layout == layout


@pytest.mark.parametrize("seed", range(20))
def test_untrained_weights_do_not_decide(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = {f"{k}.L{i}": rng.normal(size=(16,) * 3) * 0.25 for k in range(8) for i in (1, 2)}
    assert detect_layout(drawn).layout is None
    assert detect_layout({name: np.zeros_like(array) for name, array in drawn.items()}).layout is None


def test_the_detected_layout_is_used_and_reported(folder: Path) -> None:
    """A PyTorch file with Julia's weights, as an export writes: values win over the format, the option over both."""
    state = torch_state(organelles=ALL[:3], layers=8)
    for name, array in trained_monarch("julia", 0).items():
        index, _, matrix = name.partition(".")
        state[f"blocks.{index}.seq_mixer.organelle_modules.monarch.0.{matrix}"] = array
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, folder / "symbio.pt")
    found = convert(ConvertRequest(folder / "symbio.pt", folder / "found"))
    assert found.facts["monarch_layout"] == "julia"
    assert found.facts["monarch_layout_from"].startswith("the values (scores: julia ")
    assert json.loads((folder / "found" / "config.json").read_text())["monarch_layout"] == "julia"
    told = convert(ConvertRequest(folder / "symbio.pt", folder / "told", monarch_layout="torch"))
    assert told.facts["monarch_layout"] == "torch"
    assert told.facts["monarch_layout_from"].startswith("the option; of the values, they say julia")
