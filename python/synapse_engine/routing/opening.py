"""The router of this machine: the coordinator that comes with the package, the user's specialists and feedback."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine import _engine, models
from synapse_engine.routing import place
from synapse_engine.routing.errors import RoutingError
from synapse_engine.routing.kept import KeptBias
from synapse_engine.routing.router import Router
from synapse_engine.specialists import Library
from synapse_engine.store.digest import sha256_of
from synapse_engine.store.paths import home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synapse_engine.routing.parts import Coordinator
    from synapse_engine.specialists import Specialist

log = logging.getLogger(__name__)
FOLDER = Path(models.__file__).parent / "coordinator"
# What an embedding depends on.
_EMBEDDING_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def open_router(
    specialists: Sequence[Specialist] | None = None, *, tell: Callable[[str], None] = log.warning
) -> Router:
    """Ready to route between ``specialists``, or all of the user's; some 0.1 s later.

    ``tell`` hears of a feedback file that cannot be used.
    """
    coordinator = open_coordinator()
    known = Library().all() if specialists is None else specialists
    return Router(coordinator, known, feedback_of(coordinator, tell))


def open_feedback(*, tell: Callable[[str], None] = log.warning) -> KeptBias:
    """What the user's feedback taught, to look at or to change as a whole."""
    return feedback_of(open_coordinator(), tell)


def open_coordinator(folder: Path = FOLDER) -> Coordinator:
    """By default, the one that comes with the package. Raises RoutingError or EngineError."""
    if not folder.is_dir():
        raise RoutingError(f"{folder}: there is no coordinator", "install the package again")
    return _engine.Coordinator(str(folder))


def feedback_of(coordinator: Coordinator, tell: Callable[[str], None]) -> KeptBias:
    """What was learnt of requests as this coordinator sees them."""
    info = coordinator.info()
    empty = _engine.HebbianBias(space_of(Path(info["path"])), info["embedding"] + place.JUDGED)
    return KeptBias(home().feedback, empty, tell)


def space_of(folder: Path) -> str:
    """Names the space that feedback lies in: another coordinator, another space."""
    digests = [sha256_of(folder / name) for name in _EMBEDDING_FILES]
    return f"{hashlib.sha256(''.join(digests).encode()).hexdigest()[:16]}-{place.VERSION}"
