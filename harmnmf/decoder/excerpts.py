"""Training excerpts of the note network: features and notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError
from harmnmf.notes.note_list import NoteList
from harmnmf.storage.arrays import load_arrays, save_arrays
from harmnmf.validation import check_number

from .features import FeatureSettings, NoteFeatures
from .network import NoteProbabilities

__all__ = ["NoteExcerpt"]

_KIND = "note-excerpt"
_NOTE_FIELDS = ("onset", "offset", "pitch", "velocity", "pedal")
# Frames over which the target of an onset or an offset falls from 1 to 0. The frames beside an
# onset determine its position between frames.
_WIDTH = 2.0


@dataclass(frozen=True, eq=False)
class NoteExcerpt:
    """Features of an excerpt and its notes.

    Notes are in seconds from the first frame, with offsets where the sound ends, and the pedal;
    `hop_duration` is in seconds. `settings` are those that the features were measured with.
    """

    features: NoteFeatures
    notes: NoteList
    hop_duration: float
    settings: FeatureSettings = field(default_factory=FeatureSettings)

    def __post_init__(self) -> None:
        check_number("hop_duration", self.hop_duration, above=0)

    def targets(self, frames: slice = slice(None)) -> NoteProbabilities:
        """Compute the targets of a network for all frames, or for consecutive ones.

        Onsets and offsets are triangles, so that neighbouring frames encode positions between
        frames; velocities are defined where onsets are not 0.

        Examples
        --------
        >>> silence = np.zeros((390, 50), np.uint8)
        >>> features = NoteFeatures(silence, silence, np.zeros((88, 3, 50), np.uint8))
        >>> notes = NoteList([0.21], [0.6], [60], [100])
        >>> NoteExcerpt(features, notes, 0.02).targets().onset[39, 8:14]
        array([0.  , 0.25, 0.75, 0.75, 0.25, 0.  ], dtype=float32)
        """
        chosen = range(self.features.n_frames)[frames]
        first, n_frames = chosen.start, len(chosen)
        pitches, notes = self.settings.pitches, self.notes
        onset, sounding, offset, velocity = np.zeros((4, len(pitches), n_frames), np.float32)
        start, end = (notes.intervals / self.hop_duration).T
        inside = (start < first + n_frames + _WIDTH) & (end > first - _WIDTH)
        for key, begin, finish, loudness in zip(
            (notes.pitch - pitches[0])[inside],
            start[inside],
            end[inside],
            (notes.velocity / 127)[inside],
            strict=True,
        ):
            around = _add_triangle(onset[key], begin, first)
            velocity[key, around] = loudness
            _add_triangle(offset[key], finish, first)
            down, up = round(begin) - first, max(round(finish), round(begin) + 1) - first
            sounding[key, max(0, down) : max(0, up)] = 1
        pedal = np.zeros(n_frames, np.float32)
        for down, up in np.round(notes.pedal / self.hop_duration).astype(int) - first:
            pedal[max(0, down) : max(0, up)] = 1
        return NoteProbabilities(onset, sounding, offset, velocity, pedal)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the excerpt to a safetensors file."""
        notes = {f"note_{name}": getattr(self.notes, name) for name in _NOTE_FIELDS}
        arrays = {**self.features.arrays, **notes}
        settings = self.settings.to_dict()
        metadata = {"kind": _KIND, "hop_duration": self.hop_duration, "settings": settings}
        save_arrays(path, arrays, metadata)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> NoteExcerpt:
        """Read an excerpt, or raise FormatError if the file is missing or damaged."""
        arrays, description = load_arrays(path, kind=_KIND)
        try:
            notes = NoteList(*(arrays.pop(f"note_{name}") for name in _NOTE_FIELDS))
            settings = FeatureSettings.from_dict(description["settings"])
            return cls(NoteFeatures(**arrays), notes, description["hop_duration"], settings)
        except (FormatError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: damaged excerpt ({error})") from error


def _add_triangle(row: NDArray[np.float32], centre: float, first: int) -> slice:
    """Add a triangle at a fractional frame to a row that begins at frame `first`.

    Returns the frames of the row that it covers.
    """
    begin = max(0, int(np.ceil(centre - _WIDTH)) - first)
    frames = slice(begin, max(begin, int(np.floor(centre + _WIDTH)) + 1 - first))
    distance = np.abs(np.arange(first, first + len(row))[frames] - centre)
    row[frames] = np.maximum(row[frames], 1 - distance / _WIDTH)
    return frames
