"""Finds a model's chat template as text. Does not render it; the engine does."""

import json
from pathlib import Path

from .headers import ModelHeader


def chat_template(path: Path, header: ModelHeader) -> str | None:
    """From the GGUF metadata, ``chat_template.jinja``, or ``tokenizer_config.json``, which may hold several."""
    if header.format == "gguf":
        return header.metadata.get("tokenizer.chat_template")
    folder = path if path.is_dir() else path.parent
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError):
        return None
    if isinstance(found, list):
        found = next((entry.get("template") for entry in found if entry.get("name") == "default"), None)
    return found if isinstance(found, str) else None
