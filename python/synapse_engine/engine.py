"""The engine for Python programs: a model by name, answers as text. Knows requests, not how they are computed."""

from __future__ import annotations

import json
import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from synapse_engine import _engine
from synapse_engine.options import generate_request, weighted
from synapse_engine.results import Outcome
from synapse_engine.specialists.adapters import Shelf
from synapse_engine.store import Store
from synapse_engine.store.names import PathName, parse_name
from synapse_engine.streams import Dispatcher, Stream

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Unpack

    from synapse_engine.options import Adapters, GenerateOptions
    from synapse_engine.results import Generation, Token
    from synapse_engine.routing import Decision
    from synapse_engine.specialists import Library
    from synapse_engine.swarm import Swarm

    Messages = Sequence[Mapping[str, Any]]

Quant = Literal["auto", "q8", "q4", "f16", "none"]
DEVICES = ("auto", "cpu")


class Engine:
    """A language model, loaded and running. May be used from any number of threads and event loops at once.

    ``model`` is the name of an installed model (``synapse ls``) or the path of a GGUF file, a safetensors file or a
    folder of these. Requests made at the same time share the machine: they run in one batch.

    ``speculation`` makes text faster that repeats itself or its prompt; a ``draft_model``, a smaller one with the same
    tokens, does it for other text. No answer depends on either.

    ``past_window`` is for organelle models, which see 256 tokens at a time: "exact" computes every token beyond from
    the last 256, a whole prompt for each; "restart" goes on with the last 128 whenever the window is full, which is
    faster and sees less.

    LoRA adapters come and go while the model runs (``load_adapter``), up to ``max_adapters`` of at most
    ``max_adapter_rank`` and ``max_adapter_bytes`` in all; each request says which it wants (``adapters=``).

    ``specialist=`` names one of ``specialists`` to answer, with its prompt, habits and adapter, or "auto" for the one
    that ``route`` finds; ``Generation.decision`` tells who it was. A text that is continued has no place for a prompt.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        device: Literal["auto", "cpu"] = "auto",
        *,
        quant: Quant = "auto",
        threads: int | None = None,
        context_length: int | None = None,
        kv_type: Literal["f32", "f16", "q8"] = "f16",
        kv_tokens: int | None = None,
        max_sequences: int = 64,
        max_queue: int = 256,
        prefix_cache: bool = True,
        speculation: Literal["ngram", "off"] = "ngram",
        draft_model: str | os.PathLike[str] | None = None,
        past_window: Literal["exact", "restart"] = "exact",
        packed_file: bool = True,
        max_adapters: int = 64,
        max_adapter_rank: int = 256,
        max_adapter_bytes: int = 4 << 30,
    ) -> None:
        check_device(device)
        self.path, usual_quant = find_model(model)
        self._native = _engine.Engine(
            str(self.path),
            quant=usual_quant if quant == "auto" else quant,
            threads=threads,
            context_length=context_length,
            kv_type=kv_type,
            kv_tokens=kv_tokens,
            max_sequences=max_sequences,
            max_queue=max_queue,
            prefix_cache=prefix_cache,
            speculation=speculation,
            draft_model=None if draft_model is None else str(find_model(draft_model)[0]),
            past_window=past_window,
            packed_file=packed_file,
            max_adapters=max_adapters,
            max_adapter_rank=max_adapter_rank,
            max_adapter_bytes=max_adapter_bytes,
        )
        self._shelf = Shelf(self._native)
        self._dispatcher = Dispatcher(self._native, self._shelf.submit)

    def generate(self, prompt: str, *, specialist: str | None = None, **options: Unpack[GenerateOptions]) -> Generation:
        """Continues ``prompt``, word for word as given."""
        with self.stream(prompt, specialist=specialist, **options) as stream:
            return stream.finish().generation()

    def chat(
        self, messages: str | Messages, *, specialist: str | None = None, **options: Unpack[GenerateOptions]
    ) -> Generation:
        """Answers a conversation: a list of ``{"role", "content"}``, or one user message as a str."""
        with self.stream(conversation(messages), specialist=specialist, **options) as stream:
            return stream.finish().generation()

    def stream(
        self, prompt_or_messages: str | Messages, *, specialist: str | None = None, **options: Unpack[GenerateOptions]
    ) -> Stream:
        """The answer piece by piece: to a list of messages as ``chat`` gives it, to a str as ``generate`` does."""
        return Stream(self._native, *self._request(prompt_or_messages, specialist, options), self._shelf.submit)

    async def agenerate(
        self, prompt: str, *, specialist: str | None = None, **options: Unpack[GenerateOptions]
    ) -> Generation:
        """``generate`` for asyncio; cancelling the task cancels the request."""
        return await self._afinish(prompt, specialist, options)

    async def achat(
        self, messages: str | Messages, *, specialist: str | None = None, **options: Unpack[GenerateOptions]
    ) -> Generation:
        """``chat`` for asyncio; cancelling the task cancels the request."""
        return await self._afinish(conversation(messages), specialist, options)

    async def astream(
        self, prompt_or_messages: str | Messages, *, specialist: str | None = None, **options: Unpack[GenerateOptions]
    ) -> AsyncGenerator[str, None]:
        """``stream`` for asyncio; leaving the loop and closing the generator cancels the request."""
        request, decision = self._request(prompt_or_messages, specialist, options)
        pieces = self._dispatcher.run(request, Outcome(decision))
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    def embed(self, texts: str | Sequence[str]) -> list[list[float]]:
        """One vector of length 1 per text: the mean of the final hidden states."""
        batch = [texts] if isinstance(texts, str) else list(texts)
        streams = [Stream(self._native, {"tokens": self.tokenize(text), "task": "embed"}) for text in batch]
        return [unit_length(stream.finish().embedding) for stream in streams]

    def score(self, text: str, *, top: int = 0, adapters: Adapters | None = None) -> list[Token]:
        """Every token of ``text`` with its log-probability given those before it, and the ``top`` likeliest instead."""
        request = {"tokens": self.tokenize(text), "task": "score", "top": top, "adapters": weighted(adapters)}
        with Stream(self._native, request) as stream:
            return list(stream.finish().generation().tokens)

    def route(self, messages: str | Messages) -> Decision:
        """Which of ``specialists`` a request belongs to, and why; ``explain()`` of it says what would change that."""
        return self.swarm.router.route(messages)

    @property
    def specialists(self) -> Library:
        """What requests can be routed to: the starters and the user's own, which can be added and removed here."""
        return self.swarm.library

    @cached_property
    def swarm(self) -> Swarm:
        """Specialists, router and loaded adapters of this engine."""
        from synapse_engine.swarm import Swarm

        return Swarm(self._shelf)

    def load_adapter(self, name: str, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Loads a LoRA adapter (a folder as ``peft`` writes it, or a GGUF adapter), in the place of one of this name.

        Requests go on meanwhile; those that run end with the adapter they began with. Returns what ``adapters`` lists.
        """
        return self._native.load_adapter(name, str(path))

    def unload_adapter(self, name: str) -> None:
        """Takes an adapter out. Raises RequestError if there is none of this name."""
        self._shelf.unload(name)

    @property
    def adapters(self) -> list[dict[str, Any]]:
        """The loaded adapters: name, path, format, generation (another for each load), rank, modules, bytes, ..."""
        return self._native.adapters()

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """Token ids of ``text``; ``add_special`` adds what the model wants around a text, such as its first token."""
        return self._native.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int], *, skip_special: bool = False) -> str:
        """The text of ``tokens``."""
        return self._native.detokenize(tokens, skip_special=skip_special)

    @property
    def info(self) -> dict[str, Any]:
        """The model's shape, sizes, number formats, kernels and limits."""
        return self._native.info()

    @property
    def stats(self) -> dict[str, Any]:
        """Requests running and waiting, KV pages in use, tokens so far."""
        return self._native.stats()

    @property
    def native(self) -> _engine.Engine:
        """The native engine, for programs that handle its events themselves, as the server does."""
        return self._native

    def close(self) -> None:
        """Ends all requests and frees the model. Later calls raise ClosedError."""
        self._native.close()
        self._dispatcher.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Engine({str(self.path)!r})"

    async def _afinish(
        self, prompt_or_messages: str | Messages, specialist: str | None, options: GenerateOptions
    ) -> Generation:
        request, decision = self._request(prompt_or_messages, specialist, options)
        outcome = Outcome(decision)
        async for _ in self._dispatcher.run(request, outcome):
            pass
        return outcome.generation()

    def _request(
        self, prompt_or_messages: str | Messages, specialist: str | None, options: GenerateOptions
    ) -> tuple[dict[str, Any], Decision | None]:
        decision = None
        if specialist is not None:
            decision = self.swarm.decide(specialist, prompt_or_messages)
            prompt_or_messages, options = self.swarm.prepared(decision, prompt_or_messages, options)
        return generate_request(self._tokens(prompt_or_messages), options), decision

    def _tokens(self, prompt_or_messages: str | Messages) -> list[int]:
        if isinstance(prompt_or_messages, str):
            return self.tokenize(prompt_or_messages)
        rendered = self._native.apply_chat_template(json.dumps(list(prompt_or_messages)))
        # The template has written the special tokens already.
        return self.tokenize(rendered, add_special=False)


def conversation(messages: str | Messages) -> Messages:
    """A text alone is a message of the user."""
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages


def check_device(device: str) -> None:
    """Refuses devices that this version cannot run on."""
    if device not in DEVICES:
        error = _engine.RequestError(f"device: expected 'auto' or 'cpu', found {device!r}")
        error.param = "device"
        error.hint = "this version runs on the CPU only"
        raise error


def find_model(model: str | os.PathLike[str]) -> tuple[Path, Quant]:
    """What to load for a name or path, and in which number format unless told otherwise.

    Something that lies at this path wins over an installed model of this name. Raises ``store.UnknownModelError``.
    """
    path = Path(model).expanduser()
    if path.exists() or not isinstance(model, str):
        return path, "auto"
    store = Store()
    if isinstance(parse_name(model), PathName):
        return store.locate(model), "auto"
    installed = store.find(model)
    return installed.load_path, cast("Quant", installed.manifest.load_quant)


def unit_length(vector: list[float]) -> list[float]:
    """``vector`` scaled to length 1; a zero vector stays as it is."""
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
