"""Prompts in the four forms of the API: a text, texts, token ids, lists of token ids. One list comes out."""

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

Prompt = str | list[int]

_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_FORMS = [
    {"type": "string"},
    {"type": "array", "items": {"type": "string"}, "minItems": 1},
    _TOKENS,
    {"type": "array", "items": _TOKENS, "minItems": 1},
]
_LARGEST_TOKEN = 2**32 - 1


class PromptForms:
    """Annotates a ``list[Prompt]`` field that takes all four forms, and at most ``most`` prompts."""

    def __init__(self, most: int) -> None:
        self.most = most

    def read(self, value: Any) -> list[Prompt]:
        """Raises PydanticCustomError."""
        if isinstance(value, str) or _is_tokens(value):
            return [value]
        if not isinstance(value, list) or not value:
            raise _wrong("expected a text, a list of texts, a list of token ids or a list of such lists, none empty")
        if len(value) > self.most:
            raise _wrong(f"expected at most {self.most} prompts, found {len(value)}")
        if not (all(isinstance(item, str) for item in value) or all(_is_tokens(item) for item in value)):
            raise _wrong("a list holds either texts, or token ids, or lists of token ids, none empty")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": _FORMS}


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(i) is int and 0 <= i <= _LARGEST_TOKEN for i in value)


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("prompt_form", "{message}", {"message": message})
