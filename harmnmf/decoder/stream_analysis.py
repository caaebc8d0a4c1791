"""Analysis of a stream while it is played: samples to spectra to activations to features.

What a recording tells as a whole is estimated from what was heard so far: the level, the response
of the room, and the tuning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.convolutive import room_bands
from harmnmf.nmf.solvers.sliding import SlidingActivations
from harmnmf.signal.spectrogram import LogFrequency
from harmnmf.signal.tuning import estimate_tuning

from .features import FeatureSettings, NoteFeatures
from .levels import AUDIBLE, RunningLevel
from .running_tuning import RunningTuning
from .treble import widen_treble

__all__ = ["StreamAnalysis", "measure_stream"]


class StreamAnalysis:
    """Measure the features of a stream, step by step.

    Samples are analysed in pieces of the same length, so that the features are the same to the bit
    in whatever blocks they arrive.

    Parameters
    ----------
    dictionary : TimbreDictionary
        Dictionary.
    settings : FeatureSettings
        Settings with a sliding window.
    tuning : float, default=0.0
        Semitones by which the piano is sharper than the dictionary, to begin with.
    track_tuning : bool, default=False
        Whether the tuning is estimated from what was heard.
    level : float, optional
        Magnitude of the loud parts to begin with. Default: unknown.
    response : ndarray, shape (n_bands,), optional
        Response of the room to begin with. Default: unknown.

    Raises
    ------
    ParameterError
        If the settings are not those of a stream, or the response has other bands.
    """

    def __init__(
        self,
        dictionary: TimbreDictionary,
        settings: FeatureSettings,
        *,
        tuning: float = 0.0,
        track_tuning: bool = False,
        level: float | None = None,
        response: NDArray[np.float32] | None = None,
    ) -> None:
        front_ends = [settings.front_end, settings.onset_front_end]
        self._front_ends = [x for x in front_ends if isinstance(x, LogFrequency)]
        if settings.sliding is None or len(self._front_ends) < len(front_ends):
            raise ParameterError(
                "a stream needs settings with a sliding window and logarithmic frequency"
            )
        self.settings, self.sliding = settings, settings.sliding
        hop_duration = settings.front_end.hop_length / settings.front_end.sample_rate
        self._level = RunningLevel(level)
        self.tuning = tuning
        self._tracker = None
        if track_tuning:
            spectra = dictionary.W.reshape(dictionary.axis.n_bins, -1)
            self._tracker = RunningTuning(
                dictionary.axis, estimate_tuning(spectra, dictionary.axis)
            )
        self._spectra = [front_end.in_tune(tuning).stream() for front_end in self._front_ends]
        for stream in self._spectra:
            # The first transform computes the kernels: before the first samples arrive.
            stream.front_end.transform_frames(torch.zeros(1, stream.front_end.n_fft))
        hop, n_step = settings.front_end.hop_length, self.sliding.n_step
        self._samples = np.empty(0, np.float32)
        # The first piece ends where the first step is complete, and every other one as well.
        self._piece = hop * (n_step - 1) + settings.front_end.look_ahead
        self._pieces = hop * n_step
        self._frames = np.empty((2 * dictionary.axis.n_bins, 0), np.float32)
        bands = room_bands(dictionary.axis)
        assert bands is not None  # the frequencies are logarithmic
        if response is not None and len(response) != bands.shape[1]:
            raise ParameterError(
                f"the response of the room has {len(response)} bands, and that of the dictionary "
                f"{bands.shape[1]}; calibrate again with this dictionary"
            )
        self.solver = SlidingActivations(
            torch.tensor(widen_treble(dictionary)),
            dictionary.n_attack,
            n_window=self.sliding.n_frames,
            n_iter=settings.n_iter,
            bands=bands,
            u=None if response is None else torch.tensor(response),
            reverberation=settings.room(hop_duration),
        )

    @property
    def level(self) -> float:
        """Magnitude of the loud parts."""
        return self._level.level

    @property
    def response(self) -> NDArray[np.float32]:
        """Response of the room, (n_bands,)."""
        return self.solver.u.numpy().copy()

    def push(self, samples: ArrayLike) -> list[NoteFeatures]:
        """Take the next samples, (n_samples,); return the features of each complete step."""
        self._samples = np.append(self._samples, np.asarray(samples, np.float32))
        steps = []
        while len(self._samples) >= self._piece:
            piece, self._samples = np.split(self._samples, [self._piece])
            steps += self._analyse(np.concatenate([x.push(piece) for x in self._spectra]))
            self._piece = self._pieces
        return steps

    def finish(self) -> list[NoteFeatures]:
        """End the stream; return the features of the last steps."""
        frames = [np.append(x.push(self._samples), x.finish(), axis=1) for x in self._spectra]
        missing = -(self._frames.shape[1] + frames[0].shape[1]) % self.sliding.n_step
        return self._analyse(np.pad(np.concatenate(frames), ((0, 0), (0, missing))))

    def _analyse(self, frames: NDArray[np.float32]) -> list[NoteFeatures]:
        frames = np.append(self._frames, frames, axis=1)
        n_step = self.sliding.n_step
        n_frames = frames.shape[1] // n_step * n_step
        self._frames = frames[:, n_frames:]
        return [
            self._step(np.split(frames[:, n : n + n_step], 2)) for n in range(0, n_frames, n_step)
        ]

    def _step(self, spectra: Sequence[NDArray[np.float32]]) -> NoteFeatures:
        V = torch.from_numpy(np.ascontiguousarray(spectra[0]))
        self.solver.push(V, audible=AUDIBLE * self.level)
        rows = torch.cat([self.solver.A[:, None], self.solver.S], dim=1).numpy()
        n_window, n_step = self.sliding.n_frames, self.sliding.n_step
        aged = [rows[..., n_window - age - n_step : n_window - age] for age in self.sliding.ages]
        level = self._level.push(spectra[0])
        if self._tracker is not None and (change := self._tracker.push(spectra[0], level)):
            self.tuning += change
            for stream, front_end in zip(self._spectra, self._front_ends, strict=True):
                stream.front_end = front_end.in_tune(self.tuning)
        arrays = (*spectra, np.concatenate(aged, axis=1))
        return NoteFeatures(*(self.settings.levels(x, level) for x in arrays))


def measure_stream(
    samples: ArrayLike, dictionary: TimbreDictionary, settings: FeatureSettings
) -> NoteFeatures:
    """Measure the features of a whole signal as those of a stream, to train a network on.

    `samples`, (n_samples,), are in tune with the dictionary, at its sample rate.
    """
    analysis = StreamAnalysis(dictionary, settings)
    return NoteFeatures.join(analysis.push(samples) + analysis.finish())
