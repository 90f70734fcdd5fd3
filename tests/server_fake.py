"""An engine without a model, for tests of the server: same interface as the native one, answers that tests can dictate.

Its tokens are bytes, and its answer to a prompt is the script after the last ``SAY:`` in it, or ``the quick brown fox``
over and over. Commands at the start of a script: ``FAIL``, ``SLOW`` (one token in 20 ms), ``HANG`` (no token ever).

Its router finds the specialist by the request's first word, ``math: ...``, with the probability behind it, if there is
one: ``math 0.6: ...``.
"""

import itertools
import json
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synapse_engine import ClosedError, ContextLengthError, InternalError, ModelError, QueueFullError, RequestError
from synapse_engine.routing import Decision, turns_of

END = 256
START = 257
VOCABULARY = 258
BABBLE = "the quick brown fox jumps over the lazy dog. "
GENERATE_KEYS = {
    "tokens", "task", "client", "max_new_tokens", "choices", "stop", "stop_tokens", "ignore_eos", "logprobs",
    "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "logit_bias", "seed", "adapters",
}  # fmt: skip


@dataclass
class FakeEvent:
    request_id: int
    kind: str
    index: int = 0
    text: str = ""
    tokens: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    embedding: list[float] | None = None
    error: Exception | None = None


class FakeQueue:
    def __init__(self) -> None:
        self._events: deque[FakeEvent] = deque()
        self._arrived = threading.Condition()

    def put(self, event: FakeEvent) -> None:
        with self._arrived:
            self._events.append(event)
            self._arrived.notify()

    def receive(self, timeout: float | None = None) -> list[FakeEvent]:
        with self._arrived:
            self._arrived.wait_for(lambda: self._events, timeout)
            events = list(self._events)
            self._events.clear()
            return events


def request_error(param: str, message: str) -> RequestError:
    error = RequestError(f"{param}: {message}")
    error.param = param
    return error


def entry(token: int, logprob: float | None, top: int | None) -> dict[str, Any]:
    likeliest = [(65 + i, bytes([65 + i]), -1.0 - i) for i in range(top or 0)]
    shown = None if top is None else logprob
    return {"id": token, "bytes": bytes([token]) if token < 256 else b"", "logprob": shown, "top": likeliest}


class Sequence:
    """One choice: which bytes come, and how far they are."""

    def __init__(self, request: dict[str, Any], prompt: str, index: int) -> None:
        # In a chat the template's next marker ends the script.
        script = prompt.rpartition("SAY:")[2].partition("<|")[0] if "SAY:" in prompt else ""
        self.command, _, text = script.partition(" ")
        if self.command not in ("FAIL", "SLOW", "HANG"):
            self.command, text = "", script
        if request.get("temperature") and not text:
            letters = random.Random(None if request.get("seed") is None else request["seed"] + index)
            text = "".join(letters.choices("abcdefghij", k=40))
        self.ends = bool(text) and not request.get("ignore_eos")
        source = (text or BABBLE).encode()
        self.bytes = iter(source) if self.ends else itertools.cycle(source)
        self.index = index
        self.produced = 0
        self.pending = b""
        self.finished = False


class Running:
    """One request in a slot."""

    def __init__(self, engine: "FakeEngine", request_id: int, request: dict[str, Any], queue: FakeQueue) -> None:
        self.engine, self.id, self.request, self.queue = engine, request_id, request, queue
        self.prompt = engine.detokenize(request["tokens"])
        self.sequences = [Sequence(request, self.prompt, index) for index in range(request.get("choices") or 1)]
        self.submitted = time.monotonic()
        self.first_token: float | None = None
        self.cancelled = False
        self.cached = 0

    def usage(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "prompt_tokens": len(self.request["tokens"]),
            "completion_tokens": sum(sequence.produced for sequence in self.sequences),
            "cached_tokens": self.cached,
            "drafted_tokens": 5,
            "accepted_tokens": 3,
            "queue_seconds": 0.0,
            "first_token_seconds": (self.first_token or now) - self.submitted,
            "total_seconds": now - self.submitted,
        }

    def put(self, kind: str, **values: Any) -> None:
        self.queue.put(FakeEvent(self.id, kind, **values))

    def step(self) -> bool:
        """One token for every sequence; True when all is done."""
        if self.cancelled:
            return True
        task = self.request.get("task", "generate")
        if task == "embed":
            size = self.engine.hidden_size
            self.put("embedding", embedding=[float(sum(self.request["tokens"]) % 7 + 1)] + [1.0] * (size - 1))
        elif task == "score":
            top = self.request.get("top", 0)
            scores = [entry(token, -float(i), top) for i, token in enumerate(self.request["tokens"])]
            scores[0]["logprob"] = None
            self.put("scores", tokens=scores)
        else:
            for sequence in self.sequences:
                if not sequence.finished and not self.step_sequence(sequence):
                    return True
            if not all(sequence.finished for sequence in self.sequences):
                return False
        self.put("done", usage=self.usage())
        return True

    def step_sequence(self, sequence: Sequence) -> bool:
        """False if the request has failed."""
        if sequence.command == "HANG":
            return True
        if sequence.command == "SLOW":
            time.sleep(0.02)
        if sequence.command == "FAIL" and sequence.produced == self.engine.fail_after:
            self.put("failed", error=InternalError("the fake was told to fail"))
            return False
        self.first_token = self.first_token or time.monotonic()
        byte = next(sequence.bytes, None)
        if byte is None:
            self.finish(sequence, "stop")
            return True
        sequence.produced += 1
        self.say(sequence, byte)
        limit = self.request.get("max_new_tokens") or self.engine.context_length
        if not sequence.finished and sequence.produced >= limit:
            self.finish(sequence, "length")
        return True

    def say(self, sequence: Sequence, byte: int) -> None:
        sequence.pending += bytes([byte])
        stops = self.request.get("stop") or []
        for stop in stops:
            if sequence.pending.endswith(stop.encode()):
                sequence.pending = sequence.pending[: -len(stop.encode())]
                self.finish(sequence, "stop")
                return
        text = ""
        if not any(stop.encode().startswith(sequence.pending[-n:]) for stop in stops for n in range(1, len(stop) + 1)):
            try:
                text, sequence.pending = sequence.pending.decode(), b""
            except UnicodeDecodeError:
                text = ""
        logprob = self.engine.logprob(self.prompt) - sequence.index / 10
        tokens = [entry(byte, logprob, self.request.get("logprobs"))]
        self.put("text", index=sequence.index, text=text, tokens=tokens)

    def finish(self, sequence: Sequence, reason: str) -> None:
        if sequence.pending:
            self.put("text", index=sequence.index, text=sequence.pending.decode(errors="replace"))
        sequence.finished = True
        self.put("finished", index=sequence.index, finish_reason=reason)


class FakeEngine:
    """See the module's text. ``requests`` keeps what was submitted, ``cancelled`` the ids that were cancelled."""

    def __init__(
        self,
        *,
        context_length: int = 4096,
        max_sequences: int = 8,
        max_queue: int = 64,
        fail_after: int = 0,
        max_adapters: int = 64,
    ) -> None:
        self.context_length = context_length
        self.max_sequences = max_sequences
        self.max_queue = max_queue
        self.fail_after = fail_after
        self.max_adapters = max_adapters
        self.hidden_size = 8
        self.requests: list[dict[str, Any]] = []
        self.cancelled: list[int] = []
        self.closed = False
        self.logprob: Callable[[str], float] = lambda _prompt: -0.5
        self.loaded: dict[str, dict[str, Any]] = {}
        self._generations = itertools.count(1)
        self._prompts: list[list[int]] = []
        self._ids = itertools.count(1)
        self._waiting: deque[Running] = deque()
        self._running: list[Running] = []
        self._changed = threading.Condition()
        self._totals = {"prompt_tokens_total": 0, "completion_tokens_total": 0, "cached_tokens_total": 0}
        threading.Thread(target=self._work, daemon=True).start()

    def info(self) -> dict[str, Any]:
        return {
            "context_length": self.context_length,
            "vocab_size": VOCABULARY,
            "quant": "none",
            "kernels": "fake",
            "chat_template": True,
        }

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        tokens: list[int] = list(text.replace("<|end|>", "\0").encode() if parse_special else text.encode())
        tokens = [END if token == 0 and parse_special else token for token in tokens]
        return [START, *tokens] if add_special else tokens

    def detokenize(self, tokens: list[int], *, skip_special: bool = False) -> str:
        special = {END: b"" if skip_special else b"<|end|>", START: b""}
        return b"".join(special.get(token) or bytes([token]) for token in tokens if token != START).decode(
            errors="replace"
        )

    def apply_chat_template(self, messages_json: str, *, add_generation_prompt: bool = True) -> str:
        turns = json.loads(messages_json)
        if any(turn["content"] == "BAD" for turn in turns):
            raise request_error("messages", "the template does not like this")
        if any(turn["content"] == "NO TEMPLATE" for turn in turns):
            raise ModelError("this model has no chat template")
        text = "".join(f"<|{turn['role']}|>{turn['content']}" for turn in turns)
        return text + ("<|assistant|>" if add_generation_prompt else "")

    def submit(self, request: dict[str, Any], queue: FakeQueue) -> int:
        if self.closed:
            raise ClosedError("the engine is closed")
        self._check(request)
        with self._changed:
            if len(self._waiting) >= self.max_queue:
                error = QueueFullError(f"the queue is full: {len(self._waiting)} requests are waiting")
                error.hint = "try again shortly"
                raise error
            running = Running(self, next(self._ids), request, queue)
            self.requests.append(request)
            self._waiting.append(running)
            self._changed.notify()
            return running.id

    def load_adapter(self, name: str, path: str) -> dict[str, Any]:
        if self.closed:
            raise ClosedError("the engine is closed")
        if not Path(path).exists() or Path(path).name == "unfit":
            error = ModelError(f"adapter {path}: it is for another model")
            error.hint = "train one for this model"
            raise error
        if len(self.loaded.keys() - {name}) >= self.max_adapters:
            raise request_error("max_adapters", f"{name}: {self.max_adapters} adapters are loaded, the most allowed")
        self.loaded[name] = {"name": name, "path": path, "generation": next(self._generations), "rank": 8, "bytes": 1}
        return self.loaded[name]

    def unload_adapter(self, name: str) -> None:
        if self.loaded.pop(name, None) is None:
            raise request_error("adapters", f"there is no adapter {name!r}")

    def adapters(self) -> list[dict[str, Any]]:
        return list(self.loaded.values())

    def _check(self, request: dict[str, Any]) -> None:
        for name, _weight in request.get("adapters") or ():
            if name not in self.loaded:
                raise request_error("adapters", f"there is no adapter {name!r}")
        allowed = {"generate": GENERATE_KEYS, "score": {"tokens", "task", "client", "top"}}
        unknown = set(request) - allowed.get(request.get("task", "generate"), {"tokens", "task", "client"})
        assert not unknown, unknown
        assert request["tokens"]
        assert request.get("max_new_tokens") is None or request["max_new_tokens"] >= 1
        assert all(math.isfinite(value) for value in request.values() if isinstance(value, float))
        for param in ("tokens", "logit_bias"):
            for token in request.get(param) or ():
                if not 0 <= token < VOCABULARY:
                    raise request_error(param, f"{token} is not a token")
        needed = len(request["tokens"]) + (request.get("max_new_tokens") or 1)
        if needed > self.context_length:
            error = ContextLengthError(f"context window is {self.context_length} tokens, the request needs {needed}")
            error.param = "messages"
            error.hint = "shorten the prompt"
            raise error

    def cancel(self, request_id: int) -> None:
        with self._changed:
            self.cancelled.append(request_id)
            for running in [*self._running, *self._waiting]:
                running.cancelled = running.cancelled or running.id == request_id
            self._waiting = deque(running for running in self._waiting if not running.cancelled)

    def stats(self) -> dict[str, Any]:
        if self.closed:
            raise ClosedError("the engine is closed")
        with self._changed:
            used = sum(len(running.request["tokens"]) for running in self._running)
            return {
                "waiting": len(self._waiting),
                "running": len(self._running),
                "kv_pages_used": used,
                "kv_pages_cached": len(self._prompts),
                "kv_pages_total": 10_000,
                "steps_total": 1,
                "requests_completed_total": 0,
                "requests_cancelled_total": len(self.cancelled),
                "requests_failed_total": 0,
                "preemptions_total": 0,
                **self._totals,
            }

    def close(self) -> None:
        self.closed = True
        with self._changed:
            self._changed.notify()

    def _work(self) -> None:
        while not self.closed:
            with self._changed:
                self._changed.wait_for(lambda: self.closed or self._running or self._waiting)
                while self._waiting and len(self._running) < self.max_sequences:
                    self._start(self._waiting.popleft())
                batch = list(self._running)
            ended = [running for running in batch if running.step()]
            with self._changed:
                for running in ended:
                    self._running.remove(running)
                    self._totals["completion_tokens_total"] += running.usage()["completion_tokens"]
            if all(sequence.command == "HANG" for running in batch for sequence in running.sequences):
                time.sleep(0.005)

    def _start(self, running: Running) -> None:
        tokens = running.request["tokens"]
        running.cached = max((common_prefix(tokens, known) for known in self._prompts), default=0)
        self._prompts = [*self._prompts[-50:], tokens]
        self._totals["prompt_tokens_total"] += len(tokens)
        self._totals["cached_tokens_total"] += running.cached
        self._running.append(running)


def common_prefix(one: list[int], other: list[int]) -> int:
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return min(sum(1 for _ in same), len(one) - 1)


class FakeRouter:
    """See the module's text. ``routed`` keeps what it was asked."""

    def __init__(self, specialists: Many[Any]) -> None:
        self.routed: list[list[tuple[str, str]]] = []
        self.remembered: dict[str, Decision] = {}
        self.set_specialists(specialists)

    def set_specialists(self, specialists: Many[Any]) -> None:
        self.names = [specialist.name for specialist in specialists]

    def remember(self, response_id: str, decision: Decision) -> None:
        self.remembered[response_id] = decision

    def answered(self, response_id: str, specialist: str | None) -> None:
        if response_id in self.remembered:
            self.remembered[response_id] = replace(self.remembered[response_id], specialist=specialist)

    def route(self, messages: Any) -> Decision:
        turns = turns_of(messages)
        self.routed.append(turns)
        name, _, probability = turns[-1][1].partition(":")[0].partition(" ")
        if name not in self.names:
            return Decision(None, "below threshold", dict.fromkeys(self.names, 0.1 / len(self.names)), none=0.9)
        likely = float(probability or 0.9)
        rest = (1 - likely) / (len(self.names) + 1)
        return Decision(name, "chosen", {**dict.fromkeys(self.names, rest), name: likely}, none=2 * rest)
