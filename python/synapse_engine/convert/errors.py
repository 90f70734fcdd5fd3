"""What can go wrong when checkpoints are converted or merged. Each error says what happened, ``hint`` what to do."""


class ConvertError(Exception):
    """Base class of everything a conversion or a merge raises on purpose."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        # Names come from files: what a terminal would obey, or could not print, is written out.
        super().__init__("".join(each if each.isprintable() else ascii(each)[1:-1] for each in message))
        self.hint = hint


class DamagedFileError(ConvertError):
    """Bytes that are not what the format of their file asks for."""


class UnsupportedError(ConvertError):
    """A sound file with something in it that the engine cannot run, or that the reader does not follow."""


class MismatchError(ConvertError):
    """Tensors, configuration and tokenizer that do not belong together."""


class MissingFileError(ConvertError):
    """A file that is needed and was not found."""


class TargetError(ConvertError):
    """A target that must not, or cannot, be written."""
