"""Whole conversions: the numbers that a model computes are those of its source, and every fact is on the card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import organelle_sources as sources
import pytest
import torch
from jld2_writer import Jld2Writer
from organelle_sources import ALL, julia_logits, julia_tree, symbio_logits, torch_logits, torch_state
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from synapse_engine.convert import (
    Converted,
    ConvertError,
    ConvertRequest,
    MismatchError,
    MissingFileError,
    TargetError,
    UnsupportedError,
    convert,
)

IDS = [5, 259, 17, 0, 256, 42, *range(100, 134)]
CONFIG = """[model]
arch = "symbiogenesis"
embed_dim = 8
n_layers = 2
n_heads = 4
head_dim = 64
n_monarch_heads = {heads}
conv_kernel_size = 4
ffn_mult = 4
context_length = 256
bias = false
weight_tying = true

[training]
lr = 1e-3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tokenizer; sources go into it."""
    sources.write_bpe(tmp_path)
    return tmp_path


def write_julia(folder: Path, tree: dict[str, Any], heads: int = 1, **options: Any) -> Path:
    entries = {
        "schema_version": np.array(2, "<i8"), "parameters": tree, "states": {"unread": np.zeros(3, "<f4")},
        "step": np.array(12_305, "<i8"), "best_val_loss": np.array(3.62, "<f8"),
    }  # fmt: skip
    path = folder / "final.jld2"
    path.write_bytes(Jld2Writer(**options).file(entries))
    (folder / "config.toml").write_text(CONFIG.format(heads=heads))
    return path


def write_torch(folder: Path, state: dict[str, Any], name: str = "symbio_best.pt") -> Path:
    def tensors(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tensors(each) for key, each in value.items()}
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    torch.save(tensors(state), folder / name)
    return folder / name


def converted(source: Path, **options: Any) -> Converted:
    return convert(ConvertRequest(source, source.parent / "out", **options))


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("nibble", [0, 3])
@pytest.mark.parametrize(("heads", "inline_limit"), [(1, 1024), (4, 1024), (4, 100)])
@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<f8"])
def test_symbio_slm(folder: Path, nibble: int, heads: int, inline_limit: int, dtype: str) -> None:
    tree = julia_tree(heads=heads, dtype=dtype)
    result = converted(write_julia(folder, tree, heads, nibble=nibble, inline_limit=inline_limit))
    close(symbio_logits(result.target, IDS), julia_logits(tree, IDS))
    assert result.facts["step"] == 12_305
    assert result.facts["best_val_loss"] == 3.62
    config = json.loads((result.target / "config.json").read_text())
    assert config["organelles"] == ["causal_conv", "monarch", "long_conv"]
    assert (config["monarch_heads"], config["monarch_layout"], config["gate"]) == (heads, "julia", "softmax")
    assert (config["source"]["step"], config["source"]["best_val_loss"]) == (12_305, 3.62)


def test_monarch_slm(folder: Path) -> None:
    tree = julia_tree(heads=2, monarch_slm=True)
    result = converted(write_julia(folder, tree, heads=2))
    close(symbio_logits(result.target, IDS), julia_logits(tree, IDS))
    assert json.loads((result.target / "config.json").read_text())["gate"] == "sigmoid"
    assert result.gates[0].entropy is None


@pytest.mark.parametrize(
    "organelles", [ALL, ("causal_conv", "monarch", "long_conv"), ("long_conv", "causal_conv"), ("attention",)]
)
def test_symbio_gpt(folder: Path, organelles: tuple[str, ...]) -> None:
    """The gate's rows are in the order in which the file lists the organelles, whatever it is."""
    state = torch_state(organelles=organelles)
    result = converted(write_torch(folder, state))
    close(symbio_logits(result.target, IDS), torch_logits(state, IDS, organelles))
    config = json.loads((result.target / "config.json").read_text())
    assert config["organelles"] == list(organelles)
    assert ("monarch_layout" in config) == ("monarch" in organelles)


def test_monarch_heads_and_no_extras_in_pytorch(folder: Path) -> None:
    state = torch_state(organelles=ALL[:3], monarch_heads=2, extras=False)
    result = converted(write_torch(folder, state))
    close(symbio_logits(result.target, IDS), torch_logits(state, IDS, ALL[:3]))
    config = json.loads((result.target / "config.json").read_text())
    assert (config["gate_temperature"], config["skip_scales"], config["monarch_heads"]) == (False, False, 2)


def test_organelles_may_differ_by_layer(folder: Path) -> None:
    state = torch_state(organelles=("causal_conv", "long_conv"))
    del state["blocks.1.seq_mixer.organelle_modules.long_conv.kernel"]
    state["blocks.1.seq_mixer.gate.logits"] = state["blocks.1.seq_mixer.gate.logits"][:1]
    result = converted(write_torch(folder, state))
    config = json.loads((result.target / "config.json").read_text())
    assert config["organelles"] == [["causal_conv", "long_conv"], ["causal_conv"]]
    assert np.isfinite(symbio_logits(result.target, IDS)).all()


def test_wrapped_compiled_and_half_precision_weights(folder: Path) -> None:
    state = torch_state()
    wanted = {name: torch.from_numpy(array).bfloat16() for name, array in state.items()}
    wrapped = {
        "model_state_dict": {f"_orig_mod.{name}": tensor for name, tensor in wanted.items()},
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "step": 900, "val_loss": torch.tensor(3.5),
        "config": {"n_heads": 2},
    }  # fmt: skip
    torch.save(wrapped, folder / "best.pt")
    result = converted(folder / "best.pt")
    close(
        symbio_logits(result.target, IDS),
        torch_logits({name: tensor.float().numpy() for name, tensor in wanted.items()}, IDS, ALL),
    )
    assert (result.facts["step"], result.facts["val_loss"]) == (900, 3.5)


@pytest.mark.parametrize("lists", ["one", "near and far", "far before near"])
def test_vocab_fusion(folder: Path, lists: str) -> None:
    state = sources.vocab_fusion_state(layers=3, organelles=ALL)
    state = {name: state[name] for name in reversed(state)} if lists == "far before near" else state
    renamed = state
    if lists != "one":
        names = {"blocks.0.": "near_blocks.0.", "blocks.1.": "far.blocks.0.", "blocks.2.": "far.blocks.1."}
        renamed = {
            next((new + name.removeprefix(old) for old, new in names.items() if name.startswith(old)), name): array
            for name, array in state.items()
        }
    if lists == "far before near":
        # Reversed, the organelles are listed in the reverse of their gate's rows.
        (folder / "config.json").write_text(json.dumps({"organelles": ALL}))
    result = converted(write_torch(folder, renamed, "vocab_fusion_best.pt"))
    close(symbio_logits(result.target, IDS), torch_logits(state, IDS, ALL))
    assert json.loads((result.target / "config.json").read_text())["donor_hidden_size"] == 6
    assert "40 of 300 rows of the embedding have no token" in result.notes


def test_vocab_fusion_refuses_to_guess(folder: Path) -> None:
    state = sources.vocab_fusion_state()
    for change, says in (
        ({"other.weight": np.zeros((8, 6), "<f4")}, "junction.proj.weight, other.weight"),
        ({"junction.norm.bias": None}, "layer norm"),
        ({"output.weight": None}, "projection back"),
        ({"strange": np.zeros((3, 3), "<f4")}, "`strange`"),
        ({"lm_head.weight": np.zeros((300, 6), "<f4")}, "`lm_head.weight` is not the embedding"),
    ):
        broken = {name: array for name, array in (state | change).items() if array is not None}
        with pytest.raises((MismatchError, UnsupportedError), match=says):
            converted(write_torch(folder, broken))
    write_torch(folder, state | {"lm_head.weight": state["donor_embedding.weight"]})
    assert converted(folder / "symbio_best.pt").kind == "model"


def test_a_tokens_id_is_its_row_of_the_embedding(folder: Path) -> None:
    """Column i of Julia's embedding, row i here, is the token that the tokenizer gives the id i."""
    tree = julia_tree()
    for token in range(260):
        tree["tok_emb"]["weight"][:, token] = token
    result = converted(write_julia(folder, tree))
    tokenizer = Tokenizer.from_file(str(result.target / "tokenizer.json"))
    embedding = load_file(result.target / "model.safetensors")["tok_emb.weight"]
    wanted = json.loads((folder / "vocab.json").read_text())
    assert tokenizer.get_vocab() == wanted
    for token, index in wanted.items():
        assert tokenizer.token_to_id(token) == index
        assert (embedding[index] == index).all()


def counted(result: Converted) -> int:
    return sum(array.size for array in load_file(result.target / "model.safetensors").values())


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        ({"layers": 8}, 5_052_672),
        ({"layers": 6, "heads": 4}, 4_065_024),
        ({"layers": 6, "heads": 8}, 4_261_632),
        ({"layers": 8, "heads": 8, "monarch_slm": True}, 4_983_040),
    ],
)
def test_counts_of_julia_models(folder: Path, sizes: dict[str, Any], parameters: int) -> None:
    tree = julia_tree(width=256, inner=640, vocabulary=2000, dtype="<f2", **sizes)
    path = write_julia(folder, tree)
    (folder / "config.toml").unlink()
    result = converted(path, dtype="float16")
    assert (result.parameters, counted(result)) == (parameters, parameters)


def test_count_of_symbio_gpt(folder: Path) -> None:
    state = torch_state(width=320, inner=832, layers=8, heads=5, head_dim=64, vocabulary=2000)
    result = converted(write_torch(folder, state))
    assert (result.parameters, counted(result)) == (11_053_400, 11_053_400)


def test_count_of_vocab_fusion(folder: Path) -> None:
    state = sources.vocab_fusion_state(
        donor=128, vocabulary=50_304, width=320, inner=832, layers=8, heads=5, head_dim=64
    )
    result = converted(write_torch(folder, state))
    assert (result.parameters, counted(result)) == (16_934_872, 16_934_872)


def test_the_card_tells_the_facts(folder: Path) -> None:
    result = converted(write_julia(folder, julia_tree()))
    card = (result.target / "README.md").read_text()
    count = f"{result.parameters:,}"
    for fact in (count, "12305", "3.62", "julia", "`final.jld2`", "causal_conv", f"{result.gates[0].entropy:.4f}"):
        assert fact in card
    tree = julia_tree()
    gate = np.exp(tree["blocks"]["block_1"]["seq_mixer"]["gate"]["logits"].astype(np.float64))
    gate /= gate.sum(0)
    assert result.gates[0].entropy == pytest.approx(float(-(gate * np.log(gate)).sum(0).mean()), abs=1e-6)
    assert result.gates[0].weights == pytest.approx(gate.mean(1))


def test_half_precision_target(folder: Path) -> None:
    path = write_julia(folder, julia_tree())
    result = converted(path, dtype="float16")
    assert {array.dtype.str for array in load_file(result.target / "model.safetensors").values()} == {"<f2"}
    assert json.loads((result.target / "config.json").read_text())["dtype"] == "float16"
    large = julia_tree()
    large["ln_f"]["weight"][3] = 70_000
    write_julia(folder, large)
    with pytest.raises(MismatchError, match=r"`ln_f.weight` has numbers that float16 cannot hold"):
        converted(path, dtype="float16", force=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("embed_dim = 9", r"`tok_emb.weight`: expected \(260, 9\), found \(260, 8\)"),
        ("n_layers = 3", r"`blocks.2.ln1.weight`: expected \(8,\), found none"),
        ("n_layers = 1", r"`blocks.1.\S+`: not part of the model"),
        ("conv_kernel_size = 5", r"causal_conv.weight`: expected \(8, 1, 5\), found \(8, 1, 4\)"),
        ("n_monarch_heads = 2", r"monarch.1.L1`: expected \(16, 16, 16\), found none"),
        ("context_length = 1024", "mix 1024 positions; the engine runs 256"),
        ("weight_tying = false", "`weight_tying` is False"),
        ("embed_dim = 0", "`embed_dim` is 0; expected a count"),
    ],
)
def test_a_configuration_that_does_not_fit(folder: Path, change: str, says: str) -> None:
    path = write_julia(folder, julia_tree())
    key = change.split(" ")[0]
    lines = [change if line.startswith(key) else line for line in CONFIG.format(heads=1).splitlines()]
    (folder / "config.toml").write_text("\n".join(lines))
    with pytest.raises(ConvertError, match=says) as caught:
        converted(path)
    assert caught.value.hint
    assert not (folder / "out").exists()


def test_a_name_cannot_command_the_terminal(folder: Path) -> None:
    with pytest.raises(MismatchError, match=r"`blocks.0.\\x1b\[2J\\n`: not part"):
        converted(write_torch(folder, torch_state() | {"blocks.0.\x1b[2J\n": np.zeros(1, "<f4")}))


@pytest.mark.parametrize(
    "organelles", [["monarch"] * 5, [["monarch"]], "monarch", ["attention", "liver"], {"a": 1}, [[]] * 2000]
)
def test_a_configuration_inside_the_file_is_checked_too(folder: Path, organelles: Any) -> None:
    wrapped = {"model_state_dict": torch_state(), "config": {"organelles": organelles, "n_layers": 2}}
    with pytest.raises(ConvertError):
        converted(write_torch(folder, wrapped))


def test_a_missing_organelle_is_noticed(folder: Path) -> None:
    for monarch_slm, says in ((True, "expected causal_conv and monarch"), (False, r"gate.logits`: expected \(2, 8\)")):
        tree = julia_tree(monarch_slm=monarch_slm)
        del tree["blocks"]["block_2"]["seq_mixer"]["conv"]
        with pytest.raises(MismatchError, match=says):
            converted(write_julia(folder, tree))


def test_a_tensor_that_does_not_fit(folder: Path) -> None:
    for name, array, says in (
        ("blocks.1.ffn.w2.weight", np.zeros((8, 11), "<f4"), r"expected \(8, 12\), found \(8, 11\)"),
        ("blocks.1.ffn.b1", np.zeros(8, "<f4"), "not part of the model"),
        ("ln_f.weight", np.full(8, np.nan, "<f4"), "8 of 8 values are not finite"),
        ("ln_f.weight", np.ones(8, "<i8"), "expected floating-point numbers, found int64"),
    ):
        with pytest.raises(MismatchError, match=rf"`{name}`: .*{says}"):
            converted(write_torch(folder, torch_state() | {name: array}))


def test_an_untied_head_is_refused(folder: Path) -> None:
    state = torch_state()
    tied = state | {"head.weight": state["tok_emb.weight"]}
    assert converted(write_torch(folder, tied)).kind == "model"
    with pytest.raises(UnsupportedError, match=r"`head.weight` is not the embedding"):
        converted(write_torch(folder, state | {"head.weight": state["tok_emb.weight"] + 1}), force=True)


def test_other_rotary_angles_are_refused(folder: Path) -> None:
    state = torch_state()
    state["rope.cos_cache"] = np.cos(np.outer(np.arange(256), [1.0, 0.5])).astype("<f4")
    with pytest.raises(UnsupportedError, match="not those of base 10000"):
        converted(write_torch(folder, state))


def test_a_sorted_file_hides_the_order_of_the_gate(folder: Path) -> None:
    state = torch_state()
    result = converted(write_torch(folder, dict(sorted(state.items()))))
    assert any("order of the gate's rows" in note for note in result.notes)
    close(symbio_logits(result.target, IDS), torch_logits(state, IDS, ALL))


def test_the_target_stays_unless_forced(folder: Path) -> None:
    path = write_julia(folder, julia_tree())
    first = converted(path).target
    before = (first / "model.safetensors").read_bytes()
    write_julia(folder, julia_tree(seed=1))
    with pytest.raises(TargetError, match="exists") as caught:
        converted(path)
    assert "--force" in (caught.value.hint or "")
    assert (first / "model.safetensors").read_bytes() == before
    converted(path, force=True)
    assert (first / "model.safetensors").read_bytes() != before
    assert sorted(each.name for each in folder.iterdir() if each.name.startswith(".")) == []


def test_force_does_not_replace_what_is_no_model(folder: Path) -> None:
    path = write_julia(folder, julia_tree())
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("dear")
    with pytest.raises(TargetError, match="something other than a model"):
        converted(path, force=True)
    assert (folder / "out" / "thesis.txt").read_text() == "dear"


def test_a_failure_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_julia(folder, julia_tree())
    before = sorted(folder.iterdir())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("synapse_engine.convert.conversion.write_text", full)
    with pytest.raises(OSError, match="No space"):
        converted(path)
    assert sorted(folder.iterdir()) == before


def test_sources_are_found_in_a_folder(folder: Path) -> None:
    with pytest.raises(MissingFileError, match="no checkpoint"):
        convert(ConvertRequest(folder, folder / "out"))
    write_julia(folder, julia_tree())
    assert convert(ConvertRequest(folder, folder / "out")).kind == "model"
    write_torch(folder, torch_state())
    with pytest.raises(UnsupportedError, match=r"several checkpoints: final.jld2, symbio_best.pt"):
        convert(ConvertRequest(folder, folder / "other"))


def test_a_tokenizer_is_needed_and_must_fit(folder: Path) -> None:
    path = write_julia(folder, julia_tree(vocabulary=259))
    with pytest.raises(MismatchError, match="ids up to 259; the embedding has 259 rows"):
        converted(path)
    (folder / "vocab.json").unlink()
    with pytest.raises(MissingFileError, match=r"no tokenizer\.json and no vocab\.json") as caught:
        converted(path)
    assert "--tokenizer" in (caught.value.hint or "")
