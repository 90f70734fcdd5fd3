"""``POST /v1/embeddings``, ``/tokenize`` and ``/detokenize``."""

from typing import Annotated, Literal

from pydantic import Field

from synapse_engine.server.errors import bad_request
from synapse_engine.server.schemas.chat import Messages
from synapse_engine.server.schemas.fields import Body, Label, Name, TokenId
from synapse_engine.server.schemas.prompts import Prompt, PromptForms

MAX_INPUTS = 2048


class EmbeddingBody(Body):
    """The request."""

    model: Name
    input: Annotated[list[Prompt], PromptForms(MAX_INPUTS)]
    dimensions: Annotated[int, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: Label | None = None


class TokenizeBody(Body):
    """A text, or a conversation as the model will see it."""

    model: Name | None = None
    text: str | None = None
    messages: Messages | None = None
    add_special: bool = True
    parse_special: bool = True

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""
        if (self.text is None) == (self.messages is None):
            raise bad_request("text: give either this or `messages`", "text")


class DetokenizeBody(Body):
    """Tokens that become text."""

    model: Name | None = None
    tokens: list[TokenId]
    skip_special: bool = False
