"""Where a model can come from. A source knows how to fetch into a folder; it does not know the store."""

from .base import Source
from .bundled import BundledModel
from .folder import FolderSource
from .hub import HubRepository
from .package import PackageWheel

__all__ = ["BundledModel", "FolderSource", "HubRepository", "PackageWheel", "Source"]
