"""The router of this machine: the coordinator that comes with the package, the user's specialists and feedback."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine import _engine, models
from synapse_engine.routing.errors import RoutingError
from synapse_engine.routing.kept import KeptBias
from synapse_engine.routing.router import Router
from synapse_engine.specialists import Library
from synapse_engine.store.digest import sha256_of
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.specialists import Specialist

COORDINATOR = "coordinator"
# An embedding depends on all of these.
_EMBEDDING_FILES = ("model.safetensors", "config.json", "tokenizer.json")


def open_router(specialists: Sequence[Specialist] | None = None, folder: Path | None = None) -> Router:
    """Ready to route between ``specialists``, or all of the user's; some 0.1 s later.

    ``folder``: another coordinator than the one that comes with the package.
    """
    folder = folder or coordinator_folder()
    coordinator = _engine.Coordinator(str(folder))
    known = Library().all() if specialists is None else specialists
    return Router(coordinator, known, open_feedback(folder, coordinator.info()["embedding"]))


def open_feedback(folder: Path, dimensions: int) -> KeptBias:
    """What the user's feedback taught about requests as this coordinator sees them."""
    return KeptBias(home().feedback, _engine.HebbianBias(space_of(folder), dimensions))


def coordinator_folder() -> Path:
    """The coordinator that comes with the package; raises RoutingError."""
    folder = Path(models.__file__).parent / COORDINATOR
    if not folder.is_dir():
        raise RoutingError(f"{folder}: there is no coordinator", "install the package again")
    return folder


def space_of(folder: Path) -> str:
    """Names the space of a coordinator's embeddings: another model, another space."""
    digests = "".join(sha256_of(folder / name) for name in _EMBEDDING_FILES)
    return hashlib.sha256(digests.encode()).hexdigest()[:16]
