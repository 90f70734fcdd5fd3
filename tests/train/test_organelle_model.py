"""The model: published sizes and names, causality, every kind of organelle, gate and layout."""

import math

import pytest
import torch

from synapse_engine.train.errors import ConfigError
from synapse_engine.train.mixing import monarch_matrix
from synapse_engine.train.symbio import SymbioModel, clean_state
from synapse_engine.train.symbio_config import SymbioConfig, feed_forward_size

THREE = ("causal_conv", "monarch", "long_conv")
FOUR = (*THREE, "attention")


def config(width: int, layers: int, names: tuple[str, ...] = THREE, **other: object) -> SymbioConfig:
    if "attention" in names:
        other = {"num_attention_heads": 5, "head_dim": 64} | other
    return SymbioConfig(width, feed_forward_size(width), (names,) * layers, **other)


PUBLISHED = {
    "SymbioGPT-10M": (config(320, 8, FOUR, gate_temperature=True, skip_scales=True), 11_053_400),
    "SymbioSLM": (config(256, 8), 5_052_672),
    "SymbioSLM seed": (config(256, 6, monarch_heads=4), 4_065_024),
    "GrammarExpert": (config(256, 6, monarch_heads=8, gate_temperature=True, skip_scales=True), 4_261_650),
    "GrammarExpert in Julia": (config(256, 6, monarch_heads=8, monarch_layout="julia"), 4_261_632),
    "MonarchSLM": (config(256, 8, ("causal_conv", "monarch"), monarch_heads=8, gate="sigmoid"), 4_983_040),
    "VocabFusion": (
        config(320, 8, FOUR, gate_temperature=True, skip_scales=True, vocab_size=50304, donor_hidden_size=128),
        16_934_872,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    shape, wanted = PUBLISHED[name]
    model = SymbioModel(shape)
    assert shape.parameters() == wanted
    assert sum(p.numel() for p in model.parameters()) == wanted
    assert SymbioConfig.from_json(shape.to_json()) == shape


def test_what_learns_around_a_donor() -> None:
    model = SymbioModel(PUBLISHED["VocabFusion"][0])
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 10_495_960


def small(names: tuple[str, ...] = FOUR, **other: object) -> SymbioModel:
    torch.manual_seed(5)
    if "attention" in names:
        other = {"num_attention_heads": 2, "head_dim": 4} | other
    shape = SymbioConfig(8, 12, (names, names), vocab_size=30, max_position_embeddings=16, **other)
    model = SymbioModel(shape)
    with torch.no_grad():  # away from the symmetric start, so that every parameter counts
        for name, parameter in model.named_parameters():
            if name.endswith(("logits", "gate.weight", "scale", "temperature", "norm.bias")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def test_names_are_the_published_ones() -> None:
    names = set(small(gate_temperature=True, skip_scales=True, monarch_heads=2).state_dict())
    mixer = "seq_mixer.organelle_modules"
    block = {
        "ln1.weight", "ln2.weight", "ffn.w1.weight", "ffn.v.weight", "ffn.w2.weight", "skip1.scale", "skip2.scale",
        "seq_mixer.gate.logits", "seq_mixer.gate.temperature",
        f"{mixer}.causal_conv.weight", f"{mixer}.long_conv.kernel",
        *(f"{mixer}.monarch.{head}.L{factor}" for head in (0, 1) for factor in (1, 2)),
        *(f"{mixer}.attention.{projection}.weight" for projection in ("wq", "wk", "wv", "wo")),
    }  # fmt: skip
    assert names == {"tok_emb.weight", "ln_f.weight", *(f"blocks.{i}.{name}" for i in (0, 1) for name in block)}


def test_published_shapes() -> None:
    state = SymbioModel(PUBLISHED["SymbioGPT-10M"][0]).state_dict()
    mixer = "blocks.7.seq_mixer.organelle_modules"
    shapes = {
        "tok_emb.weight": (2000, 320), f"{mixer}.causal_conv.weight": (320, 1, 4),
        f"{mixer}.monarch.0.L1": (16, 16, 16),
        f"{mixer}.long_conv.kernel": (320, 1, 256), f"{mixer}.attention.wo.weight": (320, 320),
        "blocks.7.seq_mixer.gate.logits": (4, 320), "blocks.7.ffn.w1.weight": (832, 320),
    }  # fmt: skip
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_a_compiled_models_state_with_tables_loads() -> None:
    model = small()
    state = {f"_orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}
    state["_orig_mod.rope.cos_cache"] = torch.zeros(16, 2)
    state["_orig_mod.blocks.0.seq_mixer.monarch_causal_mask"] = torch.ones(16, 16)
    other = small()
    torch.nn.init.zeros_(other.ln_f.weight)
    other.load_state_dict(clean_state(state))
    assert torch.equal(other.ln_f.weight, model.ln_f.weight)


def reference(model: SymbioModel, ids: torch.Tensor) -> torch.Tensor:
    """The equations, slowly, in 64 bits, one sequence at a time."""
    model, shape = model.double(), model.config
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    embedding = state["tok_emb.weight"]
    x = embedding[ids]
    for i, names in enumerate(shape.organelles):
        block = {name.removeprefix(f"blocks.{i}."): t for name, t in state.items() if name.startswith(f"blocks.{i}.")}
        u = norm(x, block["ln1.weight"])
        mixed = sum(
            share * organelle(name, block, u, shape)
            for name, share in zip(names, shares(block, len(names)), strict=True)
        )
        x = x + block.get("skip1.scale", 1) * mixed
        u = norm(x, block["ln2.weight"])
        inner = torch.nn.functional.silu(u @ block["ffn.w1.weight"].T) * (u @ block["ffn.v.weight"].T)
        x = x + block.get("skip2.scale", 1) * (inner @ block["ffn.w2.weight"].T)
    return norm(x, state["ln_f.weight"]) @ embedding.T


def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return weight * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def shares(block: dict[str, torch.Tensor], count: int) -> torch.Tensor:
    if "seq_mixer.gate.weight" in block:
        return torch.sigmoid(block["seq_mixer.gate.weight"]).repeat(count, 1)
    tau = max(block.get("seq_mixer.gate.temperature", torch.ones(1)).item(), 0.01)
    return torch.softmax(block["seq_mixer.gate.logits"] / tau, 0)


def organelle(name: str, block: dict[str, torch.Tensor], u: torch.Tensor, shape: SymbioConfig) -> torch.Tensor:
    mixer = f"seq_mixer.organelle_modules.{name}"
    time, window = u.shape[0], shape.max_position_embeddings
    if name in ("causal_conv", "long_conv"):
        kernel = block[f"{mixer}.weight" if name == "causal_conv" else f"{mixer}.kernel"][:, 0]
        taps = kernel.shape[1]
        padded = torch.cat([torch.zeros(taps - 1, u.shape[1], dtype=u.dtype), u])
        return torch.stack([(kernel.T * padded[t : t + taps]).sum(0) for t in range(time)])
    if name == "monarch":
        heads = [
            monarch_matrix(block[f"{mixer}.{h}.L1"], block[f"{mixer}.{h}.L2"], shape.monarch_layout)
            for h in range(shape.monarch_heads)
        ]
        padded = torch.cat([u, torch.zeros(window - time, u.shape[1], dtype=u.dtype)])
        return torch.cat([m @ c for m, c in zip(heads, padded.chunk(len(heads), 1), strict=True)], 1)[:time]
    return attention(block, mixer, u, shape)


def attention(block: dict[str, torch.Tensor], mixer: str, u: torch.Tensor, shape: SymbioConfig) -> torch.Tensor:
    time, size = u.shape[0], shape.head_dim
    q, k, v = (u @ block[f"{mixer}.{w}.weight"].T for w in ("wq", "wk", "wv"))
    parts = []
    for head in range(shape.num_attention_heads):
        part = slice(head * size, (head + 1) * size)
        rows = torch.zeros(time, size, dtype=u.dtype)
        for t in range(time):
            logits = torch.stack([rotated(q[t, part], t) @ rotated(k[s, part], s) for s in range(t + 1)])
            rows[t] = torch.softmax(logits / math.sqrt(size), 0) @ v[: t + 1, part]
        parts.append(rows)
    return torch.cat(parts, 1) @ block[f"{mixer}.wo.weight"].T


def rotated(x: torch.Tensor, position: int) -> torch.Tensor:
    half = len(x) // 2
    result = x.clone()
    for i in range(half):
        angle = position * 10000 ** (-i / half)
        result[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
        result[i + half] = x[i] * math.sin(angle) + x[i + half] * math.cos(angle)
    return result


CASES = {
    "released": {"names": THREE},
    "all four, temperature, scales": {"names": FOUR, "gate_temperature": True, "skip_scales": True},
    "two heads, julia": {"names": THREE, "monarch_heads": 2, "monarch_layout": "julia"},
    "sigmoid pair": {"names": ("causal_conv", "monarch"), "gate": "sigmoid", "monarch_heads": 4},
    "attention only": {"names": ("attention",)},
    "short convolution only": {"names": ("causal_conv",)},
    "another order": {"names": ("long_conv", "attention", "monarch")},
}


@pytest.mark.parametrize("case", CASES)
def test_against_the_equations(case: str) -> None:
    model = small(**CASES[case])
    ids = torch.randint(0, 30, (3, 16), generator=torch.Generator().manual_seed(1))
    found = model(ids)
    for row in (0, 2):
        torch.testing.assert_close(found[row].double(), reference(model, ids[row]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_prefix_gives_the_same_logits(case: str) -> None:
    model = small(**CASES[case])
    ids = torch.randint(0, 30, (2, 16), generator=torch.Generator().manual_seed(2))
    full = model(ids)
    for time in (1, 3, 4, 15):
        torch.testing.assert_close(model(ids[:, :time]), full[:, :time], rtol=1e-4, atol=1e-5)


def test_layers_may_differ() -> None:
    shape = SymbioConfig(
        8,
        12,
        (("causal_conv",), ("attention", "monarch")),
        max_position_embeddings=16,
        num_attention_heads=1,
        head_dim=4,
    )
    assert SymbioConfig.from_json(shape.to_json()) == shape
    model = SymbioModel(shape)
    assert sum(p.numel() for p in model.parameters()) == shape.parameters()
    assert model(torch.zeros(1, 5, dtype=torch.long)).shape == (1, 5, 2000)


def test_a_donor_stands_on_both_sides() -> None:
    torch.manual_seed(6)
    shape = SymbioConfig(8, 12, (("causal_conv",),), vocab_size=30, donor_hidden_size=5)
    model = SymbioModel(shape)
    ids = torch.tensor([[3, 1, 4]])
    state = model.state_dict()
    e = state["donor.weight"][ids[0]] @ state["junction.proj.weight"].T
    e = (e - e.mean(-1, keepdim=True)) / (e.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    x = torch.nn.functional.silu(e)[None]
    x = model.ln_f(model.blocks[0](x, None))
    torch.testing.assert_close(model(ids), x @ state["out_proj.weight"].T @ state["donor.weight"].T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"organelles": (("nucleus",),)}, "found nucleus"),
        ({"organelles": ((),)}, "found none"),
        ({"max_position_embeddings": 200}, "square window"),
        ({"monarch_heads": 3}, "3 Monarch heads"),
        ({"organelles": (("attention",),)}, "number of heads"),
        ({"monarch_layout": "c"}, "monarch_layout"),
        ({"gate": "hard"}, "gate"),
    ],
)
def test_shapes_that_do_not_fit(change: dict[str, object], message: str) -> None:
    good = {"hidden_size": 16, "intermediate_size": 8, "organelles": (THREE,)}
    with pytest.raises(ConfigError, match=message):
        SymbioConfig(**good | change)
