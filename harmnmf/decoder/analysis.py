"""Analysis of a recording in blocks: samples to spectra to activations to features.

A block overlaps its neighbours by two seconds of context on either side, so that notes across its
borders are analysed whole. Each block estimates the response of the room for itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.nmf.solvers.convolutive import NoteActivations, estimate_note_activations, room_bands
from harmnmf.nmf.solvers.reverberation import Reverberation
from harmnmf.notes.note_list import NoteList
from harmnmf.signal.audio import Audio
from harmnmf.signal.front_end import FrontEnd, Spectrogram
from harmnmf.signal.reading import stream_audio

from .features import FeatureSettings, NoteFeatures
from .levels import reference_level
from .treble import widen_treble

__all__ = [
    "AnalysedBlock", "BlockAnalysis", "OverlappingBlocks", "Recording", "measure_features"
]  # fmt: skip

# Seconds that a block shares with the next on either side of their border.
_CONTEXT = 2.0


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording prepared for analysis.

    Parameters
    ----------
    source : Audio, str or path-like
        Samples or file.
    dictionary : TimbreDictionary
        Dictionary for this recording.
    tuning : float
        Semitones by which the recording is sharper than the dictionary.
    calibration : Spectrogram
        Spectrogram of minutes that hold notes, in tune with the dictionary, with the sample rate at
        which the source is to be read.
    intervals : sequence of (float, float), optional
        Where these minutes lie in the part to analyse, in seconds. Default: at its beginning.
    mix : ndarray, shape (n_channels,), optional
        Weights of the source's channels. Default: their average.
    start : float, default=0.0
        Start of the part of the source to analyse, in seconds.
    duration : float, optional
        Length of that part in seconds. Default: to the end.
    if_empty : str, optional
        Warning if no notes are found.
    """

    source: Audio | str | PathLike[str]
    dictionary: TimbreDictionary
    tuning: float
    calibration: Spectrogram
    intervals: Sequence[tuple[float, float]] = ()
    mix: NDArray[np.float64] | None = None
    start: float = 0.0
    duration: float | None = None
    if_empty: str = "no notes were found"

    @property
    def sample_rate(self) -> int:
        """Sample rate at which the source is read, in Hz."""
        return self.calibration.sample_rate

    @property
    def hop_duration(self) -> float:
        """Seconds from frame to frame."""
        return self.calibration.hop_length / self.calibration.sample_rate

    @cached_property
    def level(self) -> float:
        """Magnitude of the loud parts."""
        return reference_level(self.calibration.values)

    def check_notes(self, notes: NoteList) -> None:
        """Warn if no notes were found."""
        if not len(notes):
            warnings.warn(self.if_empty, stacklevel=3)

    def spectrogram(self, start: float, duration: float) -> Spectrogram:
        """Compute the spectrogram of a part, in tune with the dictionary."""
        if self.duration is not None:
            duration = min(duration, self.duration - start)
        blocks = stream_audio(
            self.source,
            sample_rate=self.sample_rate,
            mix=self.mix,
            offset=self.start + start,
            duration=duration,
        )
        values = self.dictionary.front_end.transform(np.concatenate(list(blocks))).values
        return replace(self.calibration, values=values, start=start)


class AnalysedBlock(NamedTuple):
    """Consecutive frames of a recording.

    Magnitudes of each front end, (n_bins, n_frames); activations of the dictionary for the first of
    them; and the frames that are not context.
    """

    spectra: list[NDArray[np.float32]]
    activations: NoteActivations
    inner: slice


class OverlappingBlocks:
    """Cut a stream of frames into blocks with context on either side.

    A block has at least `n_frames` frames that are not context, unless the recording is shorter.

    Examples
    --------
    >>> blocks = OverlappingBlocks(n_frames=2, context=1)
    >>> blocks.push(np.arange(5.0)[None])
    [(array([[0., 1., 2.]]), slice(0, 2, None))]
    >>> blocks.finish()
    (array([[1., 2., 3., 4.]]), slice(1, 4, None))
    """

    def __init__(self, n_frames: int, context: int) -> None:
        self.n_frames = n_frames
        self.context = context
        self._buffer: NDArray[np.float32] | None = None
        self._start = 0  # first frame in the buffer that no block has had as an inner one

    def push(self, frames: NDArray[np.float32]) -> list[tuple[NDArray[np.float32], slice]]:
        """Take the next frames; return the complete blocks, each with its inner frames."""
        if self._buffer is not None:
            frames = np.concatenate([self._buffer, frames], axis=1)
        blocks = []
        while frames.shape[1] - self._start >= 2 * self.n_frames + self.context:
            end = self._start + self.n_frames
            blocks.append((frames[:, : end + self.context], slice(self._start, end)))
            kept = max(0, end - self.context)
            frames, self._start = frames[:, kept:], end - kept
        self._buffer = frames
        return blocks

    def finish(self) -> tuple[NDArray[np.float32], slice]:
        """Return the last block, after at least one push."""
        assert self._buffer is not None
        return self._buffer, slice(self._start, self._buffer.shape[1])


class BlockAnalysis:
    """Compute spectra and activations of a recording that arrives in blocks.

    Parameters
    ----------
    recording : Recording
        The recording.
    front_ends : sequence of FrontEnd
        Front ends of the spectra, the dictionary's first; all with the same bins and frames.
    n_iter : int
        Iterations of the solver.
    reverberation : Reverberation, optional
        Decay of the room along time. Default: none.
    block_duration : float, default=30.0
        Seconds in a block, without context.
    device : str, default="cpu"
        PyTorch device.
    """

    def __init__(
        self,
        recording: Recording,
        front_ends: Sequence[FrontEnd],
        *,
        n_iter: int,
        reverberation: Reverberation | None = None,
        block_duration: float = 30.0,
        device: str = "cpu",
    ) -> None:
        self.recording = recording
        self.n_iter = n_iter
        self.reverberation = reverberation
        self.block_duration = block_duration
        self.device = device
        self._W = torch.tensor(widen_treble(recording.dictionary), device=device)
        self._bands = room_bands(recording.dictionary.axis, device)
        self._spectra = [front_end.stream() for front_end in front_ends]
        lengths = (max(1, round(x / recording.hop_duration)) for x in (block_duration, _CONTEXT))
        self._blocks = OverlappingBlocks(*lengths)

    def push(self, samples: NDArray[np.float32]) -> list[AnalysedBlock]:
        """Take the next samples; return the blocks that are complete."""
        frames = np.concatenate([spectrum.push(samples) for spectrum in self._spectra])
        return [self._analyse(*block) for block in self._blocks.push(frames)]

    def finish(self) -> list[AnalysedBlock]:
        """Return the last blocks, after at least one push."""
        frames = np.concatenate([spectrum.finish() for spectrum in self._spectra])
        blocks = [*self._blocks.push(frames), self._blocks.finish()]
        return [self._analyse(*block) for block in blocks]

    def run(self, progress: Callable[[float], None] | None = None) -> Iterator[AnalysedBlock]:
        """Read the recording from its source, and yield its blocks; their inner frames cover it.

        `progress` is called with the seconds of audio done so far.
        """
        n_done = 0
        for block in self._blocks_of_source():
            yield block
            n_done += block.inner.stop - block.inner.start
            if progress is not None:
                progress(n_done * self.recording.hop_duration)

    def _blocks_of_source(self) -> Iterator[AnalysedBlock]:
        for samples in stream_audio(
            self.recording.source,
            sample_rate=self.recording.sample_rate,
            mix=self.recording.mix,
            offset=self.recording.start,
            duration=self.recording.duration,
            block_duration=self.block_duration,
        ):
            yield from self.push(samples)
        yield from self.finish()

    def _analyse(self, frames: NDArray[np.float32], inner: slice) -> AnalysedBlock:
        spectra = np.split(frames, len(self._spectra))
        activations = estimate_note_activations(
            torch.from_numpy(spectra[0]).to(self.device),
            self._W,
            self.recording.dictionary.n_attack,
            bands=self._bands,
            reverberation=self.reverberation,
            max_iter=self.n_iter,
        )
        return AnalysedBlock(spectra, activations, inner)


def measure_features(recording: Recording, settings: FeatureSettings) -> NoteFeatures:
    """Measure the features of a whole recording, to train a network on."""
    front_ends = (recording.dictionary.front_end, settings.onset_front_end)
    blocks = BlockAnalysis(
        recording,
        front_ends,
        n_iter=settings.n_iter,
        reverberation=settings.room(recording.hop_duration),
    ).run()
    return NoteFeatures.join(
        settings.measure(spectra, activations, recording.level)[inner]
        for spectra, activations, inner in blocks
    )
