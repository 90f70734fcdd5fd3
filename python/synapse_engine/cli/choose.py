"""Which model a command means: the one named, the one installed, or the default, pulled with a notice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine.cli.output import human_size, note
from synapse_engine.cli.progress import progress_display
from synapse_engine.store import Installed, OfflineError, PullRequest, Store, catalogue, pull
from synapse_engine.store.names import HubName, PathName, name_for_path, parse_name

if TYPE_CHECKING:
    from synapse_engine.cli.options import LoadOptions


@dataclass(frozen=True)
class Chosen:
    """A model that can be loaded."""

    name: str
    path: Path
    quant: str
    """What to load it as, unless the user says otherwise."""
    argument: str
    """How a command finds it again."""


def choose(model: str | None, *, offline: bool) -> Chosen:
    """Finds the model, or pulls it; without a name, the one pulled last, or the default when there is none."""
    store = Store()
    if model is not None and isinstance(parse_name(model), PathName):
        path = store.locate(model)
        return Chosen(name_for_path(path), path, "auto", str(path.absolute()))
    installed = _newest(store) if model is None else store.get(model)
    if installed is None:
        installed = _pulled(store, model or catalogue().default, offline)
    return Chosen(installed.name, installed.load_path, installed.manifest.load_quant, installed.name)


def with_draft(load: LoadOptions, *, offline: bool) -> LoadOptions:
    """The same with the draft model found, or pulled, if there is one."""
    if load.draft is None:
        return load
    return replace(load, draft=str(choose(load.draft, offline=offline).path.absolute()))


def _newest(store: Store) -> Installed | None:
    return next(reversed(store.installed()), None)


def _pulled(store: Store, model: str, offline: bool) -> Installed:
    entry = catalogue().get(model)
    if entry is None and (Path(model).exists() or not isinstance(parse_name(model), HubName)):
        store.find(model)  # raises, and says what the name may have meant
    if offline and not (entry and entry.bundled):
        raise OfflineError(f"{model} is not installed, and --offline forbids to get it", f"synapse pull {model}")
    size = f" ({human_size(entry.size)}, {entry.licence})" if entry else ""
    note(f"{model} is not installed; getting it{size}")
    with progress_display() as progress:
        return pull(store, PullRequest(model), progress).model
