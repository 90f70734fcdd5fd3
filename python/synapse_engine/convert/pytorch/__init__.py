"""Reads files of ``torch.save`` without PyTorch and without running anything in them. Does not know what a model is.

Only the zip format (PyTorch 1.6 and later) is read. Its ``data.pkl`` is a program for Python's unpickler; here its
opcodes are walked by a machine that knows dictionaries, lists, numbers, text and tensors, and refuses all else by name.
"""

from .archive import Archive
from .checkpoint import read_checkpoint

__all__ = ["Archive", "read_checkpoint"]
