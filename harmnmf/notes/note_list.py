"""Note lists: onset, offset, pitch and velocity of notes, and the sustain pedal.

Times are in seconds, pitches are MIDI numbers (A4 = 69), velocities are MIDI velocities.
:mod:`harmnmf.notes.files` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.signal.harmonics import pitch_to_hz

__all__ = ["NoteList", "note_order"]

# Values of MIDI controller 64: fully down, and the least at which the pedal counts as down.
_DOWN = 127
_HALF = 64


@dataclass(frozen=True, eq=False, init=False)
class NoteList:
    """Notes sorted by onset, then pitch, and the sustain pedal.

    Arrays are validated, copied, sorted and made read-only.

    Parameters
    ----------
    onset, offset : array_like, shape (n_notes,)
        Start and end of each note in seconds, ``0 <= onset < offset``.
    pitch : array_like of int, shape (n_notes,)
        MIDI note numbers, 0 to 127.
    velocity : array_like of int, shape (n_notes,)
        MIDI velocities, 1 to 127.
    pedal : array_like, shape (n_intervals, 2), optional
        Start and end in seconds of each interval during which the sustain pedal is down;
        overlapping intervals are merged.
    pedal_values : array_like, shape (n_values, 2), optional
        Instead of `pedal`: the time in seconds of each movement of the sustain pedal, in ascending
        order, and its position then, the value of MIDI controller 64 from 0 to 127. `pedal` is
        where it is at least 64; the last value must be less.

    Attributes
    ----------
    pedal, pedal_values : ndarray
        Both are there whichever was given; `pedal` gives the values 127 and 0.

    Raises
    ------
    ParameterError
        If the lengths differ, a value is not finite or out of range, or both `pedal` and
        `pedal_values` are given.

    Examples
    --------
    >>> notes = NoteList(onset=[0.5, 0.0], offset=[1.0, 0.4], pitch=[64, 60], velocity=[80, 70])
    >>> notes.pitch
    array([60, 64])
    >>> len(notes)
    2
    """

    onset: NDArray[np.float64]
    offset: NDArray[np.float64]
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]
    pedal: NDArray[np.float64]
    pedal_values: NDArray[np.float64]

    def __init__(
        self,
        onset: ArrayLike,
        offset: ArrayLike,
        pitch: ArrayLike,
        velocity: ArrayLike,
        pedal: ArrayLike = (),
        pedal_values: ArrayLike = (),
    ) -> None:
        on, off = _floats("onset", onset), _floats("offset", offset)
        number, loudness = _floats("pitch", pitch), _floats("velocity", velocity)
        if on.ndim != 1 or len({values.shape for values in (on, off, number, loudness)}) != 1:
            raise ParameterError("onset, offset, pitch and velocity must be 1-D and of one length")
        _check_notes(on, off, number, loudness)
        order = note_order(on, off, number, loudness)
        intervals, values = _pedal(_floats("pedal", pedal), _floats("pedal_values", pedal_values))
        fields = {
            "onset": on[order],
            "offset": off[order],
            "pitch": number[order].astype(np.int64),
            "velocity": loudness[order].astype(np.int64),
            "pedal": intervals,
            "pedal_values": values,
        }
        for name, array in fields.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return self.onset.size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NoteList):
            return NotImplemented
        return all(np.array_equal(values, vars(other)[name]) for name, values in vars(self).items())

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled array loses its read-only flag.
        columns = (self.onset, self.offset, self.pitch, self.velocity)
        return NoteList, (*columns, (), self.pedal_values)

    @property
    def intervals(self) -> NDArray[np.float64]:
        """Onset and offset of each note in seconds, shape (n_notes, 2)."""
        return np.column_stack([self.onset, self.offset])

    @property
    def hz(self) -> NDArray[np.float64]:
        """Fundamental frequency of each note in Hz at A4 = 440 Hz, shape (n_notes,)."""
        return pitch_to_hz(self.pitch)

    @property
    def next_onset(self) -> NDArray[np.float64]:
        """Onset of the next note of the same pitch, infinity for the last, shape (n_notes,)."""
        following = np.full(len(self), np.inf)
        order = np.argsort(self.pitch, kind="stable")
        same = self.pitch[order][1:] == self.pitch[order][:-1]
        following[order[:-1][same]] = self.onset[order[1:][same]]
        return following

    def slice(self, start: float, end: float) -> NoteList:
        """Select the notes with ``start <= onset < end``; their times do not change.

        Parameters
        ----------
        start, end : float
            Seconds, in ascending order. Offsets are cut at `end`, the pedal at both.

        Raises
        ------
        ParameterError
            If `end` is not after `start`.

        Examples
        --------
        >>> notes = NoteList([0, 1, 2], [1.5, 4, 4], [60, 62, 64], [70, 70, 70])
        >>> notes.slice(1, 2).intervals
        array([[1., 2.]])
        """
        if not end > start:
            raise ParameterError(f"the end of a slice, {end} s, must be after its start, {start} s")
        kept = (start <= self.onset) & (self.onset < end)
        return NoteList(
            self.onset[kept],
            np.minimum(self.offset[kept], end),
            self.pitch[kept],
            self.velocity[kept],
            pedal_values=_clipped(self.pedal_values, start, end),
        )

    def shift(self, seconds: float) -> NoteList:
        """Move all notes and the pedal in time.

        Parameters
        ----------
        seconds : float
            Positive values move to later times. Notes are cut at time zero, and dropped if they end
            before it.

        Examples
        --------
        >>> NoteList([0.01, 1], [0.5, 2], [60, 62], [70, 70]).shift(-0.25).intervals
        array([[0.  , 0.25],
               [0.75, 1.75]])
        """
        kept = self.offset + seconds > 0
        return NoteList(
            np.maximum(self.onset[kept] + seconds, 0.0),
            self.offset[kept] + seconds,
            self.pitch[kept],
            self.velocity[kept],
            pedal_values=_clipped(self.pedal_values + np.array([seconds, 0.0]), 0.0, np.inf),
        )

    def without_overlaps(self) -> NoteList:
        """Cut each note at the next onset of its pitch.

        Among notes with equal onset and pitch, the longest is kept.

        Examples
        --------
        >>> NoteList([0, 1], [3, 2], [60, 60], [70, 80]).without_overlaps().intervals
        array([[0., 1.],
               [1., 2.]])
        """
        following = self.next_onset
        kept = following > self.onset
        return NoteList(
            self.onset[kept],
            np.minimum(self.offset, following)[kept],
            self.pitch[kept],
            self.velocity[kept],
            pedal_values=self.pedal_values,
        )

    def pedalled(self) -> NoteList:
        """Extend the offsets by the sustain pedal.

        A note released while the pedal is down ends when the pedal is released or at the next
        onset of its pitch, whichever comes first.

        Returns
        -------
        NoteList
            With an empty `pedal`.

        Examples
        --------
        >>> notes = NoteList([0, 1], [0.5, 3], [60, 62], [70, 70], pedal=[[0.2, 2.0]])
        >>> notes.pedalled().offset
        array([2., 3.])
        """
        offset = self.offset.copy()
        if len(self.pedal):
            latest = np.searchsorted(self.pedal[:, 0], offset, side="right") - 1
            release = np.where(latest >= 0, self.pedal[latest, 1], 0.0)
            offset = np.maximum(offset, np.minimum(release, self.next_onset))
        return NoteList(self.onset, offset, self.pitch, self.velocity)


def note_order(
    onset: NDArray[Any],
    offset: NDArray[Any],
    pitch: NDArray[Any],
    velocity: NDArray[Any],
) -> NDArray[np.int64]:
    """Order in which a note list has notes: sorted by onset, then pitch.

    Parameters
    ----------
    onset, offset, pitch, velocity : ndarray, shape (n_notes,)
        As of :class:`NoteList`.

    Returns
    -------
    ndarray of int, shape (n_notes,)
        Indices of the notes. Offset and velocity break ties, so that the order of the input never
        matters.

    Examples
    --------
    >>> note_order([1, 0], [2, 1], [60, 62], [70, 70])
    array([1, 0])
    """
    return np.lexsort((velocity, offset, pitch, onset))


def _check_notes(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.float64],
    velocity: NDArray[np.float64],
) -> None:
    """Raise ParameterError if a value is out of range."""
    rules = (
        (np.isfinite(onset) & (onset >= 0), "onset {0} s is not a time from 0 on"),
        (np.isfinite(offset) & (offset > onset), "offset {1} s is not after onset {0} s"),
        (_whole(pitch, 0, 127), "pitch {2} is not a whole number from 0 to 127"),
        (_whole(velocity, 1, 127), "velocity {3} is not a whole number from 1 to 127"),
    )
    for good, message in rules:
        if not good.all():
            i = int(np.argmin(good))
            values = onset[i], offset[i], pitch[i], velocity[i]
            raise ParameterError(f"note {i}: {message.format(*values)}")


def _whole(values: NDArray[np.float64], low: int, high: int) -> NDArray[np.bool_]:
    return (values >= low) & (values <= high) & (np.floor(values) == values)


def _floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        if np.iscomplexobj(values):  # NumPy only warns when it drops the imaginary part
            raise TypeError("complex numbers")
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must be an array of numbers") from error


def _pedal(
    intervals: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Derive the values of the pedal from its intervals, or its intervals from the values."""
    if values.size == 0:
        intervals = _merged(intervals)
        positions = np.tile([_DOWN, 0.0], len(intervals))
        return intervals, np.column_stack([intervals.ravel(), positions])
    if intervals.size:
        raise ParameterError("pedal and pedal_values must not both be given")
    if values.ndim != 2 or values.shape[1] != 2:
        raise ParameterError(f"pedal_values must have the shape (n_values, 2), not {values.shape}")
    time, position = values.T
    if not (np.isfinite(time).all() and time[0] >= 0 and (np.diff(time) >= 0).all()):
        raise ParameterError("the times of pedal_values must be finite, from 0 on, and ascend")
    if not (_whole(position, 0, 127).all() and position[-1] < _HALF):
        raise ParameterError("pedal_values must be whole, from 0 to 127, and less than 64 at last")
    is_down = np.concatenate([[False], position >= _HALF])
    moves = np.diff(is_down.astype(np.int8))
    return _with_length(np.column_stack([time[moves == 1], time[moves == -1]])), values


def _merged(intervals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort the intervals of the pedal and merge those that overlap.

    Intervals that touch stay apart: the pedal was changed between them, which ends notes.
    """
    if intervals.size == 0:
        return np.empty((0, 2))
    if intervals.ndim != 2 or intervals.shape[1] != 2:
        raise ParameterError(f"pedal must have the shape (n_intervals, 2), not {intervals.shape}")
    start, end = intervals[np.argsort(intervals[:, 0], kind="stable")].T
    if not (np.isfinite(intervals).all() and start[0] >= 0 and (end > start).all()):
        raise ParameterError(
            "pedal intervals must be finite, start at 0 or later, and have a length"
        )
    reached = np.maximum.accumulate(end)
    first = np.concatenate([[True], start[1:] >= reached[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.column_stack([start[first], reached[last]])


def _with_length(intervals: NDArray[np.float64]) -> NDArray[np.float64]:
    return intervals[intervals[:, 1] > intervals[:, 0]]


def _clipped(values: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """Select the values of the pedal from start to end, where it is released."""
    before, until = np.searchsorted(values[:, 0], [start, end])
    clipped = values[before:until]
    if before and values[before - 1, 1] > 0:
        clipped = np.concatenate([[[start, values[before - 1, 1]]], clipped])
    if len(clipped) and clipped[-1, 1] >= _HALF:
        clipped = np.concatenate([clipped, [[end, 0.0]]])
    return clipped
