"""Writes what a run has learned: an adapter as PEFT has it, a card, and the specialist's TOML beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synapse_engine.convert.target import new_folder
from synapse_engine.model_card import table
from synapse_engine.specialists.reading import specialist_of
from synapse_engine.specialists.writing import document
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.specialist.conversations import varied_requests

if TYPE_CHECKING:
    from pathlib import Path

    from synapse_engine.train.specialist.start import Started

EXAMPLES = 12


@dataclass(frozen=True)
class Written:
    """What lies where, and how good it is."""

    adapter: Path
    toml: Path
    step: int
    """The step that was best."""
    base_loss: float
    """Held-out loss of the answers before training, in nats for each token."""
    loss: float
    margin: float | None
    """Half of the 95 % interval of the loss."""


def write_specialist(started: Started, name: str, description: str) -> Written:
    """The best weights of the run so far, as ``OUT/NAME/`` and ``OUT/NAME.toml``; older ones are replaced."""
    tuner = started.tuner
    best = tuner.run.load(tuner.run.best)
    tuner.load(best["model"])
    looks = [record for record in tuner.run.records() if record["kind"] == "validation"]
    margin = next(record["margin"] for record in reversed(looks) if record["step"] == best["step"])
    folder, toml = tuner.run.folder / name, tuner.run.folder / f"{name}.toml"
    written = Written(folder, toml, best["step"], looks[0]["loss"], best["loss"], margin)
    with new_folder(folder, force=True) as fresh:
        tuner.model.save_pretrained(fresh)
        (fresh / "adapter_model.safetensors").chmod(0o644)  # safetensors leaves it to its owner only
        (fresh / "README.md").write_text(_card(started, name, written), encoding="utf-8")
    text = specialist_toml(name, description, varied_requests(started.split.training, EXAMPLES))
    RunFolder.write(toml, lambda file: file.write_text(text, encoding="utf-8"))
    return written


def specialist_toml(name: str, description: str, examples: list[str]) -> str:
    """A specialist's file; raises ``SpecialistError`` if it would not be sound."""
    fields = {"name": name, "description": description, "examples": examples, "adapter": name}
    return document(specialist_of({**fields, "sampling": {"temperature": 0}}, f"{name}.toml"))


def _card(started: Started, name: str, written: Written) -> str:
    options = started.tuner.options
    facts = {
        "Base": started.tuner.run.read_settings()["data"]["base"],
        "Rank, alpha": f"{options.rank}, {options.alpha:g}",
        "Layers": ", ".join(options.targets),
        "Conversations": f"{len(started.split.training):,} learned, {len(started.split.held_out):,} held out",
        "Steps": f"{written.step:,} of {options.steps:,}, {options.batch_tokens:,} tokens each; seed {options.seed}",
        "Loss of held-out answers": f"{written.base_loss:.4f} before, {written.loss:.4f} after (nats per token)",
    }
    rows = [[key, value] for key, value in facts.items()]
    return f"# {name}\n\nA LoRA adapter, trained by `synapse train specialist`.\n\n{table(['', ''], rows)}"
