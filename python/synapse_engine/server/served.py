"""The models of this server: by which names requests find them, and what is said of each. Runs nothing."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synapse_engine import _engine
from synapse_engine.server.errors import bad_request, model_not_found
from synapse_engine.server.hub import Hub
from synapse_engine.server.options import ServerError
from synapse_engine.server.swarm.plan import Asked
from synapse_engine.specialists.adapters import PREFIX, Shelf
from synapse_engine.specialists.applying import ROUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from synapse_engine.server.native import EventQueue, NativeEngine
    from synapse_engine.server.schemas.swarm import SwarmOptions

OWNER = "synapse-engine"


@dataclass(frozen=True)
class Served:
    """One model."""

    id: str
    native: NativeEngine
    hub: Hub
    info: dict[str, Any]
    fingerprint: str
    shelf: Shelf
    created: int = field(default_factory=lambda: int(time.time()))

    def card(self) -> dict[str, Any]:
        """The API's model object."""
        return card(self.id, self.created)


def card(name: str, created: int) -> dict[str, Any]:
    """The API's model object."""
    return {"id": name, "object": "model", "created": created, "owned_by": OWNER}


class Registry:
    """All models, by id and alias."""

    def __init__(
        self,
        engines: Mapping[str, NativeEngine],
        aliases: Mapping[str, str],
        new_queue: Callable[[], EventQueue] = _engine.EventQueue,
    ) -> None:
        if not engines:
            raise ServerError("there is no model to serve")
        for name in (*engines, *aliases):
            if name == ROUTE or name.startswith(PREFIX):
                raise ServerError(f"{name}: this name stands for routing", "give the model another name")
        self.models = {name: served(name, native, new_queue) for name, native in engines.items()}
        for alias, name in aliases.items():
            if name not in self.models:
                raise ServerError(f"alias {alias}: the model {name} is not served")
        self._names = {**{alias: self.models[name] for alias, name in aliases.items()}, **self.models}

    def find(self, name: str, param: str = "model") -> Served:
        """The model of this id or alias; raises ApiError."""
        if name == ROUTE or name.startswith(PREFIX):
            message = f"{param}: `{name[:60]}` answers conversations and continues texts only; name one of the models"
            raise bad_request(message, param)
        try:
            return self._names[name]
        except KeyError:
            raise model_not_found(name, sorted(self._names), param) from None

    def asked(self, name: str, options: SwarmOptions | None) -> Asked:
        """What a request's ``model`` means: a model itself, routing, or a specialist; raises ApiError.

        Specialists stand on the model that was named first when the server was started, unless ``base`` says else.
        """
        if not (name == ROUTE or name.startswith(PREFIX)):
            if options is not None:
                raise bad_request(f"synapse: only with the models `{ROUTE}` and `{PREFIX}NAME`", "synapse")
            return Asked(self.find(name))
        base = None if options is None else options.base
        model = next(iter(self.models.values())) if base is None else self.find(base, "synapse.base")
        if name == ROUTE:
            return Asked(model, routed=True)
        if options is not None and options.mode not in (None, "single"):
            message = f"synapse.mode: `{name[:60]}` is one specialist; ask for `{ROUTE}`"
            raise bad_request(message, "synapse.mode")
        return Asked(model, specialist=name.removeprefix(PREFIX))

    def find_or_only(self, name: str | None) -> Served:
        """The model of this name, which may be left out where only one is served."""
        if name is not None:
            return self.find(name)
        if len(self.models) > 1:
            raise bad_request("model: this field is required, several models are served", "model")
        return next(iter(self.models.values()))


def served(name: str, native: NativeEngine, new_queue: Callable[[], EventQueue]) -> Served:
    """The model with what does not change while it is served."""
    info, shelf = native.info(), Shelf(native)
    return Served(name, native, Hub(native, shelf, new_queue), info, fingerprint(name, info), shelf)


def fingerprint(name: str, info: dict[str, Any]) -> str:
    """Changes when the same request may get another answer: other weights, formats, kernels or program."""
    # A list of what counts: sizes in use and the like must not count.
    parts = {key: info.get(key) for key in ("family", "format", "quant", "kernels", "kv_type", "parameters")}
    text = json.dumps([name, _engine.__version__, parts], sort_keys=True, default=str)
    return "fp_" + hashlib.sha256(text.encode()).hexdigest()[:12]
