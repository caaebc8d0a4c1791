"""Frames in which each note of a recording may sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList

from .framing import Framing

__all__ = ["NO_NOTE", "SoundingNotes"]

NO_NOTE = -1
# Seconds before its onset from which a note may sound, as onsets are not exact; length of its
# attack, counted from there; and seconds after its end for which dampers and room sound.
_LEAD = 0.03
_ATTACK = 0.25
_RELEASE = 0.3


class SoundingNotes:
    """Notes, and the frames in which each may sound.

    A note sounds from just before its onset until its end by key and pedal, and a little longer,
    but no longer than until the onset of the next note of its key, which then begins there.

    Parameters
    ----------
    notes : NoteList
        Notes whose ends are those of their keys, with the pedal, or of their sounds.
    framing : Framing
        Frames of the recording.
    n_frames : int
        Number of frames of the recording.
    offset : float, default=0.0
        Seconds by which the recording is later than the notes.

    Attributes
    ----------
    pitches : ndarray of int, shape (n_pitches,)
        Pitches that are played, ascending.
    spans : ndarray of int, shape (n_notes, 2)
        First frame of each note, and the one after its last.
    n_note_frames : int
        Frames of all spans together.
    offset : float
        As given.

    Examples
    --------
    >>> notes = NoteList([0.5, 1.0], [1.0, 2.0], [60, 60], [70, 70])
    >>> SoundingNotes(notes, Framing(16000), n_frames=100).spans
    array([[12, 26],
           [26, 59]])
    """

    def __init__(
        self, notes: NoteList, framing: Framing, n_frames: int, offset: float = 0.0
    ) -> None:
        self.offset = offset
        self.pitches = np.unique(notes.pitch)
        self._keys = np.searchsorted(self.pitches, notes.pitch)
        held = notes.pedalled()
        self._n_attack = round(_ATTACK / framing.hop_duration)

        def frames(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
            return seconds / framing.hop_duration + framing.frame_at(offset)

        first = np.floor(frames(held.onset - _LEAD))
        onset = np.floor(frames(held.onset))
        last = np.ceil(frames(held.offset + _RELEASE))
        last = np.minimum(last, np.floor(frames(held.next_onset)))
        ends = np.zeros(len(self.pitches))  # of the notes before, for each key
        for i, key in enumerate(self._keys):
            first[i] = max(first[i], ends[key])
            if last[i] > onset[i]:
                ends[key] = last[i]
            else:  # it is struck again at once
                last[i] = first[i]
        spans = np.stack([first, last]).clip(0, n_frames)
        self.spans = spans.T.astype(np.int64)
        lengths = self.spans[:, 1] - self.spans[:, 0]
        self._start = np.cumsum(lengths) - lengths
        self.n_note_frames = int(lengths.sum())

    def note_of_key(self, frames: slice) -> NDArray[np.int64]:
        """Tell which note each key may sound in each frame, or NO_NOTE: (n_pitches, n_frames)."""
        start, stop = frames.start, frames.stop
        note = np.full((len(self.pitches), stop - start), NO_NOTE)
        inside = np.flatnonzero((self.spans[:, 0] < stop) & (self.spans[:, 1] > start))
        for index in inside:
            first, last = self.spans[index] - start
            note[self._keys[index], max(first, 0) : last] = index
        return note

    def place(self, note: NDArray[np.int64], frames: slice) -> NDArray[np.int64]:
        """Find the places of frames among those of all notes, one note after the other.

        `note`, (..., n_frames), tells the note of each of the frames; the result has its shape.
        """
        return self._start[note] + np.arange(frames.start, frames.stop) - self.spans[note, 0]

    def timbres(self, note: NDArray[np.int64], frames: slice) -> NDArray[np.bool_]:
        """Tell which timbres of each key may sound: attack, sustain and decay.

        `note` is the result of :meth:`note_of_key` for the frames; the result has shape
        (n_pitches, 3, n_frames).
        """
        sounds = note != NO_NOTE
        age = np.arange(frames.start, frames.stop) - self.spans[note, 0]
        return np.stack([sounds & (age < self._n_attack), sounds, sounds], axis=1)
