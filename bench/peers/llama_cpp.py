"""llama.cpp through the low-level bindings of llama-cpp-python: its own batches; Python only takes the argmax."""

from __future__ import annotations

import ctypes
from pathlib import Path
from time import perf_counter
from typing import Any

import llama_cpp
import numpy as np

from bench.peers import CONTEXT
from bench.random_adapter import GGUF

BATCH = 512


def silence() -> Any:
    """A log callback that drops everything; keep a reference to it while llama.cpp runs."""
    callback = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


def quantize(source: Path, target: Path, file_type: int) -> None:
    """Writes `source` as its quantizer mixes formats for `file_type`."""
    log = silence()
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = file_type
    options.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(options)):
        raise RuntimeError(f"llama.cpp does not quantize {source} to {file_type}")
    del log


class Model:
    """A loaded model with one context, and the batches that go through it."""

    def __init__(self, path: str, *, threads: int, context: int, sequences: int, flash_attention: bool) -> None:
        self._log = silence()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_seq_max = context, sequences
        options.n_batch = options.n_ubatch = BATCH
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = int(flash_attention)
        options.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def clear(self) -> None:
        """Forgets every sequence."""
        llama_cpp.llama_memory_clear(self._memory, False)

    def cut(self, length: int) -> None:
        """Forgets sequence 0 from this position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, length, -1)

    def load_adapter(self, path: str) -> Any:
        """An adapter in a GGUF file, for `use`."""
        adapter = llama_cpp.llama_adapter_lora_init(self._model, path.encode())
        if not adapter:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        return adapter

    def use(self, adapter: Any | None) -> None:
        """What is run from now on is run with this adapter."""
        given = [] if adapter is None else [adapter]
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(*given)
        llama_cpp.llama_set_adapters_lora(self._context, adapters, len(given), (ctypes.c_float * 1)(1.0))

    def run(self, rows: list[tuple[int, int, int]], outputs: list[int]) -> np.ndarray:
        """Runs (token, position, sequence) rows; logits of the rows numbered `outputs`, valid until the next run."""
        batch, wanted = self._batch, set(outputs)
        batch.n_tokens = len(rows)
        for at, (token, position, sequence) in enumerate(rows):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, position, 1
            batch.seq_id[at][0] = sequence
            batch.logits[at] = at in wanted
        if status := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode returned {status}")
        logits = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, shape=(len(outputs), self.vocabulary))

    def read(self, prompt: list[int], start: int = 0) -> int:
        """Runs a whole prompt in batches, from position `start` of sequence 0 on; the likeliest next token."""
        for first in range(0, len(prompt), BATCH):
            rows = [(token, start + first + at, 0) for at, token in enumerate(prompt[first : first + BATCH])]
            logits = self.run(rows, [len(rows) - 1])
        return int(logits[0].argmax())

    def generate(self, token: int, start: int, count: int) -> None:
        """Runs `count` tokens of sequence 0, one after the other, each the likeliest after the one before."""
        for position in range(start, start + count):
            token = int(self.run([(token, position, 0)], [0])[0].argmax())


class Peer:
    """See `bench.peers.Peer`."""

    version = f"llama-cpp-python {llama_cpp.__version__}"

    def __init__(self, path: str, *, threads: int, flash_attention: bool) -> None:
        self.file = path
        self._model = Model(path, threads=threads, context=CONTEXT, sequences=32, flash_attention=flash_attention)
        # What sequence 0 holds from call to call, and with which adapter it was read.
        self._context: list[int] = []
        self._adapter: str | None = None
        self._adapters: dict[str, Any] = {}

    def prefill(self, prompt: list[int]) -> float:
        """See `bench.peers.Peer.prefill`."""
        self._clear()
        start = perf_counter()
        self._model.read(prompt)
        return perf_counter() - start

    def decode(self, prompt: list[int], count: int) -> float:
        """See `bench.peers.Peer.decode`."""
        self._clear()
        token = self._model.read(prompt)
        start = perf_counter()
        self._model.generate(token, len(prompt), count)
        return perf_counter() - start

    def streams(self, prompts: list[list[int]], count: int) -> float:
        """See `bench.peers.Peer.streams`."""
        start = perf_counter()
        tokens = self._read_all(prompts)
        self._passes(prompts, tokens, count - 1)
        return perf_counter() - start

    def passes(self, prompts: list[list[int]], count: int) -> float:
        """See `bench.peers.Peer.passes`."""
        tokens = self._read_all(prompts)
        start = perf_counter()
        self._passes(prompts, tokens, count)
        return perf_counter() - start

    def deep_prefill(self, context: list[int], more: list[int]) -> float:
        """See `bench.peers.Peer.deep_prefill`."""
        self._keep(context)
        start = perf_counter()
        self._model.read(more, len(context))
        return perf_counter() - start

    def deep_decode(self, context: list[int], count: int) -> float:
        """See `bench.peers.Peer.deep_decode`."""
        self._keep(context)
        start = perf_counter()
        self._model.generate(context[0], len(context), count)
        return perf_counter() - start

    def load_adapter(self, name: str, folder: str) -> float:
        """See `bench.peers.Peer.load_adapter`."""
        start = perf_counter()
        self._adapters[name] = self._model.load_adapter(str(Path(folder) / GGUF))
        return perf_counter() - start

    def adapted_passes(self, prompts: list[list[int]], count: int, adapters: list[str | None]) -> float:
        """See `bench.peers.Peer.adapted_passes`. A batch has one adapter: so many adapters, so many batches."""
        groups = {adapter: [at for at, mine in enumerate(adapters) if mine == adapter] for adapter in adapters}
        tokens = self._read_all(prompts)
        start = perf_counter()
        for step in range(count):
            for adapter, sequences in groups.items():
                self._model.use(self._adapters.get(adapter or ""))
                tokens[sequences] = self._pass(prompts, tokens, sequences, step)
        seconds = perf_counter() - start
        self._model.use(None)
        return seconds

    def adapted_token(self, prompt: list[int], adapter: str | None) -> float:
        """See `bench.peers.Peer.adapted_token`. As llama.cpp's server: with another adapter all is read again."""
        start = perf_counter()
        known = common(self._context, prompt[:-1]) if adapter == self._adapter else 0
        self._model.use(self._adapters.get(adapter or ""))
        self._model.cut(known)
        self._model.read(prompt[known:], known)
        self._context, self._adapter = prompt, adapter
        return perf_counter() - start

    def _clear(self) -> None:
        self._context = []
        self._model.clear()

    def _keep(self, context: list[int]) -> None:
        if self._context != context:
            self._clear()
            self._model.read(context)
            self._context = context
        self._model.cut(len(context))

    def _read_all(self, prompts: list[list[int]]) -> np.ndarray:
        """Reads all prompts as one batch, a sequence each; the likeliest next tokens."""
        self._clear()
        rows = [(token, at, sequence) for sequence, prompt in enumerate(prompts) for at, token in enumerate(prompt)]
        ends = np.cumsum([len(prompt) for prompt in prompts]) - 1
        logits = self._model.run(rows, [int(end) for end in ends])
        found: np.ndarray = logits.argmax(axis=1)
        return found

    def _passes(self, prompts: list[list[int]], tokens: np.ndarray, count: int) -> None:
        for step in range(count):
            tokens = self._pass(prompts, tokens, list(range(len(prompts))), step)

    def _pass(self, prompts: list[list[int]], tokens: np.ndarray, sequences: list[int], step: int) -> np.ndarray:
        """The next tokens of these sequences."""
        rows = [(int(tokens[at]), len(prompts[at]) + step, at) for at in sequences]
        found: np.ndarray = self._model.run(rows, list(range(len(rows)))).argmax(axis=1)
        return found


def common(one: list[int], other: list[int]) -> int:
    """Tokens that two texts begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (mine, its) in enumerate(pairs) if mine != its), min(len(one), len(other)))
