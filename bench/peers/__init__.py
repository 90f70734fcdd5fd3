"""The engines that are measured, each behind the same few methods. Knows neither rounds nor records."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

# Positions that a peer has room for: the long context, a prompt behind it, and some tokens.
CONTEXT = 4096 + 1024

# name on the command line -> module, options of its Peer
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "synapse": ("bench.peers.synapse", {}),
    "llama.cpp": ("bench.peers.llama_cpp", {"flash_attention": False}),
    "llama.cpp-flash": ("bench.peers.llama_cpp", {"flash_attention": True}),
    "mistral.rs": ("bench.peers.mistralrs", {}),
}
# mistral.rs takes minutes for what the others do in a second: its wheel is built for the oldest x86-64. Name it to see.
USUAL = ["synapse", "llama.cpp", "llama.cpp-flash"]


class Peer(Protocol):
    """One model loaded in one engine. Every method returns seconds; a peer may lack all but the first two."""

    version: str
    # Where the weights were read from.
    file: str

    def prefill(self, prompt: list[int]) -> float:
        """From handing over the prompt to knowing the token after it."""

    def decode(self, prompt: list[int], count: int) -> float:
        """For `count` tokens of one sequence, one after the other, after the prompt has been read."""

    def streams(self, prompts: list[list[int]], count: int) -> float:
        """For `count` tokens of each prompt at once, prompts included."""

    def passes(self, prompts: list[list[int]], count: int) -> float:
        """For `count` passes with one token of each prompt's sequence, after all prompts have been read."""

    def deep_prefill(self, context: list[int], more: list[int]) -> float:
        """For `more` behind a context whose keys and values are kept from call to call."""

    def deep_decode(self, context: list[int], count: int) -> float:
        """For `count` tokens behind such a context, one after the other."""

    def load_adapter(self, name: str, folder: str) -> float:
        """For loading a LoRA adapter, in the place of the one of this name; see `bench.random_adapter`."""

    def adapted_passes(self, prompts: list[list[int]], count: int, adapters: list[str | None]) -> float:
        """As `passes`, each sequence with an adapter, or without one."""

    def adapted_token(self, prompt: list[int], adapter: str | None) -> float:
        """From handing over the prompt to knowing the token after it; what is known of earlier prompts counts."""


def open_peer(name: str, path: str, threads: int) -> Peer:
    """Loads the model at `path` with the peer called `name`; ImportError if its package is not installed."""
    module, options = PEERS[name]
    peer: Peer = import_module(module).Peer(path, threads=threads, **options)
    return peer
