"""The model card of a coordinator: what it is, what it has read, how sure it may be. Writes no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.model_card import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.train.coordinator.export import Calibration
    from synapse_engine.train.symbio_config import SymbioConfig


@dataclass(frozen=True)
class Facts:
    """What a card tells."""

    config: SymbioConfig
    parameters: int
    options: dict[str, Any]
    data: dict[str, Any]
    step: int
    minutes: float
    calibration: Calibration
    sources: Sequence[str]
    """Of real text, each with its licence."""


_LIMITS = """## Limits

It knows six languages, English best. Requests at the end of long stories and turns that go on with what was said are
weakest. A specialist of a user's is found by its words: requests without any that tell its topic are often passed over
in favour of a starter's; and specialists for much, such as travel, get requests of `general` that they are not for.
What is noise or an order to a device, and no question to anybody, is told from the rest most of the time only.
`docs/routing.md` has more.
"""


def model_card(facts: Facts) -> str:
    """Markdown with the hub's front matter."""
    return "\n".join([_head(facts), _shape(facts), _recipe(facts), _judged(facts), _LIMITS, _data(facts)])


def _head(facts: Facts) -> str:
    return f"""---
language: [en, de, fr, es, it, pt]
license: apache-2.0
library_name: synapse-engine
---
# coordinator

Finds the specialist for a chat request: {facts.parameters:,} parameters, trained with
`python -m synapse_engine.train.coordinator`. It embeds the last user turn with its context and compares it with the
description and the examples of every specialist, so that those of users work without training. It writes no text.
`docs/routing.md` tells how it decides and how well, on requests written by hand.
"""


def _shape(facts: Facts) -> str:
    config = facts.config
    layers = "; ".join(", ".join(names) for names in config.organelles)
    rows = [
        (
            "Layers, width, feed-forward",
            f"{config.num_hidden_layers}, {config.hidden_size}, {config.intermediate_size}",
        ),
        ("Organelles", layers),
        ("Window", f"{config.max_position_embeddings} tokens: the request and three turns before it, cut"),
        ("Vocabulary", f"{config.vocab_size:,}: words, and a byte-level BPE; small letters, no accents, digits as 0"),
    ]
    return "## Shape\n\n" + table(("", ""), rows)


def _recipe(facts: Facts) -> str:
    options = facts.options
    rows = [
        ("Requests", f"{facts.step * options['batch_size']:,} in {facts.step:,} steps of {options['batch_size']}"),
        ("Optimiser", f"AdamW (0.9, 0.98), weight decay {options['weight_decay']}, clipped at {options['clip']}"),
        ("Learning rate", f"{options['learning_rate']}, warm-up, cosine; tokens stay as topics made them"),
        ("Label smoothing", str(options["smoothing"])),
        ("N-grams", f"{options['gram_rows']:,} requests, one pass of AdaGrad"),
        ("Topics", f"{options['topic_steps']:,} steps of {options['lessons_per_step']} texts, Adam"),
        ("Specialists", f"{options['guests']} in each of these, their loss times {options['guest_weight']}"),
        ("Precision", "bf16 products, f32 weights; in this folder f16, tokens and n-grams 8 bits (E4M3)"),
        ("Time", f"{facts.minutes:.0f} minutes on two shared cores"),
        ("Seed", str(options["seed"])),
    ]
    return "## Recipe\n\n" + table(("", ""), rows)


def _judged(facts: Facts) -> str:
    calibration = facts.calibration
    apart, accuracy, found, kept = (calibration.source[name] for name in ("apart", "accuracy", "found", "kept"))
    return f"""## How sure it is

{apart["ways"]} ways to ask, {apart["requests"]} written requests and {apart["specialists"]} written specialists were
kept from training. They gave all numbers of `coordinator.json`, by cross-entropy: how much each part of a score counts,
the temperature, {calibration.temperature:.2f}, and the threshold, {calibration.threshold:.2f}. {accuracy:.1%} of the
starters' requests found their specialist then, and {found:.1%} of those for specialists that people wrote, six of
which stood beside the starters; `general` kept {kept:.1%} of its own then. The n-grams were then learnt again from
everything.
"""


def _data(facts: Facts) -> str:
    meanings = facts.data.get("meanings")
    text = """## Data

Requests from grammars; and requests, ways to ask, specialists and words that were written by hand
(`synapse_engine.train.routing`). Those near one of `bench/data/routing.jsonl` are left out; some tokens of the others
are dropped or replaced by words of like meaning.
"""
    if meanings:
        text += """
The sentence model all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) says what each token means before training,
and what texts are about, which the sum over their tokens learns to say as well. Nothing else of it is in here.
"""
    if facts.data.get("glosses"):
        text += "\nThese texts have words, definitions and sentences of WordNet 3.0 (Princeton University).\n"
    if facts.sources:
        listed = "".join(f"- {source}\n" for source in facts.sources)
        text += f"\nReal text in some of the requests, each piece from a package with its licence:\n\n{listed}"
    return text
