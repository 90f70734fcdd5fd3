"""The model card of a merge: what went into it, how, and how it was judged. Writes no file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from synapse_engine.model_card import table

if TYPE_CHECKING:
    from .merging import Merged

_HEAD = """---
library_name: synapse-engine
tags:
- merge
---
# {title}

Made by `synapse merge` from `{base}`. The licences are those of the base and of what was merged into it.

"""


def model_card(base: str, merged: "Merged", settings: Mapping[str, str]) -> str:
    """Markdown with the hub's front matter."""
    text = _HEAD.format(title=merged.target.name, base=base)
    text += table(("Merged", "Weight", "What"), [(name, f"{weight:g}", what) for name, weight, what in merged.sources])
    rows = [*settings.items(), ("Tensors changed", str(merged.tensors)), ("Number format", merged.dtype)]
    text += "\n" + table(("Setting", "Value"), rows)
    return text + _judged(merged)


def _judged(merged: "Merged") -> str:
    found = merged.evaluation
    if found is None:
        return "\nNot held against the base: made without `--eval`.\n"
    rows: Sequence[Sequence[str]] = [
        ("Base", f"{found.base:.4f}"), ("Merged", f"{found.merged:.4f}"),
        ("Difference, 95 %", f"{found.low:+.4f} to {found.high:+.4f}"),
        ("Tokens, pieces", f"{found.tokens:,}, {found.pieces}"),
    ]  # fmt: skip
    return "\nLog-likelihood per token in nats, on the text of `--eval`:\n\n" + table(("", ""), rows)
