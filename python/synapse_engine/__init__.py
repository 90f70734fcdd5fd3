"""Synapse Engine: language models on your own machine. The public names; knows nothing of how they work."""

from synapse_engine._engine import __version__

__all__ = ["__version__"]
