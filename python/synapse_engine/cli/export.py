"""``synapse export``: makes a model of a training run."""

from __future__ import annotations

from pathlib import Path

import click

from synapse_engine.cli.output import human_size, note
from synapse_engine.store.names import as_argument

_PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.argument("run", type=_PATH)
@click.argument("target", type=_PATH)
@click.option(
    "--data", type=_PATH, required=True, metavar="FILE|FOLDER", help="The text of the run; scored for the card."
)
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", help="Of the weights.")
@click.option(
    "--against", type=_PATH, multiple=True, metavar="RUN", help="Another run on the same text to compare with."
)
@click.option("--force", is_flag=True, help="Replace a model in TARGET.")
def command(run: Path, target: Path, data: Path, dtype: str, against: tuple[Path, ...], force: bool) -> None:
    """Make a model folder of a training run.

    RUN is the --out of `synapse train`, TARGET a new folder: weights, configuration, tokenizer and a model card.

    \b
    Example:
      synapse export my-run ./my-model --data texts
      synapse up ./my-model
    """
    from synapse_engine.cli.train import needs_training_packages

    needs_training_packages()
    from synapse_engine.export.run import Request, export_run

    note("scoring the held-out text")
    export_run(Request(run, target, data, dtype, against, force))
    size = sum(file.stat().st_size for file in target.iterdir())
    click.echo(f"{target} is ready ({human_size(size)}); try: synapse up {as_argument(target)}")
