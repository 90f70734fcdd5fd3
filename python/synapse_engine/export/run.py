"""From a training run to a model folder with its card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synapse_engine.convert.target import check_target
from synapse_engine.export.card import Facts, model_card
from synapse_engine.export.folder import write_model
from synapse_engine.train.comparison import best_model, compare
from synapse_engine.train.run_folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What to export, and what the card compares it with."""

    run: Path
    target: Path
    data: Path  # the text of the run; its held-out part is scored for the card
    dtype: str = "float32"
    against: tuple[Path, ...] = ()
    force: bool = False  # replaces a model that lies in ``target``


def export_run(request: Request) -> None:
    """Writes the best model of a run as a folder that the engine loads."""
    check_target(request.target, force=request.force)
    run = RunFolder(request.run)
    settings = run.read_settings()
    model, step = best_model(run)
    others = [RunFolder(other) for other in request.against]
    scores = compare(request.data, [run, *others])
    curves = _curves({folder.folder.name: list(folder.records()) for folder in (run, *others)}, run)
    training = [record for record in run.records() if record["kind"] == "train"]
    options = settings["options"]
    facts = Facts(
        name=request.target.name,
        config=model.config,
        options=options,
        tokens=step * options["batch_size"] * model.config.max_position_embeddings,
        hours=training[-1]["seconds"] / 3600 if training else 0.0,
        step=step,
        scores=scores,
        sources=_sources(request.data),
        curves=bool(curves),
    )
    source = {"step": step, "best_val_loss": scores[0].score.loss, "tokens": facts.tokens}
    extra = {"README.md": model_card(facts).encode(), **curves}
    write_model(
        request.target,
        model.config,
        model.state_dict(),
        run.tokenizer.read_bytes(),
        request.dtype,
        source,
        extra,
        force=request.force,
    )


def _sources(data: Path) -> list[dict[str, Any]]:
    listed = data / "sources.json"
    return json.loads(listed.read_text()) if listed.is_file() else []


def _curves(records: dict[str, list[dict[str, Any]]], run: RunFolder) -> dict[str, bytes]:
    try:
        from synapse_engine.train.plot import draw_curves
    except ImportError:
        return {}
    draw_curves(records, run.curves)
    return {"curves.png": run.curves.read_bytes()}
