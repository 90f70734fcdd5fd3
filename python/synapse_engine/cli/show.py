"""``synapse show``: what the files say about themselves. Loads no weight."""

from __future__ import annotations

from pathlib import Path

import click

from synapse_engine.cli.output import human_size, json_option, print_json, print_table, when
from synapse_engine.store import Installed, Store
from synapse_engine.store.headers import ModelHeader, read_header
from synapse_engine.store.template import chat_template

_LONGEST_VALUE = 100


@click.command()
@click.argument("model")
@click.option("--tensors", is_flag=True, help="Also list every tensor.")
@click.option("--template", is_flag=True, help="Print only the chat template.")
@click.option("--layers", is_flag=True, help="Show what each layer of an organelle model relies on.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw that as a picture, too.")
@json_option
def command(model: str, tensors: bool, template: bool, layers: bool, plot: Path | None, as_json: bool) -> None:
    """Show what a model is made of.

    MODEL is the name of an installed model or a path.
    """
    store = Store()
    path = store.locate(model)
    installed = next((entry for entry in store.installed() if entry.load_path == path), None)
    header = read_header(path)
    if layers or plot:
        from synapse_engine.cli.layers import show_layers

        show_layers(path, plot, as_json=as_json)
    elif template:
        click.echo(chat_template(path, header) or "")
    elif as_json:
        print_json(_record(path, installed, header, tensors))
    else:
        _print(path, installed, header, tensors)


def _print(path: Path, installed: Installed | None, header: ModelHeader, tensors: bool) -> None:
    facts = [
        ("parameters", f"{header.parameters:,}"),
        ("format", f"{header.format}, {header.quant}"),
        ("path", str(path)),
    ]
    if installed:
        it = installed.manifest
        facts = [("name", it.name), *facts, ("size", human_size(it.size)), ("source", it.source)]
        facts += [("licence", it.licence or "unknown"), ("pulled", when(it.pulled))]
    template = chat_template(path, header)
    facts.append(("template", f"{len(template)} characters (--template prints it)" if template else "none"))
    for name, value in facts:
        click.echo(f"{name:<12}{value}")
    click.echo("\n" + click.style("Metadata", bold=True))
    for key, value in header.metadata.items():
        if key != "tokenizer.chat_template":
            click.echo(f"  {key} = {_one_line(value)}")
    if tensors:
        click.echo()
        rows = [[tensor.name, tensor.dtype, " x ".join(map(str, tensor.shape))] for tensor in header.tensors]
        print_table(["TENSOR", "TYPE", "SHAPE"], rows)


def _one_line(value: object) -> str:
    text = f"{value:.7g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _record(path: Path, installed: Installed | None, header: ModelHeader, tensors: bool) -> dict[str, object]:
    record: dict[str, object] = {
        "name": installed.name if installed else None,
        "path": str(path),
        "format": header.format,
        "quant": header.quant,
        "parameters": header.parameters,
        "metadata": header.metadata,
        "template": chat_template(path, header),
    }
    if installed:
        it = installed.manifest
        record |= {"source": it.source, "licence": it.licence, "pulled": it.pulled, "size": it.size}
        record["files"] = [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in it.files]
    if tensors:
        record["tensors"] = [{"name": t.name, "dtype": t.dtype, "shape": t.shape} for t in header.tensors]
    return record
