"""Finds who answers for a model: a running server if there is one, else this process."""

from __future__ import annotations

import os

from synapse_engine.cli.choose import choose, with_draft
from synapse_engine.cli.options import LoadOptions
from synapse_engine.cli.output import note
from synapse_engine.cli.runs import Run, run_of, running
from synapse_engine.cli.talk import AUTO, KEY_VARIABLE, LocalTalker, ServerTalker, Talker
from synapse_engine.specialists.adapters import PREFIX
from synapse_engine.specialists.applying import ROUTE
from synapse_engine.store.names import PathName, name_for_path, parse_name


def open_talker(model: str | None, load: LoadOptions, *, offline: bool) -> Talker:
    """Loading options are for a model that this process loads; given any, no server is used.

    ``synapse`` and ``synapse/NAME`` are specialists over the model that is meant when none is named.
    """
    specialist = _specialist(model)
    model = model if specialist is None else None
    served = None if model is None else _served_name(model)
    run = _server(served) if load == LoadOptions() else None
    if run is not None:
        return ServerTalker(run, served, specialist)
    chosen, load = choose(model, offline=offline), with_draft(load, offline=offline)
    note(f"loading {chosen.name} ...")
    return LocalTalker(chosen, load, specialist)


def _specialist(model: str | None) -> str | None:
    """Who is meant by the name, if it is no model's."""
    if model == ROUTE:
        return AUTO
    return model.removeprefix(PREFIX) if model is not None and model.startswith(PREFIX) else None


def _server(model: str | None) -> Run | None:
    """A server of that model; without a name, the only one. One that wants a key we do not have is left alone."""
    if model is None:
        runs = running()
        run = runs[0] if len(runs) == 1 else None
    else:
        run = run_of(model)
    if run is not None and run.auth and not os.environ.get(KEY_VARIABLE):
        note(f"the server at {run.url} wants a key; set {KEY_VARIABLE} to use it")
        return None
    return run


def _served_name(model: str) -> str:
    parsed = parse_name(model)
    return name_for_path(parsed.path) if isinstance(parsed, PathName) else str(parsed)
