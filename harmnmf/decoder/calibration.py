"""Choice of the minutes of a recording that its tuning, level and timbre are estimated from.

A recording may begin with silence, the noise of a room, a talk or applause. It is read in segments
until there are enough that hold notes of a piano. Their mark is partials that begin with an attack
and stay at their frequency for half a second: the partials of speech glide, those of noise are
not narrow, and hum does not begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmnmf.signal.audio import Audio
from harmnmf.signal.channels import apply_mix, choose_mix, measure_covariance
from harmnmf.signal.reading import stream_audio

__all__ = ["Calibration", "calibrate"]

_SEGMENT = 5.0  # seconds
# Frames of a Hann window of a quarter of a second, four to a window.
_WINDOW = 0.256  # seconds
_OVERLAP = 4
_RANGE = (30.0, 4000.0)  # Hz
# A partial is steady if the median over this many frames (half a second) is four times the
# geometric mean over 66 Hz around it: harmonic-percussive separation with a separation factor.
_STEADY = 9  # frames
_WIDTH = 66.0  # Hz
_SEPARATION = 4.0
# An attack raises the power of a partial tenfold within 0.2 s.
_ATTACK = 3  # frames
_RISE = 10.0
# Of pianos, 98 % of the segments have a larger share of their sound in such partials; of speech and
# of noise in rooms, hardly one has.
_SHARE = 0.4
# Segments this far below the loudest one with notes (-40 dB) are not part of the music.
_FAINT = 0.01
# Where all notes so far are fainter than this (the mean magnitude of pianos is 0.01 to 0.2), louder
# ones are sought to the end.
_QUIET = 1e-3
# Channels without notes are left out if they are louder than this, relative to notes (-20 dB).
_DISTURBING = 0.1
# More channels are averaged: they would take much memory.
_MAX_CHANNELS = 8
_FADE = 0.02  # seconds
_SILENCE = -70.0  # dB
_SHORT = 0.5  # seconds


@dataclass(frozen=True, eq=False)
class Calibration:
    """The part of a recording that holds notes.

    Parameters
    ----------
    audio : Audio
        Mono samples of the part.
    intervals : tuple of (float, float)
        Where it lies in the recording, in seconds.
    has_notes : bool
        False if no notes were found: the part is then the loudest one.
    mix : ndarray, shape (n_channels,), or None
        Weights of the channels if their mean is not right.
    whole : Audio or None
        Mono samples of the whole recording, if it is not longer than the part that was sought.
    """

    audio: Audio
    intervals: tuple[tuple[float, float], ...]
    has_notes: bool
    mix: NDArray[np.float64] | None
    whole: Audio | None

    def reason_for_no_notes(self) -> str:
        """Say why no notes may have been found."""
        peak = float(np.abs(self.audio.samples).max())
        if peak == 0.0:
            return "all samples are zero"
        if peak < 10 ** (_SILENCE / 20):
            return f"it is silent, with a peak level of {20 * np.log10(peak):.0f} dB"
        if self.whole is not None and self.whole.duration < _SHORT:
            return f"it is only {self.whole.duration:.2f} s long"
        if not self.has_notes:
            return "it has no steady partials that begin with an attack, only noise, hum or speech"
        return "no onset reaches the threshold; with a lower one there are more"


@dataclass(frozen=True, eq=False)
class _Segment:
    """Samples, (n_channels, n_samples), and for each channel its level and that of notes."""

    start: int
    samples: NDArray[np.float32]
    level: NDArray[np.float64]
    note_level: NDArray[np.float64]

    @property
    def end(self) -> int:
        return self.start + self.samples.shape[1]

    def holds_notes(self, loudest: float) -> bool:
        """Return whether a channel has notes, not far below the loudest ones."""
        has_notes = self.note_level > _SHARE * self.level
        return bool((has_notes & (self.note_level > _FAINT * loudest)).any())


def calibrate(
    source: Audio | str | PathLike[str],
    sample_rate: int,
    wanted: float,
    *,
    offset: float = 0.0,
    duration: float | None = None,
) -> Calibration:
    """Find the first minutes of a recording that hold notes, and the mix of its channels.

    Parameters
    ----------
    source : Audio, str or path-like
        The recording. It is read until enough is found.
    sample_rate : int
        Sample rate in Hz of the result.
    wanted : float
        Seconds to find.
    offset, duration : float, optional
        Part of the recording to read, in seconds, from whose start the times in the result count.
        Default: all.

    Returns
    -------
    Calibration
        At most `wanted` seconds. If nothing holds notes, the loudest ones.

    Raises
    ------
    AudioError
        If the recording cannot be read.
    ParameterError
        If a parameter is out of range.
    """
    n_wanted = max(1, round(wanted * sample_rate))
    kept, loudest, n_read = _gather(
        stream_audio(
            source,
            sample_rate=sample_rate,
            mono=False,
            offset=offset,
            duration=duration,
            block_duration=min(_SEGMENT, wanted),
        ),
        sample_rate,
        n_wanted,
    )
    with_notes = [segment for segment in kept if segment.holds_notes(loudest)]
    chosen = with_notes or kept
    mix = _choose_mix(chosen, sample_rate)
    runs = _join(chosen, n_wanted)
    whole = None
    if n_read < n_wanted:
        whole = Audio(np.concatenate([apply_mix(x.samples, mix) for x in kept]), sample_rate)
    return Calibration(
        Audio(_splice([apply_mix(run, mix) for _, run in runs], sample_rate), sample_rate),
        tuple((start / sample_rate, (start + run.shape[1]) / sample_rate) for start, run in runs),
        bool(with_notes),
        mix,
        whole,
    )


def _gather(
    blocks: Iterable[NDArray[np.float32]], sample_rate: int, n_wanted: int
) -> tuple[list[_Segment], float, int]:
    """Read segments until enough of them hold notes, and keep little more than enough.

    Returns the segments that hold notes or, if they are too few, the loudest others; the level of
    the loudest notes; and the number of samples that were read.
    """
    kept: list[_Segment] = []
    n_kept = n_read = 0
    loudest = 0.0

    def rank(segment: _Segment) -> tuple[bool, float]:
        return segment.holds_notes(loudest), float(segment.level.max())

    for block in blocks:
        samples = block.copy() if len(block) <= _MAX_CHANNELS else apply_mix(block, None)[None]
        segment = _Segment(n_read, samples, *_measure_levels(samples, sample_rate))
        kept.append(segment)
        n_kept += samples.shape[1]
        n_read += samples.shape[1]
        if segment.holds_notes(0.0):
            loudest = max(loudest, float(segment.note_level.max()))
        while n_kept >= n_wanted:
            worst = min(kept, key=rank)
            if worst.holds_notes(loudest) and loudest > _QUIET:
                return kept, loudest, n_read
            if n_kept - worst.samples.shape[1] < n_wanted:
                break
            kept.remove(worst)
            n_kept -= worst.samples.shape[1]
    return kept, loudest, n_read


def _measure_levels(
    samples: NDArray[np.float32], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the mean magnitude of each channel, and the part of it that notes have.

    In each frame, notes have a part of the magnitude in proportion to their power.
    """
    n_fft = 2 ** round(np.log2(_WINDOW * sample_rate))
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    inside = slice(*np.searchsorted(frequencies, _RANGE))
    width = 1 + 2 * round(_WIDTH / 2 / frequencies[1])
    levels = []
    for channel in samples:
        padded = np.pad(channel, (0, max(0, n_fft - len(channel))))
        frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // _OVERLAP]
        spectra = np.fft.rfft(frames * window)[:, inside]
        P = (spectra.real**2 + spectra.imag**2) / (window.sum() / 2) ** 2
        steady = ndimage.median_filter(P, (_STEADY, 1), mode="nearest")
        around = np.exp(ndimage.uniform_filter1d(np.log(P + 1e-20), width, axis=1))
        is_note = _after_attacks(P, steady > _SEPARATION * around)
        magnitude = np.sqrt(P.sum(axis=1))
        of_notes = (P * is_note).sum(axis=1) / np.maximum(magnitude, 1e-10)
        levels.append((magnitude.mean(), of_notes.mean()))
    level, note_level = np.array(levels, np.float64).T
    return level, note_level


def _after_attacks(P: NDArray[np.float32], is_steady: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Select the steady partials in `P`, (n_frames, n_bins), that began with an attack."""
    risen = np.zeros(P.shape, bool)
    risen[_ATTACK:] = P[_ATTACK:] > _RISE * (P[:-_ATTACK] + 1e-20)
    is_note = np.zeros(P.shape, bool)
    since = np.full(P.shape[1], len(P))  # frames since the last attack
    for n in range(len(P)):
        since = np.where(risen[n], 0, since + 1)
        is_note[n] = is_steady[n] & (is_note[max(0, n - 1)] | (since < 2 * _ATTACK))
    return is_note


def _choose_mix(segments: Sequence[_Segment], sample_rate: int) -> NDArray[np.float64] | None:
    """Choose the mix of channels, without those that disturb the notes of the others."""
    level = np.sum([segment.level for segment in segments], axis=0)
    if len(level) == 1:
        return None
    note_level = np.sum([segment.note_level for segment in segments], axis=0)
    has_notes = note_level > _SHARE * level
    disturbs = ~has_notes & (level > _DISTURBING * level[has_notes].max(initial=0.0))
    usable = ~disturbs if has_notes.any() else None
    parts = [measure_covariance(segment.samples, sample_rate) for segment in segments]
    return choose_mix(np.sum(parts, axis=0), usable)


def _join(segments: Sequence[_Segment], n_wanted: int) -> list[tuple[int, NDArray[np.float32]]]:
    """Join adjacent segments; return the first sample of each run, and its samples."""
    runs: list[tuple[int, list[NDArray[np.float32]]]] = []
    end = -1
    for segment in segments:
        samples = segment.samples[:, :n_wanted]
        n_wanted -= samples.shape[1]
        if not samples.shape[1]:
            break
        if segment.start != end:
            runs.append((segment.start, []))
        runs[-1][1].append(samples)
        end = segment.end
    return [(start, np.concatenate(parts, axis=1)) for start, parts in runs]


def _splice(runs: Sequence[NDArray[np.float32]], sample_rate: int) -> NDArray[np.float32]:
    """Concatenate signals, faded where they meet, so that no cut is heard as a click."""
    spliced = [run.astype(np.float32) for run in runs]
    for before, after in pairwise(spliced):
        n = min(round(_FADE * sample_rate), len(before), len(after))
        fade = np.linspace(0, 1, n, dtype=np.float32)
        after[:n] *= fade
        before[len(before) - n :] *= fade[::-1]
    return np.concatenate(spliced)
