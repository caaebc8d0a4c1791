"""Exceptions of harmnmf.

Every error that a caller can handle derives from `HarmnmfError`. Its message is one line that says
what is wrong and what to do about it.
"""

__all__ = ["AudioError", "FormatError", "HarmnmfError", "ParameterError"]

_MAX_LENGTH = 2000  # characters


class HarmnmfError(Exception):
    """Base class of the errors that harmnmf raises.

    Examples
    --------
    >>> from harmnmf import HarmnmfError, read_audio
    >>> try:
    ...     read_audio("missing.wav")
    ... except HarmnmfError as error:
    ...     message = str(error)
    """

    def __str__(self) -> str:
        """Return the message in one line of limited length, as it may quote a damaged file."""
        text = " ".join(super().__str__().splitlines())
        half = _MAX_LENGTH // 2
        return text if len(text) <= _MAX_LENGTH else f"{text[:half]} … {text[-half:]}"


class ParameterError(HarmnmfError, ValueError):
    """A parameter is outside its domain."""


class AudioError(HarmnmfError):
    """Audio cannot be read, written or used."""


class FormatError(HarmnmfError):
    """A file is missing, corrupt, or of another kind or version than expected."""
