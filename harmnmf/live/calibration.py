"""What a live transcription knows of a piano before it is played."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from harmnmf.errors import FormatError, HarmnmfError, ParameterError
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.storage.files import make_folder
from harmnmf.validation import check_number, real_array

__all__ = ["LiveCalibration", "calibration_path", "list_calibrations"]

_KIND = "live-calibration"
_SUFFIX = ".safetensors"
_MAX_BYTES = 2**22
_MOST_TUNING = 12.0  # semitones
_LONGEST_NAME = 100  # bytes
# Not in the names of files on Windows; the last are control characters.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


@dataclass(frozen=True, eq=False)
class LiveCalibration:
    """Tuning, response and level of a piano in its room, as its microphone records it.

    Parameters
    ----------
    tuning : float
        Semitones by which the piano is sharper than A4 = 440 Hz.
    level : float
        Magnitude of its loud parts.
    response : ndarray, shape (n_bands,)
        Gains of the bands of :func:`harmnmf.nmf.solvers.convolutive.room_bands`.
    metadata : mapping, optional
        JSON values by name, such as ``{"duration": 20.0, "sample_rate": 44100}``: seconds that were
        heard, and the sample rate of the input. Files also have their ``"date"``.

    Raises
    ------
    ParameterError
        If a value is not finite, the tuning is more than an octave, the level is not above 0, or a
        gain is below 0.

    Examples
    --------
    >>> import tempfile
    >>> calibration = LiveCalibration(-0.1, 0.5, np.ones(50, np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = calibration.save(f"{folder}/upright.safetensors")
    ...     LiveCalibration.load(path).tuning
    -0.1
    """

    tuning: float
    level: float
    response: NDArray[np.float32]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_number("tuning", self.tuning, -_MOST_TUNING, _MOST_TUNING)
        check_number("level", self.level, above=0)
        response = real_array("response", self.response)
        if response.ndim != 1 or not response.size:
            raise ParameterError(f"response must have shape (n_bands,), not {response.shape}")
        if not (np.isfinite(response).all() and (response >= 0).all()):
            raise ParameterError("response must be finite gains of at least 0")
        response = response.astype(np.float32)
        response.flags.writeable = False
        object.__setattr__(self, "tuning", float(self.tuning))
        object.__setattr__(self, "level", float(self.level))
        object.__setattr__(self, "response", response)
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    def save(self, name: str | os.PathLike[str]) -> Path:
        """Keep the calibration by the name of the piano, or write it to a file.

        Parameters
        ----------
        name : str or path-like
            As of :func:`calibration_path`. What was kept by this name is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ParameterError
            If the name is no name of a file.
        HarmnmfError
            If the file cannot be written.
        """
        path = calibration_path(name)
        if path.parent == _folder():
            make_folder(path.parent)
        about = {"date": datetime.date.today().isoformat(), **self.metadata}
        values = {"kind": _KIND, "tuning": self.tuning, "level": self.level, "about": about}
        save_arrays(path, {"response": self.response}, values)
        return path

    @classmethod
    def load(cls, name: str | os.PathLike[str]) -> LiveCalibration:
        """Read a calibration by the name of the piano, or from a file.

        Parameters
        ----------
        name : str or path-like
            A name of :func:`list_calibrations`, or the path of a file.

        Raises
        ------
        HarmnmfError
            If there is none of that name; the message lists the names.
        FormatError
            If the file is not a calibration, or damaged.
        """
        path = calibration_path(name)
        if not path.exists():
            known = ", ".join(list_calibrations())
            which = f"known: {known}" if known else "none is kept yet"
            raise HarmnmfError(
                f"{name}: no such calibration ({which}; or give a file); make one with `harmnmf "
                "listen --calibrate NAME`"
            )
        arrays, values = load_arrays(path, kind=_KIND, max_bytes=_MAX_BYTES)
        try:
            return cls(values["tuning"], values["level"], arrays["response"], values["about"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: damaged calibration ({error}); make it again") from error


def calibration_path(name: str | os.PathLike[str]) -> Path:
    """Return the file of a calibration, which may not exist.

    Parameters
    ----------
    name : str or path-like
        Name of a piano, whose file is in the user's data folder; or the path of a file, with a
        folder or the suffix ``.safetensors``.

    Raises
    ------
    ParameterError
        If the name is empty or long, or has characters that names of files cannot have.

    Examples
    --------
    >>> calibration_path("Bechstein at home").name
    'Bechstein at home.safetensors'
    >>> calibration_path("upright.safetensors").parts
    ('upright.safetensors',)
    """
    text = os.fspath(name)
    if os.path.dirname(text) or text.lower().endswith(_SUFFIX):
        return Path(text)
    is_long = len(os.fsencode(text)) > _LONGEST_NAME
    if is_long or _FORBIDDEN.search(text) or not text.strip() or text.startswith("."):
        raise ParameterError(
            f"{text!r} cannot be the name of a piano; use a short one of letters, digits and spaces"
        )
    return _folder() / f"{text}{_SUFFIX}"


def list_calibrations() -> dict[str, Path]:
    """Return the files of the calibrations that the user has kept, by the names of the pianos."""
    return {path.stem: path for path in sorted(_folder().glob(f"[!.]*{_SUFFIX}"))}


def _folder() -> Path:
    return platformdirs.user_data_path("harmnmf", appauthor=False, roaming=True) / "pianos"
