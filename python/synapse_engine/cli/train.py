"""``synapse train``: trains a small model on text of one's own, or a specialist for a larger one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.app import Failure
from synapse_engine.cli.options import Number
from synapse_engine.cli.output import note
from synapse_engine.cli.train_specialist import specialist

if TYPE_CHECKING:
    from synapse_engine.train.options import TrainOptions
    from synapse_engine.train.symbio_config import SymbioConfig
    from synapse_engine.train.trainer import Trainer

ORGANELLES = "causal_conv,monarch,long_conv"
_PATH = click.Path(path_type=Path)


def needs_training_packages(*more: str) -> None:
    """Explains what to install if PyTorch and its companions are missing."""
    import importlib.util

    wanted = ("torch", "numpy", "safetensors", "tokenizers", *more)
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise Failure(f"training needs {', '.join(missing)}", "pip install 'synapse-engine[train]'")


@click.group()
def command() -> None:
    """Train a small model on your own text, or a specialist."""


command.add_command(specialist)


@command.command(context_settings={"show_default": True})
@click.option(
    "--data", type=_PATH, required=True, metavar="FILE|FOLDER", help="Text to learn from: .txt or .md, UTF-8."
)
@click.option("--out", type=_PATH, required=True, metavar="FOLDER", help="Where the run lies; run again to continue.")
@click.option(
    "--organelles",
    multiple=True,
    default=[ORGANELLES],
    metavar="NAMES",
    help="Names with commas; once, or once a layer.",
)
@click.option("--width", type=Number(int, 8), default=256, help="Numbers per token inside the model.")
@click.option("--layers", type=Number(int, 1), default=8, help="Blocks.")
@click.option("--ffn", type=Number(int, 1), help="Width inside the feed-forward part; by default the family's rule.")
@click.option("--window", type=Number(int, 2), default=256, help="Tokens that the model sees.")
@click.option("--monarch-heads", type=Number(int, 1), default=1, help="Monarch matrices per layer.")
@click.option("--monarch-layout", type=click.Choice(["torch", "julia"]), default="torch", help="Order of their grid.")
@click.option("--heads", type=Number(int, 1), default=4, help="Attention heads, where there is attention.")
@click.option("--head-dim", type=Number(int, 2), default=64, help="Width of an attention head.")
@click.option("--gate", type=click.Choice(["softmax", "sigmoid"]), default="softmax", help="How organelles share.")
@click.option("--gate-temperature", is_flag=True, help="Learn how sharply the gates choose.")
@click.option("--skip-scales", is_flag=True, help="Learn a factor for each branch.")
@click.option("--vocab-size", type=Number(int, 256, 65535), default=2000, help="Tokens of the vocabulary.")
@click.option("--donor", type=_PATH, metavar="FOLDER", help="Train between the frozen embeddings of this model.")
@click.option("--epochs", type=Number(float, 0.001), default=1.0, help="How often the text is read.")
@click.option("--steps", type=Number(int, 1), help="Steps, instead of epochs.")
@click.option("--batch-size", type=Number(int, 1), default=32, help="Windows per step.")
@click.option("--accumulation", type=Number(int, 1), default=1, help="Passes that share a step.")
@click.option("--lr", "learning_rate", type=Number(float, 0), default=1e-3, help="Highest learning rate.")
@click.option("--warmup", type=Number(int, 0), default=500, help="Steps to reach it; at most a tenth of all.")
@click.option("--weight-decay", type=Number(float, 0), default=0.1, help="Of AdamW.")
@click.option("--clip", type=Number(float, 0), default=1.0, help="Highest norm of a gradient.")
@click.option("--free-energy", type=Number(float, 0), default=0.0, help="Weight of the free-energy term.")
@click.option(
    "--precision", type=click.Choice(["f32", "bf16", "f16"]), default="f32", help="Of products; weights are f32."
)
@click.option("--seed", type=Number(int, 0), default=0, help="Same seed, same run.")
@click.option("--eval-every", type=Number(int, 1), default=250, help="Steps between validations.")
@click.option("--device", default="cpu", metavar="NAME", help="As PyTorch calls it: cpu, cuda.")
@click.option("--threads", type=Number(int, 1), help="CPU threads.")
@click.option("--compile", is_flag=True, help="Compile the model first; pays off after some minutes.")
@click.option("--minutes", type=Number(float, 0), help="Stop after so long; run again to continue.")
def symbio(**given: Any) -> None:
    """Train an organelle model, or a transformer with --organelles attention.

    The folder then holds the checkpoint, log.jsonl and curves.png; `synapse export` makes a model of it.
    Stop with Ctrl-C at any time: the same command goes on where it was.
    """
    needs_training_packages()
    import torch

    from synapse_engine.cli.training import Display
    from synapse_engine.train.start import Plan, start

    if given["threads"]:
        torch.set_num_threads(given["threads"])
    epochs = None if given["steps"] else given["epochs"]
    plan = Plan(given["data"], given["out"], _config(given), _options(given), epochs, given["donor"], given["device"])
    note("reading the text")
    trainer = start(plan)
    note(f"{trainer.model.config.parameters():,} parameters, {trainer.options.steps:,} steps from {trainer.step:,} on")
    with Display(trainer.options.steps, 60 * (given["minutes"] or float("inf"))) as display:
        complete = trainer.train(display)
    _close(trainer, given["data"], complete)


def _config(given: dict[str, Any]) -> SymbioConfig:
    from synapse_engine.train.symbio_config import SymbioConfig, feed_forward_size

    layers = [tuple(name.strip() for name in names.split(",")) for names in given["organelles"]]
    if len(layers) not in (1, given["layers"]):
        raise click.UsageError(f"--organelles: give it once, or once for each of {given['layers']} layers")
    organelles = tuple(layers * given["layers"] if len(layers) == 1 else layers)
    attends = any("attention" in layer for layer in organelles)
    config = SymbioConfig(
        hidden_size=given["width"],
        intermediate_size=given["ffn"] or feed_forward_size(given["width"]),
        organelles=organelles,
        vocab_size=given["vocab_size"],
        max_position_embeddings=given["window"],
        monarch_heads=given["monarch_heads"],
        monarch_layout=given["monarch_layout"],
        num_attention_heads=given["heads"] if attends else 0,
        head_dim=given["head_dim"] if attends else 0,
        gate=given["gate"],
        gate_temperature=given["gate_temperature"],
        skip_scales=given["skip_scales"],
    )
    config.check_for_engine()
    return config


def _options(given: dict[str, Any]) -> TrainOptions:
    from dataclasses import fields

    from synapse_engine.train.options import TrainOptions

    chosen = {field.name: given[field.name] for field in fields(TrainOptions) if field.name in given}
    return TrainOptions(**chosen | {"steps": given["steps"] or 1, "phases": given["donor"] is not None})


def _close(trainer: Trainer, data: Path, complete: bool) -> None:
    run = trainer.run
    try:
        from synapse_engine.train.plot import draw_curves
    except ImportError:
        note("no curves.png: matplotlib is not installed")
    else:
        draw_curves({"held out": list(run.records())}, run.curves)
    if not complete:
        note(f"stopped at step {trainer.step:,}; the same command goes on from there")
        return
    result = trainer.evaluate()
    low, high = result.interval
    known = f"95 % between {low:.2f} and {high:.2f}" if result.windows > 1 else "of one window"
    click.echo(f"perplexity {result.perplexity:.2f} on held-out text ({known})")
    note(f"synapse export {run.folder} FOLDER --data {data}")
