"""Kinds of fields that several requests share, and how a body becomes a request."""

from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from synapse_engine.server.errors import ApiError, Code, bad_request

MAX_STOPS = 16
MAX_NAME = 256
_SHOWN = 200

CODES: dict[str, Code] = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "unsupported": "unsupported_parameter",
    "json_invalid": "invalid_json",
}


class Body(BaseModel):
    """A JSON object in which every field is known and has exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""


T = TypeVar("T", bound=Body)


def parse(kind: type[T], body: bytes) -> T:
    """Reads JSON as ``kind``; raises ApiError that names the first field at fault."""
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)[0]) from None
    request.check()
    return request


def invalid(error: ErrorDetails) -> ApiError:
    """What pydantic found, as an OpenAI error."""
    param = path(error["loc"])
    message = {"extra_forbidden": "there is no such field", "missing": "this field is required"}.get(
        error["type"], error["msg"]
    )
    return bad_request(
        f"{param}: {message}" if param else message, param or None, CODES.get(error["type"], "invalid_value")
    )


def path(location: tuple[int | str, ...]) -> str:
    """``("messages", 0, "role")`` as ``messages[0].role``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text[:_SHOWN]


class Only:
    """Annotates a field that may be absent, null or one of ``accepted``, since no other value can be honoured."""

    def __init__(self, *accepted: Any, because: str) -> None:
        self.accepted = accepted
        self.because = because

    def check(self, value: Any) -> Any:
        """Raises PydanticCustomError for any other value."""
        if value is None or any(value == known and type(value) is type(known) for known in self.accepted):
            return value
        raise PydanticCustomError("unsupported", "{because}", {"because": self.because})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"enum": [None, *self.accepted], "description": self.because}


def one_or_many(value: Any) -> Any:
    """A text alone stands for a list of one."""
    return [value] if isinstance(value, str) else value


TEXT = {"type": "string", "minLength": 1}

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Label = Annotated[str, Field(max_length=512)]
Stop = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1024)]],
    Field(max_length=MAX_STOPS),
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [TEXT, {"type": "array", "items": TEXT, "maxItems": MAX_STOPS}]}),
]
TokenKey = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]
TokenId = Annotated[int, Field(ge=0, lt=2**32)]
