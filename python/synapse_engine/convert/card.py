"""The model card of a converted checkpoint: what the source says, and how it was understood. Writes no file."""

from collections.abc import Sequence

from synapse_engine.gates import LayerGate, mean_entropy
from synapse_engine.model_card import CHAT_NOTE, table

from .shape import ModelShape
from .sources.lora import Adapter

_HEAD = """---
library_name: synapse-engine
tags:
- symbiogenesis
- converted
---
# {title}

Converted by `synapse convert` from `{source}`. The licence is that of the source.
{note}
"""


def model_card(title: str, source: str, rows: Sequence[tuple[str, str]], gates: Sequence[LayerGate]) -> str:
    """``rows`` are names and values of facts."""
    text = _HEAD.format(title=title, source=source, note=CHAT_NOTE + "\n") + table(("Fact", "Value"), rows)
    organelles = list(dict.fromkeys(name for gate in gates for name in gate.organelles))
    body = [[str(index), *_cells(gate, organelles)] for index, gate in enumerate(gates)]
    text += "\n## Gates\n\nMean weight of each organelle over a layer's channels, and the gate's entropy in nats.\n\n"
    return text + table(("Layer", *organelles, "Entropy"), body)


def adapter_card(title: str, source: str, adapter: Adapter, notes: Sequence[str]) -> str:
    """The card of an adapter; its file says nothing about the model that it was trained on."""
    rows = [
        ("Parameters", f"{adapter.parameters:,}"), ("Rank", str(adapter.rank)), ("Alpha", f"{adapter.alpha:g}"),
        ("Scale", f"alpha / rank = {adapter.alpha / adapter.rank:g}"), ("Targets", ", ".join(adapter.targets)),
    ]  # fmt: skip
    text = _HEAD.format(title=title, source=source, note="") + table(("Fact", "Value"), rows)
    text += "\nThe source does not hold the model that this adapter was trained on; it is of use with that one only.\n"
    return text + "".join(f"\n- {note}" for note in notes) + ("\n" if notes else "")


def fact_rows(
    shape: ModelShape, facts: dict[str, object], gates: Sequence[LayerGate], notes: Sequence[str]
) -> list[tuple[str, str]]:
    """The table of a model's card."""
    organelles = list(dict.fromkeys(shape.organelles))
    rows = [
        ("Parameters", f"{shape.parameters():,}"),
        ("Layers, width, feed-forward", f"{shape.layers}, {shape.hidden_size}, {shape.intermediate_size}"),
        ("Vocabulary, context", f"{shape.vocab_size}, {shape.context}"),
        ("Organelles", "; ".join(", ".join(names) for names in organelles)),
    ]
    if shape.has("monarch"):
        rows.append(("Monarch heads", str(shape.monarch_heads)))
    if shape.has("attention"):
        rows.append(("Attention heads", f"{shape.attention_heads} of {shape.head_dim}"))
    entropy = mean_entropy(gates)
    if entropy is not None:
        rows.append(("Gate entropy, mean", f"{entropy:.4f} nats"))
    rows += [(key.replace("_", " ").capitalize(), _shown(value)) for key, value in facts.items()]
    return rows + [("Note", note) for note in notes]


def _cells(gate: LayerGate, organelles: Sequence[str]) -> list[str]:
    weights = dict(zip(gate.organelles, gate.weights, strict=True))
    entropy = "" if gate.entropy is None else f"{gate.entropy:.4f}"
    return [f"{weights[name]:.3f}" if name in weights else "" for name in organelles] + [entropy]


def _shown(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)
