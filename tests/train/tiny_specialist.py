"""A tiny language model with a chat template and conversations that it can learn in seconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.oracle import tiny_models

from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.specialist.options import SpecialistOptions
from synapse_engine.train.specialist.start import SpecialistPlan, start

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch

    from synapse_engine.train.specialist.tuner import Tuner

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
LLAMA = tiny_models.TinyModel("base", "llama", tiny_models.shape(48, 4, 2, 64, tie_word_embeddings=True))
QWEN2 = tiny_models.TinyModel("base", "qwen2", tiny_models.shape(56, 4, 2, 80))
ANIMALS = ("dog", "fox", "jug", "box", "liquor", "dozen", "quick", "brown")
ANSWERS = ("jumps", "lazy", "pack", "five", "over", "with", "my", "the")


def make_base(folder: Path, spec: tiny_models.TinyModel = LLAMA) -> Path:
    """A random model as Hugging Face has it."""
    tiny_models.build(spec).save_pretrained(folder)
    tiny_models.tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def turns(*texts: str) -> dict[str, Any]:
    """User and assistant in turn."""
    return {"messages": [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]}


def write(file: Path, rows: Iterable[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def mapping(count: int = 64) -> list[dict[str, Any]]:
    """Each of eight words has an answer of its own; numbers around it make requests differ."""
    return [turns(f"{at} {ANIMALS[at % 8]} {at * 7 % 10}", ANSWERS[at % 8]) for at in range(count)]


def tuner(base: Path, data: Path, out: Path, **given: Any) -> Tuner:
    settings: dict[str, Any] = {
        "steps": 6, "batch_tokens": 192, "window": 96, "warmup": 1, "eval_every": 3, "log_every": 2, "held_out": 0.1,
        "rank": 4, "alpha": 8, "learning_rate": 1e-2,
    }  # fmt: skip
    return start(SpecialistPlan(base, data, out, SpecialistOptions(**settings | given))).tuner


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    return RunFolder(folder).load(folder / "checkpoint.pt")["model"]
