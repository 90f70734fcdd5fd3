"""The options of a generation, by the names of the OpenAI API. Knows their names; the engine checks their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from synapse_engine._engine import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence


Adapters: TypeAlias = str | Mapping[str, float]
"""A loaded adapter's name, or a blend: names with what their additions are multiplied with."""


class GenerateOptions(TypedDict, total=False):
    """Keyword arguments of ``generate``, ``chat`` and ``stream``. What is left out takes the model's own default."""

    max_tokens: int | None
    """Longest answer, in tokens; None or absent: what the context window has room for."""
    stop: str | Sequence[str] | None
    """Texts that end the answer; they are not part of it."""
    stop_tokens: Sequence[int]
    """Tokens that end the answer, besides the model's own."""
    ignore_eos: bool
    """Go on after the model's own end tokens."""
    logprobs: int | None
    """Report each token's log-probability and this many alternatives (0 to 20)."""
    temperature: float
    """0 is greedy; at most 2."""
    top_k: int
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float
    """Keep the smallest set of tokens whose probability reaches p."""
    min_p: float
    """Drop tokens less likely than this share of the likeliest."""
    typical_p: float
    """Locally typical sampling; 1 is off."""
    repetition_penalty: float
    """Above 1 makes tokens seen before less likely; 0.01 to 100."""
    presence_penalty: float
    """-2 to 2."""
    frequency_penalty: float
    """-2 to 2."""
    logit_bias: Mapping[int, float]
    """Added to the logits of these tokens; -100 to 100."""
    seed: int | None
    """The same seed gives the same answer, whatever else runs."""
    client: str
    """Requests of one client wait in one line, and lines take turns."""
    adapters: Adapters
    """Loaded adapters to compute with."""


def generate_request(tokens: list[int], options: GenerateOptions) -> dict[str, Any]:
    """The native module's request for these options."""
    unknown = set(options) - set(GenerateOptions.__annotations__)
    if unknown:
        raise unknown_option(min(unknown))
    request: dict[str, Any] = {"tokens": tokens, "task": "generate", **options}
    request["max_new_tokens"] = request.pop("max_tokens", None)
    stop = request.get("stop")
    request["stop"] = [stop] if isinstance(stop, str) else stop
    request["adapters"] = weighted(request.get("adapters"))
    if "logit_bias" in request:
        request["logit_bias"] = dict(request["logit_bias"])
    for name in ("stop", "stop_tokens"):
        if request.get(name) is not None:
            request[name] = list(request[name])
    return request


def weighted(adapters: Adapters | None) -> list[tuple[str, float]]:
    """The native module's adapters: names with weights, in the order in which they are added."""
    if adapters is None:
        return []
    if isinstance(adapters, str):
        return [(adapters, 1.0)]
    return [(name, float(weight)) for name, weight in adapters.items()]


def unknown_option(name: str) -> RequestError:
    """The error for a keyword that no generation has."""
    error = RequestError(f"{name}: not an option of a generation")
    error.param = name
    error.hint = f"the options are {', '.join(sorted(GenerateOptions.__annotations__))}"
    return error
