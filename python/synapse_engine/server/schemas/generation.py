"""What chat completions and completions have in common: sampling, stopping, streaming."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import Self

from synapse_engine.server.errors import bad_request
from synapse_engine.server.schemas.fields import Bias, Body, Label, Name, Only, Seed, Stop, TokenKey
from synapse_engine.server.schemas.swarm import Adapters, SwarmOptions

# The engine wants top_p above 0. The API allows 0: only the likeliest token, as any value this small has it.
SMALLEST_TOP_P = 1e-6


class StreamOptions(Body):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: Annotated[Any, Only(False, because="padding against traffic analysis is not supported")] = None


class GenerationBody(Body):
    """Fields of both endpoints. What is absent or null takes the model's own default."""

    model: Name
    adapters: Adapters | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    ignore_eos: bool | None = None
    logit_bias: dict[TokenKey, Bias] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    synapse: SwarmOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    user: Label | None = None

    def check(self) -> None:
        """Raises ApiError for fields that exclude each other."""
        if self.stream_options is not None and not self.stream:
            raise bad_request("stream_options: only allowed with `stream: true`", "stream_options")
        if self.synapse is not None:
            self.synapse.check()

    @property
    def choices(self) -> int:
        """How many answers to each prompt."""
        return self.n or 1

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def with_defaults(self, sampling: Mapping[str, float]) -> Self:
        """The same with a specialist's habits where the request leaves a field out."""
        missing = {name: value for name, value in sampling.items() if getattr(self, name) is None}
        return self.model_copy(update=missing)

    def options(self) -> dict[str, Any]:
        """The engine's request, without prompt, length and log-probabilities."""
        bias = self.logit_bias
        return {
            "task": "generate",
            "choices": self.choices,
            "frequency_penalty": self.frequency_penalty,
            "ignore_eos": self.ignore_eos,
            "logit_bias": {int(token): value for token, value in bias.items()} if bias else None,
            "min_p": self.min_p,
            "presence_penalty": self.presence_penalty,
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
            "stop": self.stop,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": None if self.top_p is None else max(self.top_p, SMALLEST_TOP_P),
            "typical_p": self.typical_p,
        }
