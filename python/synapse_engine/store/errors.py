"""What can go wrong with local models. Each error says what happened; ``hint`` says what to do next."""


class StoreError(Exception):
    """Base class of everything the store raises on purpose."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class BadNameError(StoreError):
    """A model name that is not one."""


class UnknownModelError(StoreError):
    """A model that is neither installed nor in the catalogue."""


class SourceUnavailableError(StoreError):
    """A source that cannot deliver now; another one may."""


class DamagedError(StoreError):
    """Bytes that are not what their digest, size or format says."""


class NoSpaceError(StoreError):
    """The disk cannot hold the model."""


class OfflineError(StoreError):
    """Something would have to be fetched, and that was forbidden."""
