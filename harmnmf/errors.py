"""The exceptions and warnings of harmnmf.

Every error that a caller can act upon derives from `HarmnmfError`, and its message is one
line that names what was wrong and what to do about it.
"""

__all__ = [
    "AudioError",
    "ConvergenceWarning",
    "FormatError",
    "HarmnmfError",
    "NotFittedError",
    "ParameterError",
]

_LONGEST = 2000  # characters


class HarmnmfError(Exception):
    """Base of all errors that harmnmf raises on purpose.

    Examples
    --------
    >>> from harmnmf import HarmnmfError, read_audio
    >>> try:
    ...     read_audio("missing.wav")
    ... except HarmnmfError as error:
    ...     message = str(error)
    """

    def __str__(self) -> str:
        """Say it in one line, and not for pages: what a damaged file holds may be quoted."""
        text = " ".join(super().__str__().splitlines())
        half = _LONGEST // 2
        return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"


class ParameterError(HarmnmfError, ValueError):
    """A parameter has a value outside its domain."""


class AudioError(HarmnmfError):
    """Audio could not be read or written, or its samples cannot be used."""


class FormatError(HarmnmfError):
    """A file is not what it should be: corrupt, of another kind, or of a newer version."""


class NotFittedError(HarmnmfError):
    """An estimator was asked for something that only `fit` provides."""


class ConvergenceWarning(UserWarning):
    """An iteration stopped at its limit before it converged."""
