"""What can go wrong in training. Each error says what happened; ``hint`` says what to do next."""


class TrainError(Exception):
    """Base class of everything that training raises on purpose."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(TrainError):
    """A model shape or a setting that does not fit together."""


class DataError(TrainError):
    """Text that is missing, unreadable or too short."""


class CheckpointError(TrainError):
    """A checkpoint that is damaged or belongs to another run."""


class DivergedError(TrainError):
    """A loss that is not a number any more."""
