"""Decode notes and the sustain pedal from the probabilities of a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.reverberation import Reverberation
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.front_end import FrontEnd
from harmnmf.storage.files import atomic_path
from harmnmf.validation import check_number

from .analysis import AnalysedBlock, Recording
from .network import NoteNetwork, NoteProbabilities, join_frames
from .onsets import (
    ONSET,
    SHORTEST_NOTE,
    SHORTEST_PEDAL,
    are_overtones,
    measure_onsets,
    onset_thresholds,
    repetition_frames,
)
from .rules import check_thresholds, note_ends

__all__ = ["NetworkDecoder", "NotePosteriors", "PosteriorDecoder", "decode_posteriors"]


@dataclass(frozen=True, eq=False)
class NotePosteriors:
    """Probabilities of onsets, notes, offsets and the pedal in consecutive frames.

    Parameters
    ----------
    onset, sounding, offset : ndarray, shape (n_pitches, n_frames)
        Probabilities; those of onsets and offsets fall to either side within two frames.
    velocity : ndarray, shape (n_pitches, n_frames)
        Velocity of a note that begins here, as a fraction of 127.
    pedal : ndarray, shape (n_frames,)
        Probability that the sustain pedal is down.
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    hop_duration : float
        Seconds from frame to frame.
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
        for name, values in self.probabilities._asdict().items():
            if name != "pedal" and np.shape(values) != shape:
                raise ParameterError(f"{name} must have the shape {shape} of the others")
            if not ((values >= 0) & (values <= 1)).all():
                raise ParameterError(f"{name} must be from 0 to 1")
        check_number("hop_duration", self.hop_duration, above=0)

    @property
    def probabilities(self) -> NoteProbabilities:
        """The five arrays, as the network returns them."""
        return NoteProbabilities(self.onset, self.sounding, self.offset, self.velocity, self.pedal)

    def __getitem__(self, frames: slice) -> NotePosteriors:
        """Select consecutive frames."""
        arrays = NoteProbabilities._make(array[..., frames] for array in self.probabilities)
        return NotePosteriors(*arrays, self.pitches, self.hop_duration)

    @classmethod
    def join(cls, parts: Iterable[NotePosteriors]) -> NotePosteriors:
        """Concatenate consecutive parts, at least one."""
        parts = list(parts)
        arrays = join_frames([part.probabilities for part in parts])
        return cls(*arrays, parts[0].pitches, parts[0].hop_duration)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the posteriors to an .npz file, which `numpy.load` reads."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **vars(self))


class PosteriorDecoder:
    """Decode notes from the probabilities of consecutive frames.

    The notes do not depend on where the frames are cut. For each past frame, 89 bytes are kept for
    88 keys: whether each key sounds, and whether the pedal is down.

    Parameters
    ----------
    pitches : ndarray of int, shape (n_pitches,)
        MIDI numbers of the keys.
    hop_duration : float
        Seconds from frame to frame.
    onset_threshold : float, default=0.4
        Minimum probability of an onset; two thirds of it on the lowest and the highest keys. Higher
        values give fewer, more certain notes.
    offset_threshold : float, default=0.5
        A note ends when the probability that it sounds falls below this, or when the pedal that
        holds it is released, and at the latest when its key is struck again.
    latency : float, default=0.0
        Seconds subtracted from all onsets. By default they lie where the sound begins; positive
        values move them towards the motion of the keys.
    """

    def __init__(
        self,
        pitches: NDArray[np.int64],
        hop_duration: float,
        *,
        onset_threshold: float = 0.4,
        offset_threshold: float = 0.5,
        latency: float = 0.0,
    ) -> None:
        check_thresholds(
            onset_threshold=onset_threshold, offset_threshold=offset_threshold, latency=latency
        )
        check_number("hop_duration", hop_duration, above=0)
        self.pitches = pitches
        self.hop_duration = hop_duration
        self.onset_threshold = onset_threshold
        self.offset_threshold = offset_threshold
        self.latency = latency
        self._thresholds = onset_thresholds(pitches, onset_threshold)[:, None]
        # An onset is the maximum of this many frames on either side.
        self._reach = repetition_frames(hop_duration)
        self._sounding = [np.empty((len(pitches), 0), bool)]
        self._pedal = [np.empty(0, bool)]
        self._onsets = [np.empty(0, ONSET)]
        # The last frames pushed, the index of the first of them, and the index of the first frame
        # that has not been searched for onsets.
        self._onset = self._velocity = np.empty((len(pitches), 0), np.float32)
        self._start = self._next = 0

    def push(self, posteriors: NotePosteriors) -> None:
        """Take the probabilities of the next frames, of any number."""
        self._sounding.append(posteriors.sounding >= self.offset_threshold)
        self._pedal.append(posteriors.pedal > 0.5)
        self._onset = np.concatenate([self._onset, posteriors.onset], axis=1)
        self._velocity = np.concatenate([self._velocity, posteriors.velocity], axis=1)
        # Later frames may still exceed the last ones.
        self._find_onsets(self._onset.shape[1] - self._reach)

    def finish(self) -> NoteList:
        """Decode the notes and the pedal, after the last frames."""
        self._find_onsets(self._onset.shape[1])
        hop = self.hop_duration
        found = np.concatenate(self._onsets)
        found = found[np.lexsort((found["frame"], found["key"]))]
        found = found[~are_overtones(found, self.pitches, hop)]
        onsets = (found["position"] * hop - self.latency).clip(min=0.0)
        sounding = np.concatenate(self._sounding, axis=1)
        ends = note_ends(sounding, np.ones(len(found)), found["key"], found["frame"], 2)
        offsets = np.maximum(ends * hop, onsets + SHORTEST_NOTE)
        pedal = _runs(np.concatenate(self._pedal)) * hop
        pedal = pedal[pedal[:, 1] - pedal[:, 0] >= SHORTEST_PEDAL]
        notes = NoteList(onsets, offsets, self.pitches[found["key"]], found["velocity"], pedal)
        # The pedal is more reliable than the end of a note that has faded.
        held = notes.without_overlaps().pedalled()
        return NoteList(held.onset, held.offset, held.pitch, held.velocity, pedal)

    def _find_onsets(self, end: int) -> None:
        """Find the onsets before a frame, and drop the frames that are no longer needed."""
        first = self._next - self._start
        if end <= first:
            return
        onset = self._onset
        highest = ndimage.maximum_filter1d(onset, 2 * self._reach + 1, axis=1)
        is_peak = (onset == highest) & (onset > self._thresholds)
        # The second of two equal neighbours is the same onset.
        is_peak[:, 1:] &= ~is_peak[:, :-1]
        keys, frames = np.nonzero(is_peak[:, first:end])
        found = measure_onsets(onset, self._velocity, keys, frames + first, self._start)
        self._onsets.append(found)
        self._next = self._start + end
        # The next frame must know whether the last of these was a peak.
        kept = max(0, end - 1 - self._reach)
        self._onset, self._velocity = onset[:, kept:], self._velocity[:, kept:]
        self._start += kept


class NetworkDecoder:
    """Decode notes with a network while a recording is analysed.

    Thresholds are those of :class:`PosteriorDecoder`.
    """

    def __init__(self, network: NoteNetwork, recording: Recording, **thresholds: float) -> None:
        self.network = network
        self.recording = recording
        self._decoder = PosteriorDecoder(
            recording.dictionary.pitches, recording.hop_duration, **thresholds
        )

    @property
    def front_ends(self) -> list[FrontEnd]:
        """Front ends of the spectra in a block."""
        return [self.recording.dictionary.front_end, self.network.settings.onset_front_end]

    @property
    def reverberation(self) -> Reverberation:
        """Decay of the room that the recording is analysed with."""
        return self.network.settings.room(self.recording.hop_duration)

    def push(self, block: AnalysedBlock) -> NotePosteriors:
        """Take the next block; return its probabilities without the context."""
        level = self.recording.level
        features = self.network.settings.measure(block.spectra, block.activations, level)
        posteriors = NotePosteriors(
            *self.network.probabilities(features), self._decoder.pitches, self._decoder.hop_duration
        )[block.inner]
        self._decoder.push(posteriors)
        return posteriors

    def finish(self) -> NoteList:
        """Decode the notes, after the last block."""
        return self._decoder.finish()

    def analyse(self, blocks: Iterable[AnalysedBlock]) -> NotePosteriors:
        """Compute the probabilities of a whole recording."""
        return NotePosteriors.join(map(self.push, blocks))


def decode_posteriors(posteriors: NotePosteriors, **thresholds: float) -> NoteList:
    """Decode notes, which end where their sound does, and the pedal from a whole recording.

    Thresholds are those of :class:`PosteriorDecoder`.
    """
    decoder = PosteriorDecoder(posteriors.pitches, posteriors.hop_duration, **thresholds)
    decoder.push(posteriors)
    return decoder.finish()


def _runs(active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First frame of each run of true values and first frame after it, shape (n_runs, 2)."""
    edges = np.diff(np.pad(active, 1).astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)
