"""Models on this machine: where they are, where from, whether whole. Does not know how a model is run."""

from .catalogue import Catalogue, Entry, catalogue
from .errors import (
    BadNameError,
    DamagedError,
    NoSpaceError,
    OfflineError,
    SourceUnavailableError,
    StoreError,
    UnknownModelError,
)
from .local import FileCheck, Installed, Store
from .manifest import FileRecord, Manifest
from .progress import Progress, Silent
from .pulling import Pulled, PullRequest, pull

__all__ = [
    "BadNameError",
    "Catalogue",
    "DamagedError",
    "Entry",
    "FileCheck",
    "FileRecord",
    "Installed",
    "Manifest",
    "NoSpaceError",
    "OfflineError",
    "Progress",
    "PullRequest",
    "Pulled",
    "Silent",
    "SourceUnavailableError",
    "Store",
    "StoreError",
    "UnknownModelError",
    "catalogue",
    "pull",
]
