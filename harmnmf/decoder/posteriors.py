"""From what the network says of each key and frame to notes and the sustain pedal."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.storage.files import atomic_path

from .network import NoteProbabilities
from .rules import check_thresholds

__all__ = ["NotePosteriors", "PosteriorDecoder", "decode_posteriors"]

# Defaults, of the whole and of the stream alike.
_ONSET_THRESHOLD = 0.45
_OFFSET_THRESHOLD = 0.4
_LATENCY = 0.02
# Seconds. Two onsets of a key are further apart than a quick repetition.
_REPETITION = 0.06
_SHORTEST_NOTE = 0.04
_SHORTEST_PEDAL = 0.1
# Row of the key, frame of the peak, where in frames it lies, and MIDI velocity.
_ONSET = np.dtype([("key", "i8"), ("frame", "i8"), ("position", "f8"), ("velocity", "i8")])


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
        _check(self.probabilities, len(self.pitches))
        _check_hop(self.hop_duration)

    @property
    def probabilities(self) -> NoteProbabilities:
        """The probabilities alone, as the network gives them."""
        return NoteProbabilities(self.onset, self.sounding, self.offset, self.velocity, self.pedal)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the posteriors to an .npz file, which `numpy.load` reads.

        Parameters
        ----------
        path : path-like
            File to write or replace.

        Raises
        ------
        HarmnmfError
            If the file cannot be written.
        """
        names = (
            "onset", "sounding", "offset", "velocity", "pedal", "pitches", "hop_duration"
        )  # fmt: skip
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **{name: getattr(self, name) for name in names})


class PosteriorDecoder:
    """Decodes notes while the network reads a recording.

    The notes are those of :func:`decode_posteriors`, wherever the frames are cut. All that is kept
    of a frame is whether each key sounds and whether the pedal is down, 89 bytes for 88 keys.

    Parameters
    ----------
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    hop_duration : float
        Seconds from frame to frame.
    onset_threshold, offset_threshold, latency : float
        As in :func:`decode_posteriors`.

    Raises
    ------
    ParameterError
        If a threshold or the latency is not finite, or `hop_duration` is not positive.

    Examples
    --------
    >>> onset, sounding, offset, velocity = np.zeros((4, 88, 100), np.float32)
    >>> onset[39, 49:52], sounding[39, 50:80], velocity[39, 50] = [0.5, 1, 0.5], 1.0, 0.5
    >>> said = NoteProbabilities(onset, sounding, offset, velocity, np.zeros(100, np.float32))
    >>> decoder = PosteriorDecoder(np.arange(21, 109), 0.02, latency=0.0)
    >>> decoder.push(NoteProbabilities(*(x[..., :50] for x in said)))
    >>> decoder.push(NoteProbabilities(*(x[..., 50:] for x in said)))
    >>> decoder.finish().intervals
    array([[1. , 1.6]])
    """

    def __init__(
        self,
        pitches: NDArray[np.int64],
        hop_duration: float,
        *,
        onset_threshold: float = _ONSET_THRESHOLD,
        offset_threshold: float = _OFFSET_THRESHOLD,
        latency: float = _LATENCY,
    ) -> None:
        check_thresholds(onset_threshold, offset_threshold, latency)
        _check_hop(hop_duration)
        self.pitches = pitches
        self.hop_duration = hop_duration
        self.onset_threshold = onset_threshold
        self.offset_threshold = offset_threshold
        self.latency = latency
        # Frames on either side in which an onset is the highest.
        self._reach = max(1, round(_REPETITION / hop_duration))
        self._silent = [np.empty((len(pitches), 0), bool)]
        self._pedal = [np.empty(0, bool)]
        self._onsets = [np.empty(0, _ONSET)]
        # The tail of what was pushed, the frame that it begins with, and the first frame whose
        # onsets have not been looked for.
        self._onset = self._velocity = np.empty((len(pitches), 0), np.float32)
        self._start = self._next = 0

    def push(self, said: NoteProbabilities) -> None:
        """Take the next frames.

        Parameters
        ----------
        said : NoteProbabilities
            What the network says of them; any number of frames.

        Raises
        ------
        ParameterError
            If the shapes disagree, or a value is not from 0 to 1.
        """
        _check(said, len(self.pitches))
        self._silent.append(said.sounding < self.offset_threshold)
        self._pedal.append(said.pedal > 0.5)
        self._onset = np.concatenate([self._onset, said.onset], axis=1)
        self._velocity = np.concatenate([self._velocity, said.velocity], axis=1)
        # What comes may be higher than the last of them.
        self._find_onsets(self._onset.shape[1] - self._reach)

    def finish(self) -> NoteList:
        """Decode the notes, when all frames have been pushed.

        Returns
        -------
        NoteList
            The notes, which end where their sound does, and the pedal.
        """
        self._find_onsets(self._onset.shape[1])
        hop = self.hop_duration
        found = np.concatenate(self._onsets)
        found = found[np.lexsort((found["frame"], found["key"]))]
        onsets = (found["position"] * hop - self.latency).clip(min=0.0)
        ends = _ends(np.concatenate(self._silent, axis=1), found["key"], found["frame"])
        offsets = np.maximum(ends * hop, onsets + _SHORTEST_NOTE)
        pedal = _runs(np.concatenate(self._pedal)) * hop
        pedal = pedal[pedal[:, 1] - pedal[:, 0] >= _SHORTEST_PEDAL]
        notes = NoteList(onsets, offsets, self.pitches[found["key"]], found["velocity"], pedal)
        # The pedal is surer than the end of a note that has faded.
        sounding = notes.without_overlaps().pedalled()
        return NoteList(sounding.onset, sounding.offset, sounding.pitch, sounding.velocity, pedal)

    def _find_onsets(self, end: int) -> None:
        """Find the onsets up to a frame of the tail, and cut off what is not needed any more."""
        first = self._next - self._start
        if end <= first:
            return
        onset = self._onset
        highest = ndimage.maximum_filter1d(onset, 2 * self._reach + 1, axis=1)
        is_peak = (onset == highest) & (onset > self.onset_threshold)
        # The second of two equal neighbours is the same onset.
        is_peak[:, 1:] &= ~is_peak[:, :-1]
        keys, frames = np.nonzero(is_peak[:, first:end])
        frames += first
        found = np.empty(len(keys), _ONSET)
        found["key"], found["frame"] = keys, self._start + frames
        found["position"] = found["frame"] + _peak_offset(onset, keys, frames)
        found["velocity"] = np.round(127 * self._velocity[keys, frames]).clip(1, 127)
        self._onsets.append(found)
        self._next = self._start + end
        # Whether the last of these frames was a peak is asked once more, by its neighbour.
        kept = max(0, end - 1 - self._reach)
        self._onset, self._velocity = onset[:, kept:], self._velocity[:, kept:]
        self._start += kept


def decode_posteriors(
    posteriors: NotePosteriors,
    *,
    onset_threshold: float = _ONSET_THRESHOLD,
    offset_threshold: float = _OFFSET_THRESHOLD,
    latency: float = _LATENCY,
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
    decoder = PosteriorDecoder(
        posteriors.pitches,
        posteriors.hop_duration,
        onset_threshold=onset_threshold,
        offset_threshold=offset_threshold,
        latency=latency,
    )
    decoder.push(posteriors.probabilities)
    return decoder.finish()


def _check(said: NoteProbabilities, n_pitches: int) -> None:
    """Refuse what are no probabilities of this many keys."""
    shape = (n_pitches, len(said.pedal))
    for name, values in said._asdict().items():
        if name != "pedal" and np.shape(values) != shape:
            raise ParameterError(f"{name} must have the shape {shape} of the others")
        if not ((values >= 0) & (values <= 1)).all():
            raise ParameterError(f"{name} must be from 0 to 1")


def _check_hop(hop_duration: float) -> None:
    if not 0 < hop_duration < np.inf:
        raise ParameterError("hop_duration must be positive seconds")


def _peak_offset(
    onset: NDArray[np.float32], keys: NDArray[np.int64], peaks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Frames from each peak's frame to the summit of the triangle through its neighbours."""
    padded = np.pad(onset, ((0, 0), (1, 1))).astype(np.float64)
    before, at, after = (padded[keys, peaks + d] for d in range(3))
    rise = at - np.minimum(before, after)
    return 0.5 * (after - before) / np.where(rise > 0, rise, np.inf)


def _ends(
    silent: NDArray[np.bool_], keys: NDArray[np.int64], peaks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """First frame after each onset in which its note no longer sounds."""
    ends = np.full(len(keys), silent.shape[1])
    ends[:-1] = np.where(np.diff(keys) == 0, peaks[1:], ends[:-1])
    for i, (key, peak) in enumerate(zip(keys, peaks, strict=True)):
        after = silent[key, peak + 2 : ends[i]]
        if after.any():
            ends[i] = peak + 2 + after.argmax()
    return ends


def _runs(active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First frame of each run of true values, and the first after it, shape (n_runs, 2)."""
    edges = np.diff(np.pad(active, 1).astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)
