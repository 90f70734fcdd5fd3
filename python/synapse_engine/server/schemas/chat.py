"""``POST /v1/chat/completions``."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from synapse_engine.server.errors import bad_request
from synapse_engine.server.schemas.fields import Body, Label, Only
from synapse_engine.server.schemas.generation import GenerationBody

NO_TOOLS = "tools are not supported yet"
NO_AUDIO = "audio is not supported yet"
MAX_METADATA = 16


def known_part(kind: Any) -> Any:
    """Says of the other kinds of parts that they are not there yet."""
    return kind if kind == "text" else Only(because="only parts of type `text` are supported yet").check(kind)


class TextPart(Body):
    """A piece of a message's content."""

    type: Annotated[Literal["text"], BeforeValidator(known_part)]
    text: str
    prompt_cache_breakpoint: Annotated[Any, Only(because="the prefix cache finds its own breakpoints")] = None


def as_parts(content: Any) -> Any:
    """A text alone stands for one part."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


PART_SCHEMA = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
    "additionalProperties": False,
}
Content = Annotated[
    list[TextPart],
    Field(min_length=1),
    BeforeValidator(as_parts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": PART_SCHEMA}]}),
]
Role = Literal["system", "developer", "user", "assistant"]


def known_role(role: Any) -> Any:
    """Says of the roles that belong to tools that they are not there yet."""
    return Only(because=NO_TOOLS).check(role) if role in ("tool", "function") else role


class Message(Body):
    """One turn of a conversation."""

    role: Annotated[Role, BeforeValidator(known_role)]
    content: Content
    name: Label | None = None
    # What an answer of this API may carry, so that it can be sent back as it came.
    refusal: Annotated[Any, Only(because="refusals are not supported")] = None
    annotations: Annotated[Any, Only([], because="annotations are not supported")] = None
    audio: Annotated[Any, Only(because=NO_AUDIO)] = None
    tool_calls: Annotated[Any, Only([], because=NO_TOOLS)] = None
    tool_call_id: Annotated[Any, Only(because=NO_TOOLS)] = None
    function_call: Annotated[Any, Only(because=NO_TOOLS)] = None

    def turn(self) -> dict[str, str]:
        """As chat templates expect it: `developer` is today's word for `system`."""
        role = "system" if self.role == "developer" else self.role
        turn = {"role": role, "content": "\n".join(part.text for part in self.content)}
        return turn if self.name is None else turn | {"name": self.name}


Messages = Annotated[list[Message], Field(min_length=1, max_length=4096)]


class ChatBody(GenerationBody):
    """The request."""

    messages: Messages
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: Annotated[dict[Annotated[str, Field(max_length=64)], Label], Field(max_length=MAX_METADATA)] | None = None
    prompt_cache_key: Label | None = None
    safety_identifier: Label | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    # Sent by some clients with the value that changes nothing.
    modalities: Annotated[Any, Only(["text"], because="only text is supported")] = None
    parallel_tool_calls: Annotated[Any, Only(True, False, because="expected true or false")] = None
    prompt_cache_options: Annotated[Any, Only({"mode": "implicit"}, because="the prefix cache is automatic")] = None
    prompt_cache_retention: Annotated[Any, Only("in_memory", because="the prefix cache lives in memory")] = None
    reasoning_effort: Annotated[Any, Only("none", because="reasoning effort is not supported")] = None
    response_format: Annotated[Any, Only({"type": "text"}, because="only `text` is supported yet")] = None
    service_tier: Annotated[Any, Only("auto", "default", because="there is one service tier, `default`")] = None
    store: Annotated[Any, Only(False, because="answers are not stored")] = None
    tool_choice: Annotated[Any, Only("none", because=NO_TOOLS)] = None
    tools: Annotated[Any, Only([], because=NO_TOOLS)] = None
    verbosity: Annotated[Any, Only("medium", because="verbosity is not supported")] = None

    audio: Annotated[Any, Only(because=NO_AUDIO)] = None
    function_call: Annotated[Any, Only("none", because=NO_TOOLS)] = None
    functions: Annotated[Any, Only([], because=NO_TOOLS)] = None
    moderation: Annotated[Any, Only(because="moderation is not supported")] = None
    prediction: Annotated[Any, Only(because="predicted outputs are not supported yet")] = None
    web_search_options: Annotated[Any, Only(because="this server does not search the web")] = None

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""
        super().check()
        if self.top_logprobs is not None and not self.logprobs:
            raise bad_request("top_logprobs: only allowed with `logprobs: true`", "top_logprobs")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            message = "max_tokens: give either this or `max_completion_tokens`, they disagree"
            raise bad_request(message, "max_tokens")

    @property
    def turns(self) -> list[dict[str, str]]:
        """The conversation for the chat template."""
        return [message.turn() for message in self.messages]

    @property
    def end_user(self) -> str:
        """Whom the request is for, in the client's own words."""
        return self.safety_identifier or self.user or ""

    def request(self, tokens: list[int]) -> dict[str, object]:
        """The engine's request."""
        return self.options() | {
            "tokens": tokens,
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "logprobs": (self.top_logprobs or 0) if self.logprobs else None,
        }
