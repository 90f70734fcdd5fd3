"""A small model that this package brings along. Knows where it lies; copying it is the same as for any folder."""

from pathlib import Path

from synapse_engine import models
from synapse_engine.store.catalogue import BundledSource

from .folder import FolderSource


class BundledModel(FolderSource):
    """Needs no network."""

    def __init__(self, source: BundledSource, licence: str | None) -> None:
        super().__init__(Path(models.__file__).parent / source.folder)
        self.label = f"bundled {source.folder}"
        self.licence = licence
