"""This project's engine through its native module, as the server uses it: requests go in, events come out."""

from __future__ import annotations

from time import perf_counter

from synapse_engine import _engine

TASK = {"temperature": 0.0, "ignore_eos": True}


class Peer:
    """See `bench.peers.Peer`."""

    version = f"synapse-engine {_engine.__version__}"

    def __init__(self, path: str, *, threads: int) -> None:
        self._engine = _engine.Engine(path, threads=threads, context_length=4096, speculation="off")
        self._queue = _engine.EventQueue()

    def prefill(self, prompt: list[int]) -> float:
        """See `bench.peers.Peer.prefill`."""
        start = perf_counter()
        self._submit(prompt, 1)
        return self._finish(1)[-1][0] - start

    def decode(self, prompt: list[int], count: int) -> float:
        """See `bench.peers.Peer.decode`."""
        self._submit(prompt, count + 1)
        arrivals = self._finish(1)
        (first, early), (last, total) = arrivals[0], arrivals[-1]
        # Tokens that came together with the first one are not in the measured time.
        return (last - first) * count / (total - early)

    def streams(self, prompts: list[list[int]], count: int) -> float:
        """See `bench.peers.Peer.streams`."""
        start = perf_counter()
        for prompt in prompts:
            self._submit(prompt, count)
        return self._finish(len(prompts))[-1][0] - start

    def _submit(self, prompt: list[int], count: int) -> None:
        self._engine.submit({"tokens": prompt, "max_new_tokens": count, **TASK}, self._queue)

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
