"""This project's engine through its native module, as the server uses it: requests go in, events come out."""

from __future__ import annotations

from time import perf_counter

from bench.peers import CONTEXT
from synapse_engine import _engine

# Tokens at either end of a run of passes that are not timed: sequences join and leave one by one.
MARGIN = 3
TASK = {"temperature": 0.0, "ignore_eos": True}


class Peer:
    """See `bench.peers.Peer`."""

    version = f"synapse-engine {_engine.__version__}"

    def __init__(self, path: str, *, threads: int) -> None:
        self._engine = _engine.Engine(path, threads=threads, context_length=CONTEXT, speculation="off")
        self.file = str(self._engine.info()["packed_file"] or path)
        self._queue = _engine.EventQueue()

    def prefill(self, prompt: list[int]) -> float:
        """See `bench.peers.Peer.prefill`."""
        start = perf_counter()
        self._submit(prompt, 1)
        return self._finish(1)[-1][0] - start

    def decode(self, prompt: list[int], count: int) -> float:
        """See `bench.peers.Peer.decode`."""
        self._submit(prompt, count + 1)
        return _per_token(self._finish(1)) * count

    def streams(self, prompts: list[list[int]], count: int) -> float:
        """See `bench.peers.Peer.streams`."""
        start = perf_counter()
        for prompt in prompts:
            self._submit(prompt, count)
        return self._finish(len(prompts))[-1][0] - start

    def passes(self, prompts: list[list[int]], count: int) -> float:
        """See `bench.peers.Peer.passes`. Timed while all sequences run."""
        return self.adapted_passes(prompts, count, [None] * len(prompts))

    def adapted_passes(self, prompts: list[list[int]], count: int, adapters: list[str | None]) -> float:
        """See `bench.peers.Peer.adapted_passes`."""
        for prompt, adapter in zip(prompts, adapters, strict=True):
            self._submit(prompt, count + 2 * MARGIN, adapter)
        margin, total = MARGIN * len(prompts), (count + 2 * MARGIN) * len(prompts)
        arrivals = self._finish(len(prompts))
        steady = [(time, tokens) for time, tokens in arrivals if margin <= tokens <= total - margin]
        return _per_token(steady) * count * len(prompts)

    def deep_prefill(self, context: list[int], more: list[int]) -> float:
        """See `bench.peers.Peer.deep_prefill`. The prefix cache keeps the context."""
        self._keep(context)
        return self.prefill(context + more)

    def deep_decode(self, context: list[int], count: int) -> float:
        """See `bench.peers.Peer.deep_decode`."""
        self._keep(context)
        return self.decode(context, count)

    def load_adapter(self, name: str, folder: str) -> float:
        """See `bench.peers.Peer.load_adapter`."""
        start = perf_counter()
        self._engine.load_adapter(name, folder)
        return perf_counter() - start

    def adapted_token(self, prompt: list[int], adapter: str | None) -> float:
        """See `bench.peers.Peer.adapted_token`. The prefix cache knows earlier prompts, with each adapter by itself."""
        start = perf_counter()
        self._submit(prompt, 1, adapter)
        return self._finish(1)[-1][0] - start

    def _keep(self, context: list[int]) -> None:
        """One more token shows whether the context is known; if not, this makes it so."""
        self._submit([*context, context[0]], 1)
        self._finish(1)

    def _submit(self, prompt: list[int], count: int, adapter: str | None = None) -> None:
        adapters = [] if adapter is None else [(adapter, 1.0)]
        request = {"tokens": prompt, "max_new_tokens": count, "adapters": adapters, **TASK}
        self._engine.submit(request, self._queue)

    def _finish(self, requests: int) -> list[tuple[float, int]]:
        """Waits until so many requests are done: (time, tokens so far) at each arrival of tokens."""
        arrivals: list[tuple[float, int]] = []
        total = done = 0
        while done < requests:
            for event in self._queue.receive():
                if event.error:
                    raise event.error
                total += len(event.tokens)
                done += event.kind == "done"
            if total > (arrivals[-1][1] if arrivals else 0):
                arrivals.append((perf_counter(), total))
        return arrivals


def _per_token(arrivals: list[tuple[float, int]]) -> float:
    """Seconds from one token to the next. Those that came with the first are not in the measured time."""
    (first, early), (last, total) = arrivals[0], arrivals[-1]
    return (last - first) / (total - early)
