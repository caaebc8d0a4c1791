"""Timbre dictionaries: spectra of the attack, sustain and decay of each piano key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import FormatError, ParameterError
from harmnmf.signal.front_end import FrontEnd
from harmnmf.signal.harmonics import FrequencyAxis
from harmnmf.signal.spectrogram import front_end_from_dict
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.storage.shipped import find_file, shipped_files
from harmnmf.validation import check_integer, check_number

from .keys import scale_timbres
from .tuning import IN_TUNE, measure_tuning, overall_tuning, shift_spectra

__all__ = ["TimbreDictionary", "shipped_dictionaries", "with_tuning"]

_KIND = "timbre-dictionary"
_MAX_BYTES = 2**28  # a hundred times the size of the default dictionary


@dataclass(frozen=True, eq=False)
class TimbreDictionary:
    """Magnitude spectra of piano keys, several per key (timbres).

    Parameters
    ----------
    W : ndarray, shape (n_bins, n_pitches, n_timbres)
        Magnitudes, not negative. The first `n_attack` timbres of a key are the successive frames
        of its attack, with an average sum over the bins of 1 per frame; the others (sustain,
        decay) can sound at any time, each with a sum of 1. They are those of the piano tuned to
        A4 = 440 Hz as a whole, which is what networks are trained on.
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys, ascending.
    front_end : FrontEnd
        Time-frequency transform of the spectra.
    n_attack : int
        Number of attack frames, from 1 to n_timbres.
    attack_lead : float
        Seconds from the centre of the first attack frame to the start of the sound.
    metadata : mapping, optional
        JSON metadata: name, sources, licence, attribution.
    tuning : array_like, scalar or shape (n_pitches,), default=0.0
        Deviation of each key of the piano from equal temperament at A4 = 440 Hz in semitones,
        before it was tuned. The spectra keep what is not common to all keys.

    Raises
    ------
    ParameterError
        If a shape does not fit or a value is out of range.

    Examples
    --------
    >>> dictionary = TimbreDictionary.load("default")
    >>> dictionary.W.shape, int(dictionary.pitches[0]), dictionary.n_attack
    ((390, 88, 12), 21, 10)
    """

    W: NDArray[np.float32]
    pitches: NDArray[np.int64]
    front_end: FrontEnd
    n_attack: int
    attack_lead: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tuning: ArrayLike = 0.0

    def __post_init__(self) -> None:
        if np.asarray(self.W).dtype.kind not in "fiu":
            raise ParameterError("W must be real numbers")
        with np.errstate(over="ignore"):  # overflow is reported below, as not finite
            W = np.array(self.W, dtype=np.float32)
        pitches = np.asarray(self.pitches)
        if pitches.dtype.kind not in "iu":
            raise ParameterError(f"pitches must be whole numbers, not {pitches.dtype}")
        pitches = pitches.astype(np.int64)
        if pitches.ndim != 1 or len(pitches) == 0:
            raise ParameterError(f"pitches must be of shape (n_pitches,), not {pitches.shape}")
        if W.ndim != 3 or W.shape[:2] != (self.axis.n_bins, len(pitches)):
            raise ParameterError(
                f"W must have shape ({self.axis.n_bins}, {len(pitches)}, n_timbres), not {W.shape}"
            )
        if not (np.isfinite(W).all() and (W >= 0).all()):
            raise ParameterError("W must be finite and not negative")
        if not (np.diff(pitches) > 0).all() or not ((pitches >= 0) & (pitches <= 127)).all():
            raise ParameterError("pitches must be ascending MIDI numbers from 0 to 127")
        check_integer("n_attack", self.n_attack, 1, W.shape[2])
        check_number("attack_lead", self.attack_lead, 0, below=1)
        tuning = np.array(self.tuning, dtype=np.float64)
        if tuning.shape not in ((), pitches.shape) or not np.isfinite(tuning).all():
            raise ParameterError("tuning must be a finite number of semitones for each pitch")
        tuning = np.broadcast_to(tuning, pitches.shape).copy()
        for array in (W, pitches, tuning):
            array.flags.writeable = False
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "pitches", pitches)
        object.__setattr__(self, "tuning", tuning)
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and a pickled array loses its read-only flag.
        values = {**vars(self), "metadata": dict(self.metadata)}
        return partial(TimbreDictionary, **values), ()

    @property
    def axis(self) -> FrequencyAxis:
        """Frequency axis of the spectra."""
        return self.front_end.axis

    @property
    def overall_tuning(self) -> float:
        """Deviation of the piano as a whole from A4 = 440 Hz in semitones."""
        return overall_tuning(self.tuning, self.pitches)

    @property
    def timbre_names(self) -> list[str]:
        """Name of each timbre, of length n_timbres."""
        n_free = self.W.shape[2] - self.n_attack
        free = ["sustain", "decay"] if n_free == 2 else [f"sustain {j + 1}" for j in range(n_free)]
        hop = 1000 * self.front_end.hop_length / self.front_end.sample_rate
        start = 1000 * self.attack_lead
        return [f"attack {j * hop - start:+.0f} ms" for j in range(self.n_attack)] + free

    def save(self, path: str | PathLike[str]) -> None:
        """Write the dictionary to a safetensors file, which may exist already.

        Raises
        ------
        HarmnmfError
            If the file cannot be written.
        """
        description = {
            "kind": _KIND,
            "front_end": self.front_end.to_dict(),
            "n_attack": self.n_attack,
            "attack_lead": self.attack_lead,
            "about": dict(self.metadata),
        }
        arrays: dict[str, NDArray[Any]] = {
            "W": self.W, "pitches": self.pitches, "tuning": np.asarray(self.tuning)
        }  # fmt: skip
        save_arrays(path, arrays, description)

    @classmethod
    def load(cls, source: str | PathLike[str]) -> TimbreDictionary:
        """Read a dictionary from a file, or a shipped one by name.

        Older files have no tuning. It is measured, and spectra that are out of tune are shifted.

        Parameters
        ----------
        source : str or path-like
            A name of :func:`shipped_dictionaries`, or the path of a file.

        Raises
        ------
        HarmnmfError
            If there is no such file, or (FormatError) it is not a dictionary, or damaged.
        """
        path = find_file(source, shipped_dictionaries(), "dictionary")
        arrays, description = load_arrays(path, kind=_KIND, max_bytes=_MAX_BYTES)
        try:
            dictionary = cls(
                arrays["W"],
                arrays["pitches"],
                front_end_from_dict(description["front_end"]),
                description["n_attack"],
                description["attack_lead"],
                description["about"],
                arrays.get("tuning", 0.0),
            )
        except (ArithmeticError, KeyError, TypeError, ValueError, FormatError) as error:
            raise FormatError(f"{path}: damaged timbre dictionary ({error})") from error
        return dictionary if "tuning" in arrays else _in_tune(dictionary)


def shipped_dictionaries() -> dict[str, Path]:
    """Return the paths of the dictionaries that are shipped with harmnmf, by name.

    Examples
    --------
    >>> sorted(shipped_dictionaries())
    ['default', 'live']
    """
    return shipped_files("harmnmf", "data")


def with_tuning(dictionary: TimbreDictionary, overall: float = 0.0) -> TimbreDictionary:
    """Measure the tuning of the spectra of a dictionary.

    `overall` are the semitones by which the piano was sharp before its spectra were tuned.
    """
    free = dictionary.W[:, :, dictionary.n_attack :].sum(axis=2)
    tuning = measure_tuning(free, dictionary.pitches, dictionary.axis)
    return replace(dictionary, tuning=overall + (0.0 if tuning is None else tuning))


def _in_tune(dictionary: TimbreDictionary) -> TimbreDictionary:
    """Shift the spectra if they are out of tune."""
    measured = with_tuning(dictionary)
    overall = measured.overall_tuning
    if abs(overall) <= IN_TUNE:
        return measured
    shifted = shift_spectra(dictionary.W, dictionary.axis, -overall)
    return replace(measured, W=scale_timbres(shifted, dictionary.n_attack).astype(np.float32))
