"""The native module: everything that computes.

Blocking calls release the GIL; every object may be used from any thread.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

from typing_extensions import Self

__all__ = [
    "AdapterError",
    "ClosedError",
    "ContextLengthError",
    "Coordinator",
    "Engine",
    "EngineError",
    "Event",
    "EventQueue",
    "FileError",
    "FormatError",
    "HebbianBias",
    "InternalError",
    "ModelError",
    "QueueFullError",
    "QueueTimeoutError",
    "RequestError",
    "__version__",
    "doctor",
    "gguf_tensor",
    "roofs",
]

__version__: str

class EngineError(Exception):
    """Base class. ``hint`` says what to do next, where that is known."""

    hint: str | None

class FileError(EngineError):
    """A file cannot be opened, read or written."""

class FormatError(EngineError):
    """A model file is damaged or of an unknown kind."""

class ModelError(EngineError):
    """The model in a sound file cannot be run."""

class AdapterError(EngineError):
    """A sound adapter cannot be used, or not with this model."""

class RequestError(EngineError):
    """A request asks for something impossible; ``param`` names the field."""

    param: str

class ContextLengthError(RequestError): ...
class QueueFullError(EngineError): ...
class QueueTimeoutError(QueueFullError): ...
class ClosedError(EngineError): ...
class InternalError(EngineError): ...

@final
class Event:
    """What the engine reports about one request."""

    request_id: int
    kind: Literal["text", "finished", "embedding", "scores", "done", "failed"]
    index: int
    """The choice (OpenAI ``n``) that a ``text`` or ``finished`` event belongs to."""
    text: str
    """``text``: new whole characters (may be empty)."""
    tokens: list[dict[str, Any]]
    """``text``, ``scores``: ``{"id", "bytes", "logprob", "top": [(id, bytes, logprob), ...]}``."""
    finish_reason: Literal["stop", "length", "cancelled"] | None
    usage: dict[str, Any] | None
    """``done``: prompt_tokens, completion_tokens, cached_tokens, drafted_tokens, accepted_tokens, queue_seconds,
    first_token_seconds, total_seconds.
    """
    embedding: list[float] | None
    error: EngineError | None

@final
class EventQueue:
    """Receives the events of any number of requests, for one consumer."""

    def __new__(cls) -> Self: ...
    def receive(self, timeout: float | None = None) -> list[Event]:
        """Blocks until there is an event and returns all that wait; an empty list after ``timeout`` seconds."""

@final
class Coordinator:
    """Finds the specialist for a request: embeds it and compares it with what every specialist shows of itself.

    Turns are ``(role, text)``; the last one is the request. One thread, a few milliseconds.
    """

    def __new__(cls, path: str) -> Self:
        """Loads a folder: an organelle model, tokenizer.json and coordinator.json."""
    def info(self) -> dict[str, Any]:
        """path, parameters, weight_bytes, kernels, embedding (length), window (tokens), temperature, threshold (the
        probability below which nobody should be chosen), source.
        """
    def embed(self, turns: Sequence[tuple[str, str]]) -> list[float]:
        """A vector of length 1."""
    def set_specialists(self, specialists: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the specialists: ``name``, ``description``, ``examples`` each. Only new texts are embedded."""
    def score(self, turns: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """``embedding``, ``logits`` by name, ``none_logit``, ``seconds``, ``tokens``. The softmax over all logits and
        none is calibrated.
        """

@final
class Engine:
    """One model, loaded and running."""

    def __new__(
        cls,
        path: str,
        *,
        quant: Literal["auto", "q8", "q4", "f16", "none"] = "auto",
        threads: int | None = None,
        context_length: int | None = None,
        kv_type: Literal["f32", "f16", "q8"] = "f16",
        kv_tokens: int | None = None,
        max_sequences: int = 64,
        max_queue: int = 256,
        prefill_chunk: int = 512,
        prefix_cache: bool = True,
        speculation: Literal["ngram", "off"] = "ngram",
        draft_model: str | None = None,
        past_window: Literal["exact", "restart"] = "exact",
        packed_file: bool = True,
        max_adapters: int = 64,
        max_adapter_rank: int = 256,
        max_adapter_bytes: int = ...,
    ) -> Self:
        """Loads ``path`` (a GGUF file, or a folder or file of safetensors), and a ``draft_model`` of the same kinds.
        ``past_window``: how an answer outgrows a model that sees a fixed number of tokens.
        """
    def info(self) -> dict[str, Any]:
        """Shape, sizes in bytes, format, quant, kernels, threads, context_length, end tokens, chat template presence,
        generation defaults, speculation, draft_model (its path).
        """
    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]: ...
    def detokenize(self, tokens: Sequence[int], *, skip_special: bool = False) -> str: ...
    def token_bytes(self, token: int) -> bytes: ...
    def apply_chat_template(
        self, messages_json: str, *, add_generation_prompt: bool = True, tools_json: str | None = None
    ) -> str:
        """Renders messages (a JSON array of OpenAI messages) with the model's own template."""
    def submit(self, request: dict[str, Any], queue: EventQueue) -> int:
        """Queues work and returns its id at once.

        ``request``: ``tokens`` (list of int), ``task`` ("generate" | "embed" | "score"), ``client`` (str),
        ``max_queue_seconds`` (QueueTimeoutError after waiting this long), ``adapters`` (list of (name, weight): what
        each adds is multiplied with its weight; RequestError for a name that is not loaded).
        For generate: ``max_new_tokens`` (absent: what the context window has room for), ``choices``, ``stop`` (list of
        str), ``stop_tokens`` (besides the model's own), ``ignore_eos`` (bool: leave the model's own out), ``logprobs``
        (int or None), ``temperature``, ``top_k``, ``top_p``, ``min_p``, ``typical_p``, ``repetition_penalty``,
        ``presence_penalty``, ``frequency_penalty``, ``logit_bias`` (dict), ``seed``; what is absent or None takes the
        model's default. For score: ``top``. Unknown keys are refused with RequestError.
        """
    def cancel(self, request_id: int) -> None: ...
    def load_adapter(self, name: str, path: str) -> dict[str, Any]:
        """Loads a LoRA adapter (a PEFT folder or a GGUF file), in the place of one of this name, while requests go on;
        those that run end with what they began with. Returns name, path, format, base_model, generation (another for
        each load), rank (the highest), modules, bytes and invocation_tokens (aLoRA).
        """
    def unload_adapter(self, name: str) -> None:
        """Takes an adapter out; requests that run end with it. Raises RequestError if there is none of this name."""
    def adapters(self) -> list[dict[str, Any]]:
        """What ``load_adapter`` returned, for each adapter that is loaded, by name."""
    def stats(self) -> dict[str, Any]:
        """waiting, running, kv_pages_used, kv_pages_total, prompt_tokens_total, completion_tokens_total,
        cached_tokens_total, drafted_tokens_total, accepted_tokens_total, steps_total, ...

        ``operations``: where the time of the steps went, by name: ``seconds``, and the work done in them:
        ``multiply_adds`` of weights and ``bytes`` of weights, keys and values that have to be read once.
        """
    def close(self) -> None: ...

@final
class HebbianBias:
    """What feedback taught: biases, in logits, between regions of the space of requests and specialists.

    ``rust/engine/src/swarm/hebbian.rs`` has the rule. ``now`` is in seconds since 1970; None reads the clock.
    """

    def __new__(
        cls,
        space: str,
        dimensions: int,
        *,
        bound: float | None = None,
        rate: float | None = None,
        forgetting: float | None = None,
        half_life_days: float | None = None,
        near: float | None = None,
        far: float | None = None,
        most_regions: int | None = None,
    ) -> Self:
        """``space`` names the model whose embeddings these are, with ``dimensions`` numbers each; None is the usual
        value of a setting. RequestError for settings that cannot work.
        """
    def bias(self, embedding: Sequence[float], names: Sequence[str], *, now: float | None = None) -> dict[str, float]:
        """Of each name for this request, within ``bound``; 0 where nothing was learnt."""
    def learn(
        self, embedding: Sequence[float], rewards: dict[str, float], *, label: str = "", now: float | None = None
    ) -> dict[str, Any]:
        """Learns from rewards of -1 to 1 by specialist; ``label`` is the request in a few words.

        region, born (whether it is new), merged and forgotten (regions that went for it), before and after (the biases
        of these specialists for this request). RequestError for what is no embedding, name or reward.
        """
    def active(self, embedding: Sequence[float], *, now: float | None = None) -> list[dict[str, Any]]:
        """The regions that bear on this request, as in ``describe``, with ``cosine`` and ``weight`` (0 to 1)."""
    def describe(self, *, now: float | None = None) -> list[dict[str, Any]]:
        """Every region, the strongest first: region (its number), label, strength, feedbacks, created, updated,
        specialists (by name: bias, feedbacks).
        """
    def reset(self, *, region: int | None = None, specialist: str | None = None) -> int:
        """Forgets a region, a specialist, one in the other, or all; returns how many ties are gone."""
    def export_json(self) -> str: ...
    def import_json(self, text: str, *, now: float | None = None) -> None:
        """Takes what ``export_json`` gave in place of its own; RequestError (and no change) for anything else."""
    def copy(self) -> HebbianBias:
        """To try something out on."""
    def settings(self) -> dict[str, Any]: ...
    def __len__(self) -> int: ...

def doctor() -> dict[str, Any]:
    """CPU, kernel set (none, and the problem, if the one forced cannot run), threads, memory."""

def roofs(threads: int | None = None) -> dict[str, Any]:
    """Measures, in about half a second, what the machine can do at most: ``read_bytes_per_second`` (memory) and
    ``int8_operations_per_second`` (multiplications and additions counted apart), with ``kernels`` and ``threads``.
    """

def gguf_tensor(path: str, name: str) -> tuple[list[int], bytes]:
    """A tensor of a GGUF file by its GGUF name: shape (outermost first) and its values as little-endian float32."""
