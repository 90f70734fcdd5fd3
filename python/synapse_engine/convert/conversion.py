"""The way from a checkpoint to a folder that the engine opens, in order. Each step is a module of its own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from synapse_engine.base_model import companions
from synapse_engine.gates import LayerGate, layer_gates, mean_entropy

from .card import adapter_card, fact_rows, model_card
from .errors import DamagedFileError, MissingFileError
from .files import read_json
from .infer import infer_shape
from .layout import LayoutEvidence, detect_layout
from .opening import Opened, open_source
from .settings import Settings, parse_settings, read_settings
from .shape import ModelShape
from .sources.julia import from_julia
from .sources.lora import from_lora, is_lora
from .sources.state_dict import from_state_dict
from .sources.vocab_fusion import from_vocab_fusion, is_vocab_fusion
from .target import check_target, new_folder, write_json, write_tensors, write_text
from .tokenizer import check_size, dump, find_tokenizer
from .weights import Weights, check

_CONFIGS = ("config.toml", "config.json")


@dataclass(frozen=True)
class ConvertRequest:
    """What the user asked for."""

    source: Path
    """A checkpoint, or a folder with one."""
    target: Path
    """The folder to make."""
    config: Path | None = None
    """The configuration; else the one beside the source, if there is one."""
    tokenizer: Path | None = None
    """A tokenizer's file or folder; else the one beside the source."""
    monarch_layout: str | None = None
    """``julia`` or ``torch``, instead of what the values say."""
    dtype: str = "float32"
    """``float32`` or ``float16``."""
    base: str | None = None
    """For an adapter: the model that it belongs to."""
    force: bool = False
    """Replace a model that is there."""


@dataclass
class Converted:
    """What was written."""

    target: Path
    kind: str
    """``model`` or ``adapter``."""
    parameters: int
    facts: dict[str, Any] = field(default_factory=dict)
    gates: list[LayerGate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def convert(request: ConvertRequest) -> Converted:
    """Converts one checkpoint. Raises ConvertError; the target is then as it was."""
    check_target(request.target, force=request.force)
    opened = open_source(request.source)
    return _adapter(request, opened) if is_lora(opened.arrays) else _model(request, opened)


def _model(request: ConvertRequest, opened: Opened) -> Converted:
    settings = _settings(request, opened)
    weights = _named(opened, settings.attention_heads)
    shape = infer_shape(weights, settings)
    tensors = check(weights.tensors, shape)
    tokenizer = find_tokenizer(request.tokenizer or opened.path.parent)
    check_size(tokenizer, shape.vocab_size)
    gates = layer_gates(tensors, shape.organelles)
    layout, layout_facts = _layout(request, shape, weights, tensors)
    facts = {**opened.facts, **layout_facts}
    notes = [*weights.notes, *tokenizer.notes]
    source = {"file": opened.path.name, "format": opened.format, "parameters": shape.parameters(), **facts}
    if (entropy := mean_entropy(gates)) is not None:
        source["gate_entropy"] = entropy
    with new_folder(request.target, force=request.force) as folder:
        write_tensors(folder / "model.safetensors", tensors, request.dtype)
        write_json(folder / "config.json", {**_config(shape, layout), "dtype": request.dtype, "source": source})
        write_text(folder / "tokenizer.json", dump(tokenizer))
        for name, text in companions(shape.context).items():
            write_text(folder / name, text)
        rows = fact_rows(shape, facts, gates, notes)
        write_text(folder / "README.md", model_card(request.target.name, opened.path.name, rows, gates))
    return Converted(request.target, "model", shape.parameters(), facts, gates, notes)


def _adapter(request: ConvertRequest, opened: Opened) -> Converted:
    alpha, note = _alpha(opened)
    adapter = from_lora(opened.arrays, alpha)
    notes = [note or f"the file does not hold alpha; took twice the rank, {adapter.alpha:g}"]
    with new_folder(request.target, force=request.force) as folder:
        write_tensors(folder / "adapter_model.safetensors", adapter.tensors, request.dtype)
        write_json(folder / "adapter_config.json", adapter.config(request.base))
        write_text(folder / "README.md", adapter_card(request.target.name, opened.path.name, adapter, notes))
    facts = {"rank": adapter.rank, "alpha": adapter.alpha, "targets": adapter.targets}
    return Converted(request.target, "adapter", adapter.parameters, facts, [], notes)


def _settings(request: ConvertRequest, opened: Opened) -> Settings:
    """Named by the user, inside the file, or beside it."""
    if request.config:
        if not request.config.is_file():
            raise MissingFileError(f"{request.config}: no such file", "check the path after --config")
        return read_settings(request.config)
    if opened.config:
        return parse_settings(opened.config, opened.path.name)
    beside = next((path for name in _CONFIGS if (path := opened.path.with_name(name)).is_file()), None)
    return read_settings(beside) if beside else Settings()


def _named(opened: Opened, heads: int | None) -> Weights:
    if opened.format == "jld2":
        return from_julia(opened.arrays, heads)
    return from_vocab_fusion(opened.arrays) if is_vocab_fusion(opened.arrays) else from_state_dict(opened.arrays, heads)


def _layout(
    request: ConvertRequest, shape: ModelShape, weights: Weights, tensors: dict[str, np.ndarray]
) -> tuple[str | None, dict[str, Any]]:
    """The layout to use, and the facts that say why."""
    if not shape.has("monarch"):
        return None, {}
    evidence = detect_layout(tensors)
    chosen = request.monarch_layout or evidence.layout or weights.monarch_layout
    return chosen, {"monarch_layout": chosen, "monarch_layout_from": _reason(request, evidence, weights)}


def _reason(request: ConvertRequest, evidence: LayoutEvidence, weights: Weights) -> str:
    if request.monarch_layout:
        values = f"they say {evidence.layout}" if evidence.layout else "they do not decide"
        return f"the option; of the values, {values} ({evidence})"
    if evidence.layout:
        return f"the values ({evidence})"
    return f"the file's format, {weights.monarch_layout}; the values do not decide ({evidence})"


def _config(shape: ModelShape, layout: str | None) -> dict[str, Any]:
    """The content of ``config.json``, without the source."""
    same = len(set(shape.organelles)) == 1
    config: dict[str, Any] = {
        "architectures": ["SymbioForCausalLM"], "model_type": "symbio", "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size, "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers, "max_position_embeddings": shape.context, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "organelles": list(shape.organelles[0]) if same else [list(names) for names in shape.organelles],
        "conv_kernel_size": shape.conv_kernel_size, "monarch_heads": shape.monarch_heads,
        "gate": "sigmoid" if shape.sigmoid_gate else "softmax", "gate_temperature": shape.gate_temperature,
        "skip_scales": shape.skip_scales,
    }  # fmt: skip
    if layout:
        config["monarch_layout"] = layout
    if shape.has("attention"):
        config |= {"num_attention_heads": shape.attention_heads, "head_dim": shape.head_dim, "rope_theta": 10000.0}
    if shape.donor_hidden_size:
        config["donor_hidden_size"] = shape.donor_hidden_size
    return config


def _alpha(opened: Opened) -> tuple[float | None, str | None]:
    """From the experiment's record beside the file, where it is one."""
    path = opened.path.with_name("experiment_config.json")
    if not path.is_file():
        return None, None
    record = read_json(path)
    best = record.get("best_adapter", record) if isinstance(record, dict) else {}
    alpha = best.get("alpha") if isinstance(best, dict) else None
    if alpha is None:
        return None, None
    if type(alpha) not in (int, float) or not 0 < alpha < 1e6:
        raise DamagedFileError(f"{path.name}: `alpha` is {alpha!r}; expected a positive number", "correct the file")
    return float(alpha), f"alpha is from {path.name}"
