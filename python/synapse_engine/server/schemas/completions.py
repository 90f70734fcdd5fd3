"""``POST /v1/completions``."""

from typing import Annotated, Any

from pydantic import Field

from synapse_engine.server.errors import bad_request
from synapse_engine.server.schemas.fields import Only
from synapse_engine.server.schemas.generation import GenerationBody
from synapse_engine.server.schemas.prompts import Prompt, PromptForms

MAX_PROMPTS = 1024
MAX_CHOICES = 128
# The API's own default, unlike chat completions, which may fill the context window.
DEFAULT_MAX_TOKENS = 16


class CompletionBody(GenerationBody):
    """The request."""

    prompt: Annotated[list[Prompt], PromptForms(MAX_PROMPTS)]
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    suffix: Annotated[Any, Only(because="filling in before a suffix is not supported yet")] = None

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""
        super().check()
        if self.best_of is not None and self.best_of < self.choices:
            raise bad_request("best_of: cannot be less than `n`", "best_of")
        if self.max_tokens == 0 and not self.echo:
            raise bad_request("max_tokens: 0 is only allowed with `echo: true`", "max_tokens")
        if self.synapse is not None and self.synapse.mode not in (None, "single"):
            raise bad_request("synapse.mode: a text is continued by one specialist", "synapse.mode")
        if self.stream:
            self._check_stream()

    def _check_stream(self) -> None:
        if self.ranked:
            raise bad_request("best_of: a stream cannot choose the best in the end", "best_of")
        if self.max_tokens == 0:
            raise bad_request("max_tokens: a stream of 0 tokens is not supported", "max_tokens")
        if self.echo and self.logprobs is not None:
            raise bad_request("echo: not supported with `logprobs` in a stream", "echo")

    @property
    def generated(self) -> int:
        """How many answers are made for each prompt, to keep ``choices`` of them."""
        return self.best_of or self.choices

    @property
    def ranked(self) -> bool:
        """Whether the likeliest answers are chosen out of more."""
        return self.generated > self.choices

    @property
    def length(self) -> int:
        """Most tokens of an answer."""
        return DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def end_user(self) -> str:
        """Whom the request is for, in the client's own words."""
        return self.user or ""

    def request(self, tokens: list[int]) -> dict[str, Any]:
        """The engine's request for one prompt."""
        return self.options() | {
            "tokens": tokens,
            "choices": self.generated,
            "max_new_tokens": self.length,
            "logprobs": 0 if self.ranked and self.logprobs is None else self.logprobs,
        }

    def requests(self, prompts: list[list[int]]) -> list[dict[str, Any]]:
        """All of the engine's requests: one for each prompt, then one for each prompt's scores."""
        generate = [self.request(tokens) for tokens in prompts] if self.length else []
        if not (self.echo and self.logprobs is not None):
            return generate
        return generate + [{"task": "score", "tokens": tokens, "top": self.logprobs} for tokens in prompts]
