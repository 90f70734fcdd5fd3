"""``synapse train specialist``: teaches a model a speciality, as an adapter with the specialist's file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synapse_engine.cli.options import Number
from synapse_engine.cli.output import json_option, note, print_json

if TYPE_CHECKING:
    from synapse_engine.train.specialist.options import SpecialistOptions
    from synapse_engine.train.specialist.result import Written

PROJECTIONS = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
_PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.argument("base", metavar="BASE")
@click.option("--data", type=_PATH, required=True, metavar="FILE", help='JSON lines: {"messages": [...]}.')
@click.option("--name", required=True, help="What the specialist is called; `synapse/NAME` selects it.")
@click.option("--description", required=True, metavar="TEXT", help="What it is for, in a sentence; routing reads it.")
@click.option("--out", type=_PATH, required=True, metavar="FOLDER", help="Where the run lies; run again to continue.")
@click.option("--rank", type=Number(int, 1, 1024), default=16, help="Of the adapter's matrices.")
@click.option("--alpha", type=Number(int, 1), default=32, help="The change is scaled by alpha / rank.")
@click.option("--targets", default=PROJECTIONS, metavar="NAMES", help="Layers that get an adapter.", show_default="all")
@click.option("--epochs", type=Number(float, 0.001), default=2.0, help="How often the data is read.")
@click.option("--steps", type=Number(int, 1), help="Steps, instead of epochs.")
@click.option("--minutes", type=Number(float, 0), help="Stop after so long; run again to continue.")
@click.option("--batch-tokens", type=Number(int, 1), default=2048, help="Tokens in a step.")
@click.option("--window", type=Number(int, 8), default=512, help="Tokens that conversations are packed into.")
@click.option("--pass-tokens", type=Number(int, 1), default=2048, help="Tokens at once; fewer take less memory.")
@click.option("--learning-rate", "--lr", type=Number(float, 0), default=5e-4, help="Highest learning rate.")
@click.option("--warmup", type=Number(int, 0), default=20, help="Steps to reach it; at most a tenth of all.")
@click.option("--weight-decay", type=Number(float, 0), default=0.0, help="Of AdamW.")
@click.option("--clip", type=Number(float, 0), default=1.0, help="Highest norm of a gradient.")
@click.option("--held-out", type=Number(float, 0, 1), default=0.05, metavar="SHARE", help="Conversations to judge by.")
@click.option("--eval-every", type=Number(int, 1), default=50, help="Steps between looks at the held-out loss.")
@click.option("--eval-conversations", type=Number(int, 1), default=100, help="Held-out conversations of a look.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "f32", "bf16"]),
    default="auto",
    help="Of the base and of products; auto: bf16 where the processor multiplies in it.",
)
@click.option("--quantize", type=click.Choice(["none", "nf4"]), default="none", help="nf4: the base in 4 bits (QLoRA).")
@click.option("--seed", type=Number(int, 0), default=0, help="Same seed, same run.")
@click.option("--device", default="cpu", metavar="NAME", help="As PyTorch calls it: cpu, cuda.")
@click.option("--threads", type=Number(int, 1), help="CPU threads.", show_default="PyTorch's choice")
@json_option
def specialist(base: str, name: str, description: str, as_json: bool, **given: Any) -> None:
    """Teach a model a speciality from conversations, with LoRA.

    BASE is a folder of safetensors as Hugging Face writes it, or an installed model of that kind. Only what the
    assistant says is learned. FOLDER then holds NAME/, an adapter as PEFT has it, and NAME.toml, the specialist.
    Stop with Ctrl-C at any time: the same command goes on where it was.

    \b
    Examples:
      synapse train specialist ./base --data sums.jsonl --name math --description "Word problems." --out run
      synapse specialist add run/math.toml
    """
    from synapse_engine.cli.train import needs_training_packages

    needs_training_packages("peft", "transformers")
    from synapse_engine.cli.training import Display
    from synapse_engine.engine import find_model
    from synapse_engine.train.specialist.result import specialist_toml, write_specialist
    from synapse_engine.train.specialist.start import SpecialistPlan, start

    specialist_toml(name, description, ["anything"])  # a bad name is told before an hour of training
    epochs = None if given["steps"] else given["epochs"]
    plan = SpecialistPlan(find_model(base)[0], given["data"], given["out"], _options(given), epochs, given["device"])
    note("reading the conversations and the model")
    started = start(plan)
    tuner = started.tuner
    numbers = sum(parameter.numel() for parameter in tuner.learned.values())
    note(f"{numbers:,} parameters learn; {tuner.options.steps:,} steps from {tuner.step:,} on")
    with Display(tuner.options.steps, 60 * (given["minutes"] or float("inf"))) as display:
        complete = tuner.train(display)
    written = write_specialist(started, name, description)
    if not complete:
        note(f"stopped at step {tuner.step:,}; the same command goes on from there")
    if as_json:
        print_json(_record(written, tuner.step, complete))
    else:
        _print(written)


def _options(given: dict[str, Any]) -> SpecialistOptions:
    from dataclasses import fields

    from synapse_engine.train.specialist.options import SpecialistOptions

    chosen = {field.name: given[field.name] for field in fields(SpecialistOptions) if field.name in given}
    targets = tuple(name.strip() for name in given["targets"].split(",") if name.strip())
    return SpecialistOptions(**chosen | {"steps": given["steps"] or 1, "targets": targets})


def _print(written: Written) -> None:
    around = "" if written.margin is None else f" (95 %: +-{written.margin:.3f})"
    click.echo(f"held-out answers: loss {written.base_loss:.3f} before, {written.loss:.3f} after{around}")
    if written.step == 0:
        note("nothing learned made the held-out answers likelier; the adapter changes nothing")
    click.echo(f"adapter: {written.adapter}")
    click.echo(f"specialist: {written.toml}")


def _record(written: Written, step: int, complete: bool) -> dict[str, object]:
    return {
        "adapter": str(written.adapter), "specialist": str(written.toml), "step": step, "complete": complete,
        "best_step": written.step, "loss": written.loss, "margin": written.margin, "base_loss": written.base_loss,
    }  # fmt: skip
