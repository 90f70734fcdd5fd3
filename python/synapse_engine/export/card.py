"""The model card of a trained model: its shape, its recipe, how well it predicts, what it has read. Writes no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.model_card import CHAT_NOTE, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.train.comparison import Compared
    from synapse_engine.train.evaluate import Score
    from synapse_engine.train.symbio_config import SymbioConfig


@dataclass(frozen=True)
class Facts:
    """What a card tells."""

    name: str
    config: SymbioConfig
    options: dict[str, Any]
    tokens: int
    hours: float
    step: int
    scores: Sequence[Compared]  # this model first
    sources: Sequence[dict[str, Any]]
    curves: bool


def model_card(facts: Facts) -> str:
    """Markdown with the hub's front matter."""
    parts = [_head(facts), _shape(facts.config), _recipe(facts), _scores(facts)]
    if facts.sources:
        parts.append(_sources(facts.sources))
    return "\n".join(parts)


def _head(facts: Facts) -> str:
    return f"""---
language: en
library_name: synapse-engine
pipeline_tag: text-generation
---
# {facts.name}

A language model of {facts.config.parameters():,} parameters, trained with `synapse train symbio`.
It continues text like that which it read. {CHAT_NOTE}
"""


def _shape(config: SymbioConfig) -> str:
    layers = list(dict.fromkeys(", ".join(names) for names in config.organelles))
    rows = [
        (
            "Layers, width, feed-forward",
            f"{config.num_hidden_layers}, {config.hidden_size}, {config.intermediate_size}",
        ),
        ("Organelles", "; ".join(layers)),
        ("Window", f"{config.max_position_embeddings} tokens"),
        ("Vocabulary", f"{config.vocab_size}, byte-level BPE"),
    ]
    if any("monarch" in names for names in config.organelles):
        rows.append(("Monarch", f"{config.monarch_heads} head(s), layout {config.monarch_layout}"))
    return "## Shape\n\n" + table(("", ""), rows)


def _recipe(facts: Facts) -> str:
    options = facts.options
    rows = [
        ("Tokens", f"{facts.tokens:,} in {facts.step:,} steps of {options['batch_size']} windows"),
        ("Optimiser", f"AdamW (0.9, 0.95), weight decay {options['weight_decay']}, clipped at {options['clip']}"),
        ("Learning rate", f"{options['learning_rate']}, warm-up, cosine to {options['final_share']:.0%} of it"),
        ("Precision", f"{options['precision']} products, f32 weights"),
        ("Time", f"{facts.hours:.2f} hours"),
        ("Seed", str(options["seed"])),
    ]
    picture = "\n![Loss, gate entropy and synchrony over the steps](curves.png)\n" if facts.curves else ""
    return "## Recipe\n\n" + table(("", ""), rows) + picture


def _scores(facts: Facts) -> str:
    rows = [
        (
            compared.name,
            f"{compared.parameters:,}",
            f"{compared.score.perplexity:.2f}",
            _interval(compared.score),
            f"{compared.bits_per_byte:.3f}",
        )
        for compared in facts.scores
    ]
    first = facts.scores[0].score
    text = f"## Held-out text\n\n{first.windows:,} windows that training never saw, the same for every row.\n\n"
    text += table(("Model", "Parameters", "Perplexity per token", "95 %", "Bits per byte"), rows)
    for other in facts.scores[1:]:
        gap = other.difference
        if gap is not None:
            low, high = gap.loss - gap.margin, gap.loss + gap.margin
            text += (
                f"\nWindow by window, the loss of {other.name} is {gap.loss:+.4f} nats per token from that of "
                f"{facts.scores[0].name} (95 %: {low:+.4f} to {high:+.4f}).\n"
            )
    return text


def _interval(score: Score) -> str:
    low, high = score.interval
    return f"{low:.2f} to {high:.2f}" if score.windows > 1 else "unknown"


def _sources(sources: Sequence[dict[str, Any]]) -> str:
    rows = [
        (s["title"], f"{s['bytes'] / 1e6:.2f} MB", s["licence"], f"`{s['package']}` {s['version']}") for s in sources
    ]
    return "## Data\n\n" + table(("Text", "Size", "Licence", "Debian package"), rows)
