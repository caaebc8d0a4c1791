"""From what the network says of each key and frame to notes and the sustain pedal."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .decoding import check_thresholds
from .errors import ParameterError
from .notes import NoteList
from .storage import save_arrays

__all__ = ["NotePosteriors", "decode_posteriors"]

# Seconds. Two onsets of a key are further apart than a quick repetition.
_REPETITION = 0.06
_SHORTEST_NOTE = 0.04
_SHORTEST_PEDAL = 0.1


@dataclass(frozen=True, eq=False)
class NotePosteriors:
    """How probable it is that each key begins, sounds and ends in each frame of a recording.

    Parameters
    ----------
    onset, sounding, offset : ndarray, shape (n_pitches, n_frames)
        Probabilities, of onsets and offsets falling to either side within two frames.
    velocity : ndarray, shape (n_pitches, n_frames)
        Of a note that begins here, as a fraction of 127.
    pedal : ndarray, shape (n_frames,)
        Probability that the sustain pedal is down.
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    hop_duration : float
        Seconds from frame to frame.

    Raises
    ------
    ParameterError
        If the shapes disagree, or a value is not from 0 to 1.
    """

    onset: NDArray[np.float32]
    sounding: NDArray[np.float32]
    offset: NDArray[np.float32]
    velocity: NDArray[np.float32]
    pedal: NDArray[np.float32]
    pitches: NDArray[np.int64]
    hop_duration: float

    def __post_init__(self) -> None:
        shape = (len(self.pitches), len(self.pedal))
        for name in ("onset", "sounding", "offset", "velocity"):
            if np.shape(getattr(self, name)) != shape:
                raise ParameterError(f"{name} must have the shape {shape} of the others")
        for name in ("onset", "sounding", "offset", "velocity", "pedal"):
            values = getattr(self, name)
            if not ((values >= 0) & (values <= 1)).all():
                raise ParameterError(f"{name} must be from 0 to 1")
        if not 0 < self.hop_duration < np.inf:
            raise ParameterError("hop_duration must be positive seconds")

    def save(self, path: str | PathLike[str]) -> None:
        """Write the posteriors to one .npz file, without pickle.

        Parameters
        ----------
        path : path-like
            Where to write; an existing file is replaced.

        Raises
        ------
        HarmnmfError
            If the file cannot be written.
        """
        names = ("onset", "sounding", "offset", "velocity", "pedal", "pitches")
        arrays = {name: getattr(self, name) for name in names}
        save_arrays(path, arrays, {"kind": "note-posteriors", "hop_duration": self.hop_duration})


def decode_posteriors(
    posteriors: NotePosteriors,
    *,
    onset_threshold: float = 0.45,
    offset_threshold: float = 0.4,
    latency: float = 0.02,
) -> NoteList:
    """Decode notes from what the network says of a recording.

    Parameters
    ----------
    posteriors : NotePosteriors
        Of a whole recording.
    onset_threshold : float, default=0.45
        Probability that an onset needs: higher gives fewer notes, and surer ones.
    offset_threshold : float, default=0.4
        A note ends when the probability that it sounds falls below this, or when the pedal is
        released that holds it, and at the latest when its key is struck again.
    latency : float, default=0.02
        Seconds from the moment that a key goes down to its sound, by which onsets are moved
        forward: one constant for all pianos.

    Returns
    -------
    NoteList
        The notes, which end where their sound does, and the pedal.

    Raises
    ------
    ParameterError
        If a threshold or the latency is not finite.

    Examples
    --------
    >>> onset, sounding, offset, velocity = np.zeros((4, 88, 100), np.float32)
    >>> onset[39, 49:52], sounding[39, 50:80], velocity[39, 50] = [0.5, 1, 0.5], 1.0, 0.5
    >>> pedal = np.zeros(100, np.float32)
    >>> keys = np.arange(21, 109)
    >>> notes = decode_posteriors(
    ...     NotePosteriors(onset, sounding, offset, velocity, pedal, keys, 0.02), latency=0.0
    ... )
    >>> notes.pitch, notes.onset, notes.offset, notes.velocity
    (array([60]), array([1.]), array([1.6]), array([64]))
    """
    check_thresholds(onset_threshold, offset_threshold, latency)
    hop = posteriors.hop_duration
    onset = posteriors.onset
    width = 2 * max(1, round(_REPETITION / hop)) + 1
    highest = ndimage.maximum_filter1d(onset, width, axis=1)
    keys, peaks = np.nonzero((onset == highest) & (onset > onset_threshold))
    # The second of two equal neighbours is the same onset.
    first = (np.diff(keys, prepend=-1) != 0) | (np.diff(peaks, prepend=-1) != 1)
    keys, peaks = keys[first], peaks[first]
    onsets = ((peaks + _peak_offset(onset, keys, peaks)) * hop - latency).clip(min=0.0)
    ends = _ends(posteriors.sounding, keys, peaks, offset_threshold)
    offsets = np.maximum(ends * hop, onsets + _SHORTEST_NOTE)
    velocities = np.round(127 * posteriors.velocity[keys, peaks]).clip(1, 127).astype(np.int64)
    pedal = _runs(posteriors.pedal > 0.5) * hop
    pedal = pedal[pedal[:, 1] - pedal[:, 0] >= _SHORTEST_PEDAL]
    notes = NoteList(onsets, offsets, posteriors.pitches[keys], velocities, pedal)
    # The pedal is surer than the end of a note that has faded.
    sounding = notes.without_overlaps().pedalled()
    return NoteList(sounding.onset, sounding.offset, sounding.pitch, sounding.velocity, pedal)


def _peak_offset(
    onset: NDArray[np.float32], keys: NDArray[np.int64], peaks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Frames from each peak's frame to the summit of the triangle through its neighbours."""
    padded = np.pad(onset, ((0, 0), (1, 1))).astype(np.float64)
    before, at, after = (padded[keys, peaks + d] for d in range(3))
    rise = at - np.minimum(before, after)
    return 0.5 * (after - before) / np.where(rise > 0, rise, np.inf)


def _ends(
    sounding: NDArray[np.float32],
    keys: NDArray[np.int64],
    peaks: NDArray[np.int64],
    threshold: float,
) -> NDArray[np.int64]:
    """First frame after each onset in which its note no longer sounds."""
    ends = np.full(len(keys), sounding.shape[1])
    ends[:-1] = np.where(np.diff(keys) == 0, peaks[1:], ends[:-1])
    for i, (key, peak) in enumerate(zip(keys, peaks, strict=True)):
        silent = sounding[key, peak + 2 : ends[i]] < threshold
        if silent.any():
            ends[i] = peak + 2 + silent.argmax()
    return ends


def _runs(active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First frame of each run of true values, and the first after it, shape (n_runs, 2)."""
    edges = np.diff(np.pad(active, 1).astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)
