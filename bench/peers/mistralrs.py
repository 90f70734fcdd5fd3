"""mistral.rs as its wheel comes from PyPI. It takes text: prompts are detokenized, its token counts scale the times.

Its `Runner` takes one request at a time (a second thread gets "Already borrowed"), so there are no batches to measure.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from mistralrs import CompletionRequest, Runner, Which


class Peer:
    """See `bench.peers.Peer`. The threads are those that mistral.rs takes: all cores."""

    version = f"mistralrs {version('mistralrs')}"

    def __init__(self, path: str, *, threads: int) -> None:
        del threads
        self.file = path
        file = Path(path)
        # Its stubs do not say that GGUF is a Which.
        which: Any = Which.GGUF(str(file.parent), file.name)
        self._runner = Runner(which, max_seqs=16, prefix_cache_n=0)

    def prefill(self, prompt: list[int]) -> float:
        """See `bench.peers.Peer.prefill`."""
        start = perf_counter()
        usage = self._complete(self._text(prompt), 1)
        return (perf_counter() - start) * len(prompt) / int(usage.prompt_tokens)

    def decode(self, prompt: list[int], count: int) -> float:
        """See `bench.peers.Peer.decode`; by its own clock, which leaves out the prompt."""
        return float(self._complete(self._text(prompt), count).total_completion_time_sec)

    def _text(self, prompt: list[int]) -> str:
        return str(self._runner.detokenize_text(prompt, skip_special_tokens=False))

    def _complete(self, text: str, count: int) -> Any:
        request = CompletionRequest(text, "default", max_tokens=count, temperature=0.0, ignore_eos=True)
        return self._runner.send_completion_request(request).usage
