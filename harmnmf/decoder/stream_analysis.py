"""Analysis of a stream while it is played: samples to spectra to activations to features.

What a recording tells as a whole is estimated from what was heard so far: the level, the response
of the room, and the tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.convolutive import room_bands
from harmnmf.nmf.solvers.sliding import SlidingActivations
from harmnmf.signal.spectrogram import LogFrequency

from .features import FeatureSettings, NoteFeatures
from .levels import RunningLevel
from .treble import widen_treble

__all__ = ["StreamAnalysis", "measure_stream"]


class StreamAnalysis:
    """Measure the features of a stream, step by step.

    Parameters
    ----------
    dictionary : TimbreDictionary
        Dictionary.
    settings : FeatureSettings
        Settings with a sliding window.
    tuning : float, default=0.0
        Semitones by which the piano is sharper than the dictionary.
    level : float, optional
        Magnitude of the loud parts to begin with. Default: unknown.
    response : ndarray, shape (n_bands,), optional
        Response of the room to begin with. Default: unknown.
    """

    def __init__(
        self,
        dictionary: TimbreDictionary,
        settings: FeatureSettings,
        *,
        tuning: float = 0.0,
        level: float | None = None,
        response: NDArray[np.float32] | None = None,
    ) -> None:
        if settings.sliding is None:
            raise ParameterError("these settings are for whole blocks, not for a stream")
        self.settings, self.sliding = settings, settings.sliding
        self.sample_rate = settings.front_end.sample_rate
        self.hop_duration = settings.front_end.hop_length / self.sample_rate
        self._level = RunningLevel(level)
        self._spectra = [
            _tuned(front_end, tuning).stream()
            for front_end in (settings.front_end, settings.onset_front_end)
        ]
        self._frames = np.empty((2 * dictionary.axis.n_bins, 0), np.float32)
        self.solver = SlidingActivations(
            torch.tensor(widen_treble(dictionary)),
            dictionary.n_attack,
            n_window=self.sliding.n_frames,
            n_iter=settings.n_iter,
            bands=room_bands(dictionary.axis),
            u=None if response is None else torch.from_numpy(response),
            reverberation=settings.room(self.hop_duration),
        )

    @property
    def level(self) -> float:
        """Magnitude of the loud parts."""
        return self._level.level

    @property
    def response(self) -> NDArray[np.float32]:
        """Response of the room, (n_bands,)."""
        return self.solver.u.numpy().copy()

    def push(self, samples: ArrayLike) -> NoteFeatures:
        """Take the next samples, (n_samples,); return the features of the frames that are known."""
        return self._analyse(np.concatenate([x.push(samples) for x in self._spectra]))

    def finish(self) -> NoteFeatures:
        """End the stream; return the features of the last frames."""
        frames = np.concatenate([x.finish() for x in self._spectra])
        missing = -(self._frames.shape[1] + frames.shape[1]) % self.sliding.n_step
        return self._analyse(np.pad(frames, ((0, 0), (0, missing))))

    def _analyse(self, frames: NDArray[np.float32]) -> NoteFeatures:
        frames = np.concatenate([self._frames, frames], axis=1)
        n_step = self.sliding.n_step
        n_frames = frames.shape[1] // n_step * n_step
        self._frames = frames[:, n_frames:]
        parts = [
            self._step(np.split(frames[:, n : n + n_step], 2)) for n in range(0, n_frames, n_step)
        ]
        if parts:
            return NoteFeatures.join(parts)
        n_bins, n_pitches = len(frames) // 2, len(self.settings.pitches)
        shapes = (n_bins,), (n_bins,), (n_pitches, self.settings.n_inputs)
        return NoteFeatures(*(np.empty((*shape, 0), np.uint8) for shape in shapes))

    def _step(self, spectra: Sequence[NDArray[np.float32]]) -> NoteFeatures:
        self.solver.push(torch.from_numpy(np.ascontiguousarray(spectra[0])))
        rows = torch.cat([self.solver.A[:, None], self.solver.S], dim=1).numpy()
        n_window, n_step = self.sliding.n_frames, self.sliding.n_step
        aged = [rows[..., n_window - age - n_step : n_window - age] for age in self.sliding.ages]
        level = self._level.push(spectra[0])
        arrays = (*spectra, np.concatenate(aged, axis=1))
        return NoteFeatures(*(self.settings.levels(x, level) for x in arrays))


def measure_stream(
    samples: ArrayLike, dictionary: TimbreDictionary, settings: FeatureSettings
) -> NoteFeatures:
    """Measure the features of a whole signal as those of a stream, to train a network on.

    `samples`, (n_samples,), are in tune with the dictionary, at its sample rate.
    """
    analysis = StreamAnalysis(dictionary, settings)
    return NoteFeatures.join([analysis.push(samples), analysis.finish()])


def _tuned(front_end: LogFrequency, tuning: float) -> LogFrequency:
    """Move a front end's bins up by `tuning` semitones."""
    return replace(front_end, fmin=front_end.fmin * 2 ** (tuning / 12))
