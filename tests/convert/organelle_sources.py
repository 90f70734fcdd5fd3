"""Random checkpoints in each source's own layout, and obvious forward passes in that layout: the oracles of conversion.

Nothing here knows the converter. The forward passes are written from the equations, one position at a time where that
is plainest, in float64.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

SIDE, CONTEXT = 16, 256
Array = np.ndarray


# SymbioSLM and MonarchSLM, from Julia


def julia_tree(
    seed: int = 0, width: int = 8, inner: int = 12, layers: int = 2, heads: int = 1, vocabulary: int = 260,
    monarch_slm: bool = False, dtype: str = "<f4",
) -> dict[str, Any]:  # fmt: skip
    """The parameters as Lux names and shapes them."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.5) -> Array:
        return (rng.normal(size=shape) * scale).astype(dtype)

    def block() -> dict[str, Any]:
        pairs = [{"L1": normal(16, 16, 16), "L2": normal(16, 16, 16)} for _ in range(heads)]
        many = {"monarchs": {f"head_{h + 1}": pair for h, pair in enumerate(pairs)}}
        mixer = {"conv": {"kernel": normal(4, width)}, **({"monarch": pairs[0]} if heads == 1 else many)}
        if monarch_slm:
            mixer["gate"] = {"weight": normal(width)}
        else:
            mixer |= {"longconv": {"kernel": normal(CONTEXT, width, scale=0.1)}, "gate": {"logits": normal(3, width)}}
        ffn = {"w1": normal(inner, width), "w2": normal(width, inner), "v": normal(inner, width)}
        norms = {f"ln{i}": {"weight": normal(width) + np.array(1, dtype)} for i in (1, 2)}
        return {"seq_mixer": mixer, "ffn": ffn, **norms}

    return {
        "tok_emb": {"weight": normal(width, vocabulary)},
        "blocks": {f"block_{k + 1}": block() for k in range(layers)},
        "ln_f": {"weight": normal(width) + np.array(1, dtype)},
    }


def julia_logits(tree: dict[str, Any], ids: Sequence[int]) -> Array:
    """(positions, vocabulary); arrays are (channels, positions) inside, as in Julia."""
    tree = _map(tree, lambda array: array.astype(np.float64))
    x = tree["tok_emb"]["weight"][:, list(ids)]
    for k in range(len(tree["blocks"])):
        block = tree["blocks"][f"block_{k + 1}"]
        x = x + _julia_mixer(block["seq_mixer"], _rms(x, block["ln1"]["weight"][:, None]))
        u = _rms(x, block["ln2"]["weight"][:, None])
        ffn = block["ffn"]
        x = x + ffn["w2"] @ (_silu(ffn["w1"] @ u) * (ffn["v"] @ u))
    return (tree["tok_emb"]["weight"].T @ _rms(x, tree["ln_f"]["weight"][:, None])).T


def _julia_mixer(mixer: dict[str, Any], x: Array) -> Array:
    conv, taps = np.zeros_like(x), mixer["conv"]["kernel"]
    for t in range(x.shape[1]):
        for k in range(len(taps)):
            if t - (len(taps) - 1) + k >= 0:
                conv[:, t] += taps[k] * x[:, t - (len(taps) - 1) + k]
    pairs = [mixer["monarch"]] if "monarch" in mixer else list(mixer["monarchs"].values())
    share = len(x) // len(pairs)
    monarch = np.concatenate([_julia_monarch(pair, x[h * share : (h + 1) * share]) for h, pair in enumerate(pairs)])
    if "weight" in mixer["gate"]:
        return 1 / (1 + np.exp(-mixer["gate"]["weight"]))[:, None] * (conv + monarch)
    kernel, long = mixer["longconv"]["kernel"], np.zeros_like(x)
    for t in range(x.shape[1]):
        for lag in range(t + 1):
            long[:, t] += kernel[lag] * x[:, t - lag]
    gate = np.exp(mixer["gate"]["logits"])
    gate /= gate.sum(axis=0)
    return gate[0][:, None] * conv + gate[1][:, None] * monarch + gate[2][:, None] * long


def _julia_monarch(pair: dict[str, Array], x: Array) -> Array:
    """Realized as Julia does: the identity through L2's blocks, digits swapped, L1's blocks, digits swapped."""
    grid = np.eye(CONTEXT).reshape(SIDE, SIDE, CONTEXT, order="F")
    grid = np.einsum("mij,ijc->mjc", pair["L2"], grid).transpose(1, 0, 2)
    grid = np.einsum("njm,jmc->nmc", pair["L1"], grid).transpose(1, 0, 2)
    matrix = np.tril(grid.reshape(CONTEXT, CONTEXT, order="F"))
    length = x.shape[1]
    return x @ matrix[:length, :length].T


# PyTorch: SymbioGPT, SymbioSLM, VocabFusion

ALL = ("causal_conv", "monarch", "long_conv", "attention")


def torch_state(
    seed: int = 0, width: int = 8, inner: int = 12, layers: int = 2, heads: int = 2, head_dim: int = 4,
    organelles: Sequence[str] = ALL, vocabulary: int = 260, extras: bool = True, monarch_heads: int = 1,
) -> dict[str, Array]:  # fmt: skip
    """A state dict in the order in which PyTorch writes it; ``extras`` are temperature, skips and buffers."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.5) -> Array:
        return (rng.normal(size=shape) * scale).astype("<f4")

    state = {"tok_emb.weight": normal(vocabulary, width)}
    if extras and "attention" in organelles:
        angles = np.outer(np.arange(CONTEXT), 10_000.0 ** -(np.arange(head_dim // 2) * 2 / head_dim))
        state |= {"rope.cos_cache": np.cos(angles).astype("<f4"), "rope.sin_cache": np.sin(angles).astype("<f4")}
    for i in range(layers):
        block = f"blocks.{i}"
        state[f"{block}.ln1.weight"] = normal(width) + np.float32(1)
        if extras and "monarch" in organelles:
            state[f"{block}.seq_mixer.monarch_causal_mask"] = np.tri(CONTEXT, dtype="<f4")
        for name in organelles:
            prefix = f"{block}.seq_mixer.organelle_modules.{name}"
            if name == "causal_conv":
                state[f"{prefix}.weight"] = normal(width, 1, 4)
            elif name == "monarch":
                for h in range(monarch_heads):
                    state |= {f"{prefix}.{h}.L1": normal(16, 16, 16), f"{prefix}.{h}.L2": normal(16, 16, 16)}
            elif name == "long_conv":
                state[f"{prefix}.kernel"] = normal(width, 1, CONTEXT, scale=0.1)
            else:
                state |= {f"{prefix}.{w}.weight": normal(heads * head_dim, width) for w in ("wq", "wk", "wv")}
                state[f"{prefix}.wo.weight"] = normal(width, heads * head_dim)
        state[f"{block}.seq_mixer.gate.logits"] = normal(len(organelles), width)
        if extras:
            state[f"{block}.seq_mixer.gate.temperature"] = np.array([0.7], "<f4")
            state[f"{block}.skip1.scale"] = np.array([0.9], "<f4")
        state[f"{block}.ln2.weight"] = normal(width) + np.float32(1)
        state |= {f"{block}.ffn.{w}.weight": normal(inner, width) for w in ("w1", "v")}
        state[f"{block}.ffn.w2.weight"] = normal(width, inner)
        if extras:
            state[f"{block}.skip2.scale"] = np.array([1.1], "<f4")
    return state | {"ln_f.weight": normal(width) + np.float32(1)}


def vocab_fusion_state(seed: int = 0, donor: int = 6, vocabulary: int = 300, **sizes: Any) -> dict[str, Array]:
    """An organelle model between a donor's embedding and itself; blocks in one list ``blocks``."""
    inside = torch_state(seed, **sizes)
    width = len(inside["ln_f.weight"])
    del inside["tok_emb.weight"]
    last = inside.pop("ln_f.weight")
    rng = np.random.default_rng(seed + 1)
    around = {
        "donor_embedding.weight": (vocabulary, donor), "junction.proj.weight": (width, donor),
        "junction.norm.weight": (width,), "junction.norm.bias": (width,),
    }  # fmt: skip
    state = {name: rng.normal(size=shape).astype("<f4") for name, shape in around.items()} | inside
    return state | {"final_norm.weight": last, "output.weight": rng.normal(size=(donor, width)).astype("<f4")}


def torch_logits(state: dict[str, Array], ids: Sequence[int], organelles: Sequence[str], head_dim: int = 4) -> Array:
    """By PyTorch itself, with its convolutions, from the source's names; (positions, vocabulary)."""
    import torch
    from torch.nn import functional

    tensors = {name: torch.from_numpy(array.astype(np.float64)) for name, array in state.items()}

    def rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, x.shape[-1:], weight, 1e-6)

    def mixed(name: str, prefix: str, x: torch.Tensor) -> torch.Tensor:
        if name in ("causal_conv", "long_conv"):
            kernel = tensors[f"{prefix}.{'weight' if name == 'causal_conv' else 'kernel'}"]
            padded = functional.pad(x.T[None], (kernel.shape[-1] - 1, 0))
            return functional.conv1d(padded, kernel, groups=len(kernel))[0].T
        if name == "monarch":
            pairs = [prefix + f".{h}" for h in range(sum(key.startswith(prefix) for key in tensors) // 2)]
            parts = x.chunk(len(pairs), dim=1)
            return torch.cat([monarch(pair, part) for pair, part in zip(pairs, parts, strict=True)], dim=1)
        return attention(prefix, x)

    def monarch(pair: str, x: torch.Tensor) -> torch.Tensor:
        grid = torch.eye(CONTEXT, dtype=torch.float64).reshape(SIDE, SIDE, CONTEXT)
        grid = torch.einsum("mij,ijc->mjc", tensors[f"{pair}.L2"], grid).transpose(0, 1)
        grid = torch.einsum("njm,jmc->nmc", tensors[f"{pair}.L1"], grid).transpose(0, 1)
        return grid.reshape(CONTEXT, CONTEXT).tril()[: len(x), : len(x)] @ x

    def attention(prefix: str, x: torch.Tensor) -> torch.Tensor:
        q, k, v = ((x @ tensors[f"{prefix}.{w}.weight"].T).unflatten(1, (-1, head_dim)) for w in ("wq", "wk", "wv"))
        q, k = _rotated(q), _rotated(k)
        heads = functional.scaled_dot_product_attention(*(each.transpose(0, 1) for each in (q, k, v)), is_causal=True)
        return heads.transpose(0, 1).flatten(1) @ tensors[f"{prefix}.wo.weight"].T

    def _rotated(x: torch.Tensor) -> torch.Tensor:
        half = head_dim // 2
        angles = torch.arange(len(x))[:, None] * 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
        cos, sin, first, second = angles.cos()[:, None], angles.sin()[:, None], x[..., :half], x[..., half:]
        return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)

    def scale(name: str) -> torch.Tensor:
        return tensors.get(name, torch.ones(1, dtype=torch.float64))

    if "donor_embedding.weight" in tensors:
        embedding = tensors["donor_embedding.weight"]
        x = embedding[list(ids)] @ tensors["junction.proj.weight"].T
        norm = tensors["junction.norm.weight"], tensors["junction.norm.bias"]
        x = functional.silu(functional.layer_norm(x, x.shape[-1:], *norm))
    else:
        embedding = tensors["tok_emb.weight"]
        x = embedding[list(ids)]
    for i in range(sum(name.endswith(".ln1.weight") for name in tensors)):
        block = f"blocks.{i}"
        u = rms(x, tensors[f"{block}.ln1.weight"])
        gate = tensors[f"{block}.seq_mixer.gate.logits"] / scale(f"{block}.seq_mixer.gate.temperature")
        parts = [mixed(name, f"{block}.seq_mixer.organelle_modules.{name}", u) for name in organelles]
        x = x + scale(f"{block}.skip1.scale") * sum(w * y for w, y in zip(gate.softmax(0), parts, strict=True))
        u = rms(x, tensors[f"{block}.ln2.weight"])
        w1, v, w2 = (tensors[f"{block}.ffn.{w}.weight"].T for w in ("w1", "v", "w2"))
        x = x + scale(f"{block}.skip2.scale") * ((functional.silu(u @ w1) * (u @ v)) @ w2)
    if "final_norm.weight" in tensors:
        x = rms(x, tensors["final_norm.weight"]) @ tensors["output.weight"].T
    else:
        x = rms(x, tensors["ln_f.weight"])
    return (x @ embedding.T).numpy()


# The engine's checkpoints


def symbio_logits(folder: Path, ids: Sequence[int]) -> Array:
    """From a converted folder, by the fixed conventions of the engine's checkpoints; (positions, vocabulary)."""
    config = json.loads((folder / "config.json").read_text())
    tensors = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()}
    lists = config["organelles"]
    lists = [lists] * config["num_hidden_layers"] if isinstance(lists[0], str) else lists
    embedding = tensors.get("tok_emb.weight", tensors.get("donor.weight"))
    x = embedding[list(ids)]
    if "donor_hidden_size" in config:
        x = x @ tensors["junction.proj.weight"].T
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = _silu(x * tensors["junction.norm.weight"] + tensors["junction.norm.bias"])
    for i, organelles in enumerate(lists):
        own = {k.removeprefix(f"blocks.{i}."): v for k, v in tensors.items() if k.startswith(f"blocks.{i}.")}
        u = _rms(x.T, own["ln1.weight"][:, None]).T
        parts = [_organelle(name, own, u, config) for name in organelles]
        if config["gate"] == "sigmoid":
            mixed = sum(parts) / (1 + np.exp(-own["seq_mixer.gate.weight"]))
        else:
            cold = max(own["seq_mixer.gate.temperature"][0], 0.01) if config["gate_temperature"] else 1
            gate = np.exp(own["seq_mixer.gate.logits"] / cold)
            mixed = sum(w * part for w, part in zip(gate / gate.sum(0), parts, strict=True))
        x = x + (own["skip1.scale"] if config["skip_scales"] else 1) * mixed
        u = _rms(x.T, own["ln2.weight"][:, None]).T
        inner = _silu(u @ own["ffn.w1.weight"].T) * (u @ own["ffn.v.weight"].T)
        x = x + (own["skip2.scale"] if config["skip_scales"] else 1) * (inner @ own["ffn.w2.weight"].T)
    x = _rms(x.T, tensors["ln_f.weight"][:, None]).T
    if "donor_hidden_size" in config:
        x = x @ tensors["out_proj.weight"].T
    return x @ embedding.T


def _organelle(name: str, own: dict[str, Array], x: Array, config: dict[str, Any]) -> Array:
    own = {k.removeprefix(f"seq_mixer.organelle_modules.{name}."): v for k, v in own.items()}
    y = np.zeros_like(x)
    if name in ("causal_conv", "long_conv"):
        kernel = own["weight" if name == "causal_conv" else "kernel"][:, 0]
        for t in range(len(x)):
            for lag in range(min(t + 1, kernel.shape[1])):
                y[t] += kernel[:, kernel.shape[1] - 1 - lag] * x[t - lag]
    elif name == "monarch":
        share = x.shape[1] // config["monarch_heads"]
        for h in range(config["monarch_heads"]):
            matrix = _monarch_matrix(own[f"{h}.L1"], own[f"{h}.L2"], config["monarch_layout"])
            y[:, h * share : (h + 1) * share] = matrix[: len(x), : len(x)] @ x[:, h * share : (h + 1) * share]
    else:
        y = _attention(own, x, config["num_attention_heads"], config["head_dim"])
    return y


def _monarch_matrix(l1: Array, l2: Array, layout: str) -> Array:
    """Entry by entry from the closed form, masked."""
    m, n, i, j = np.indices((SIDE,) * 4).reshape(4, -1)
    matrix = np.zeros((CONTEXT, CONTEXT))
    row, column = (m + SIDE * n, i + SIDE * j) if layout == "julia" else (m * SIDE + n, i * SIDE + j)
    matrix[row, column] = l1[n, j, m] * l2[m, i, j]
    return np.tril(matrix)


def _attention(own: dict[str, Array], x: Array, heads: int, head_dim: int) -> Array:
    outputs = []
    half = head_dim // 2
    angles = np.arange(len(x))[:, None] * 10_000.0 ** -(np.arange(half) / half)
    for h in range(heads):
        rows = slice(h * head_dim, (h + 1) * head_dim)
        q, k, v = (x @ own[f"{w}.weight"][rows].T for w in ("wq", "wk", "wv"))
        q, k = (_turned(each, np.exp(1j * angles)) for each in (q, k))
        scores = q @ k.T / np.sqrt(head_dim) + np.triu(np.full((len(x), len(x)), -np.inf), 1)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        outputs.append(weights / weights.sum(1, keepdims=True) @ v)
    return np.concatenate(outputs, axis=1) @ own["wo.weight"].T


def _turned(x: Array, turn: Array) -> Array:
    half = x.shape[1] // 2
    complex_ = (x[:, :half] + 1j * x[:, half:]) * turn
    return np.concatenate([complex_.real, complex_.imag], axis=1)


def _rms(x: Array, weight: Array) -> Array:
    return weight * x / np.sqrt(np.mean(x**2, axis=0, keepdims=True) + 1e-6)


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def _map(tree: dict[str, Any], change: Any) -> dict[str, Any]:
    return {key: _map(value, change) if isinstance(value, dict) else change(value) for key, value in tree.items()}


# Tokenizers


def byte_alphabet() -> list[str]:
    """GPT-2's 256 characters, by byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


MERGES = [("t", "h"), ("Ġ", "th"), ("Ġth", "e"), ("i", "n")]


def write_bpe(folder: Path) -> None:
    """``vocab.json`` and ``merges.txt`` of 260 tokens; ids are not in the order of the file."""
    tokens = [*byte_alphabet(), *("".join(pair) for pair in MERGES)]
    table = {token: index for index, token in reversed(list(enumerate(tokens)))}
    (folder / "vocab.json").write_text(json.dumps(table))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, MERGES)) + "\n")
