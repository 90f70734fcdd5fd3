"""Specialists as users write them, for several test files."""

import json
from pathlib import Path

COOKING = """\
name = "cooking"
description = "Recipes and kitchen techniques."
examples = ["how long do eggs take", "pie without butter", "what goes with leeks"]
system_prompt = "You are a cook."

[sampling]
temperature = 0.6
"""


def write_specialist(folder: Path, name: str = "cooking", *, adapter: str | None = None, text: str = COOKING) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = text.replace("cooking", name)
    if adapter is not None:
        text = text.replace("[sampling]", f'adapter = "{adapter}"\n[sampling]')
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def write_adapter(folder: Path, weights: bytes = b"weights") -> Path:
    """What looks like a PEFT folder from outside, with more in it than belongs to an adapter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 8}))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "optimizer.pt").write_bytes(b"of the training")
    return folder
