"""Fields that say who answers: ``synapse`` and ``adapters``."""

from typing import Annotated, Literal

from pydantic import Field

from synapse_engine.server.errors import bad_request
from synapse_engine.server.schemas.fields import Body, Name

MAX_CANDIDATES = 8
MAX_ADAPTERS = 8


class AdapterWeight(Body):
    """A part of a blend."""

    name: Name
    weight: Annotated[float, Field(ge=-100, le=100)] = 1.0


Adapters = Annotated[list[AdapterWeight], Field(max_length=MAX_ADAPTERS)]


class SwarmOptions(Body):
    """``synapse``: only with the models `synapse` and `synapse/NAME`."""

    base: Name | None = None
    choose: Literal["likelihood", "synthesis"] | None = None
    k: Annotated[int, Field(ge=2, le=MAX_CANDIDATES)] | None = None
    mode: Literal["single", "parallel", "auto"] | None = None
    specialists: Annotated[list[Name], Field(min_length=2, max_length=MAX_CANDIDATES)] | None = None

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""
        if self.mode in (None, "single"):
            for name in ("choose", "k", "specialists"):
                if getattr(self, name) is not None:
                    raise bad_request(f"synapse.{name}: only with the modes `parallel` and `auto`", f"synapse.{name}")
        if self.specialists is None:
            return
        if self.mode == "auto" or self.k is not None:
            raise bad_request("synapse.specialists: only with `parallel`, and without `k`", "synapse.specialists")
        if len(set(self.specialists)) < len(self.specialists):
            raise bad_request("synapse.specialists: one is named twice", "synapse.specialists")
