"""Reads JLD2 files, Julia's HDF5-based format, far enough for a tree of parameters. Does not know what a model is.

JLD2 keeps to a small part of HDF5 (The HDF Group, "HDF5 File Format Specification", version 3.0): superblock 2, object
headers 2, links in the headers, compact and contiguous data. Chunked (compressed) data is refused by name. Every
address, length, count and depth is checked before it is used, and every header against its checksum.
"""

from .file import Jld2File
from .tree import Leaf, flatten

__all__ = ["Jld2File", "Leaf", "flatten"]
