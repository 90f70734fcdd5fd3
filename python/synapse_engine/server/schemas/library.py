"""``POST /v1/specialists`` and ``POST /v1/adapters``."""

from typing import Annotated, Any

from pydantic import Field

from synapse_engine.server.schemas.fields import Body, Name
from synapse_engine.specialists.reading import MAX_EXAMPLES, MAX_PATH_LETTERS

Path = Annotated[str, Field(min_length=1, max_length=MAX_PATH_LETTERS)]


class SpecialistBody(Body):
    """The fields of a specialist's file; ``specialists/README.md`` says what they may hold."""

    name: str
    description: str
    examples: Annotated[list[str], Field(min_length=1, max_length=MAX_EXAMPLES)]
    system_prompt: str | None = None
    sampling: dict[str, float] | None = None
    adapter: Path | None = None

    def fields(self) -> dict[str, Any]:
        """Those that were given."""
        fields = {name: value for name, value in self.model_dump().items() if value is not None}
        if self.sampling is not None:  # JSON has one kind of number
            fields["sampling"] = {name: _whole(value) for name, value in self.sampling.items()}
        return fields


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


class AdapterBody(Body):
    """An adapter to load, or to put in the place of the one of this name."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    path: Path
    model: Name | None = None
