"""A score for piano: notes on two staves, bars, keys, and the performance that it was found in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList

from .bars import Bars, BeatGrid

__all__ = ["ORNAMENTS", "Key", "Performance", "Score", "ScoreNotes", "sharps_of_bars"]

ORNAMENTS = ("", "grace", "arpeggio", "trill")


@dataclass(frozen=True)
class Key:
    """A key signature, from a bar on.

    Parameters
    ----------
    bar : int
        Index of the first bar.
    fifths : int
        Sharps of the key signature, negative for flats: -7 to 7.
    mode : {"major", "minor"}
        Mode.
    """

    bar: int
    fifths: int
    mode: str = "major"

    def __post_init__(self) -> None:
        if not -7 <= self.fifths <= 7:
            raise ParameterError(f"a key signature has up to 7 sharps or flats, not {self.fifths}")
        if self.mode not in ("major", "minor"):
            raise ParameterError(f"mode must be 'major' or 'minor', not {self.mode!r}")


def sharps_of_bars(keys: Sequence[Key], bar: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the sharps of the key signature in each of some bars, negative for flats.

    Parameters
    ----------
    keys : sequence of Key
        Keys in ascending order of their bars, the first of bar 0.
    bar : ndarray of int, shape (n,)
        Indices of bars.

    Returns
    -------
    ndarray of int, shape (n,)
        Sharps.

    Examples
    --------
    >>> sharps_of_bars([Key(0, 2), Key(8, -1)], np.array([7, 8]))
    array([ 2, -1])
    """
    index = np.searchsorted([key.bar for key in keys], bar, side="right") - 1
    return np.array([key.fifths for key in keys])[index]


@dataclass(frozen=True, eq=False)
class ScoreNotes:
    """Notes of a score as columns of one length, in order of onset, staff, voice and pitch.

    Parameters
    ----------
    onset : ndarray of int, shape (n_notes,)
        Position in ticks.
    duration : ndarray of int, shape (n_notes,)
        Duration in ticks; 0 for a grace note, which is played before its onset.
    pitch : ndarray of int, shape (n_notes,)
        MIDI number.
    staff : ndarray of int, shape (n_notes,)
        1 for the right hand, 2 for the left.
    voice : ndarray of int, shape (n_notes,)
        1 or 2 in each staff; 1 if the staff has one voice only, and for the upper of two. Notes of
        a voice that begin together are a chord, and end together; those of different onsets
        do not overlap. In scores that were read from MusicXML they may.
    fifths : ndarray of int, shape (n_notes,)
        Spelling: the place on the line of fifths, with C at 0, G 1, F -1, F sharp 6, B flat -2.
    ornament : ndarray of str, shape (n_notes,)
        "", or "grace", "arpeggio" (a rolled chord, on each of its notes) or "trill" (on the main
        note, which stands for all that were played).
    """

    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    pitch: NDArray[np.int64]
    staff: NDArray[np.int64]
    voice: NDArray[np.int64]
    fifths: NDArray[np.int64]
    ornament: NDArray[np.str_]

    def __post_init__(self) -> None:
        columns = vars(self)
        if len({column.shape for column in columns.values()}) != 1 or self.onset.ndim != 1:
            raise ParameterError("the columns of a score's notes must be 1-D and of one length")
        if (np.mod(7 * self.fifths - self.pitch, 12) != 0).any():
            raise ParameterError("a note is spelled as another pitch")
        for column in columns.values():
            column.flags.writeable = False

    def __len__(self) -> int:
        return self.onset.size


@dataclass(frozen=True, eq=False)
class Performance:
    """The performance that a score was found in.

    Parameters
    ----------
    notes : NoteList
        Notes as played; offsets are releases of keys.
    grid : BeatGrid
        Beats, and the bars of the score.
    written : ndarray of int, shape (n_played,)
        For each played note the index of its note in the score. A trill has several.
    """

    notes: NoteList
    grid: BeatGrid
    written: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Score:
    """A score for piano.

    Parameters
    ----------
    notes : ScoreNotes
        Notes.
    bars : Bars
        Bars; the notes end with the last, or before.
    keys : tuple of Key
        Key signatures in ascending order of their bars; the first is of bar 0.
    title : str, default=""
        Title.
    performance : Performance, optional
        The performance, if the score was found in one: its bars are `bars`.
    """

    notes: ScoreNotes
    bars: Bars
    keys: tuple[Key, ...]
    title: str = ""
    performance: Performance | None = None

    def __post_init__(self) -> None:
        if not self.keys or self.keys[0].bar != 0:
            raise ParameterError("a score needs a key signature from its first bar on")
