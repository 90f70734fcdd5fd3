"""llama.cpp through the low-level bindings of llama-cpp-python: its own batches; Python only takes the argmax."""

from __future__ import annotations

import ctypes
from time import perf_counter
from typing import Any

import llama_cpp
import numpy as np

BATCH = 512


def silence() -> Any:
    """A log callback that drops everything; keep a reference to it while llama.cpp runs."""
    callback = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


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

    def read(self, prompt: list[int], sequence: int = 0) -> int:
        """Runs a whole prompt in batches; the likeliest next token."""
        for start in range(0, len(prompt), BATCH):
            rows = [(token, start + at, sequence) for at, token in enumerate(prompt[start : start + BATCH])]
            logits = self.run(rows, [len(rows) - 1])
        return int(logits[0].argmax())


class Peer:
    """See `bench.peers.Peer`."""

    version = f"llama-cpp-python {llama_cpp.__version__}"

    def __init__(self, path: str, *, threads: int, flash_attention: bool) -> None:
        self._model = Model(path, threads=threads, context=4096, sequences=16, flash_attention=flash_attention)

    def prefill(self, prompt: list[int]) -> float:
        """See `bench.peers.Peer.prefill`."""
        self._model.clear()
        start = perf_counter()
        self._model.read(prompt)
        return perf_counter() - start

    def decode(self, prompt: list[int], count: int) -> float:
        """See `bench.peers.Peer.decode`."""
        self._model.clear()
        token = self._model.read(prompt)
        start = perf_counter()
        for position in range(len(prompt), len(prompt) + count):
            token = int(self._model.run([(token, position, 0)], [0])[0].argmax())
        return perf_counter() - start

    def streams(self, prompts: list[list[int]], count: int) -> float:
        """See `bench.peers.Peer.streams`."""
        self._model.clear()
        start = perf_counter()
        rows = [(token, at, sequence) for sequence, prompt in enumerate(prompts) for at, token in enumerate(prompt)]
        ends = np.cumsum([len(prompt) for prompt in prompts]) - 1
        sequences = range(len(prompts))
        tokens = self._model.run(rows, [int(end) for end in ends]).argmax(axis=1)
        for step in range(count - 1):
            rows = [(int(tokens[at]), len(prompts[at]) + step, at) for at in sequences]
            tokens = self._model.run(rows, list(sequences)).argmax(axis=1)
        return perf_counter() - start
