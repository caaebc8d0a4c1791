"""Statistics of a whole piece that tell how simply given beats and bars notate it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList

from .beat_path import log_odds
from .network import BEATS_A_BAR, PERIODS, PERIODS_AN_OCTAVE, BeatProbabilities
from .onset_features import group_onsets

__all__ = ["BeatStatistics", "Chords"]

Floats = NDArray[np.float64]

_PHASES = 12  # positions in a beat: of sixteenths and of triplets
_VALUES = np.arange(-4, 3.5, 0.5)  # binary logarithms of durations in beats
_LAGS = (1, 2, 3, 4, 5, 6, 8)
_LEVELS = np.log2([1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3])  # relative to the beat


class Chords:
    """Notes that begin together.

    Parameters
    ----------
    notes : NoteList
        Notes, one or more.

    Attributes
    ----------
    time : ndarray, shape (n_chords,)
        Mean onset in seconds.
    size, velocity, bass, duration : ndarray, shape (n_chords,)
        Number of notes, their greatest velocity, lowest pitch, and longest duration in seconds.
    chroma : ndarray, shape (12, n_chords)
        Notes of each pitch class.
    """

    def __init__(self, notes: NoteList) -> None:
        group = group_onsets(notes)
        first = np.flatnonzero(np.diff(group, prepend=-1))
        self.size = np.diff(first, append=len(notes)).astype(np.float64)
        self.time = np.add.reduceat(notes.onset, first) / self.size
        self.velocity = np.maximum.reduceat(notes.velocity, first).astype(np.float64)
        self.bass = np.minimum.reduceat(notes.pitch, first).astype(np.float64)
        self.duration = np.maximum.reduceat(notes.offset - notes.onset, first)
        self.chroma = np.zeros((12, first.size))
        np.add.at(self.chroma, (notes.pitch % 12, group), 1.0)


@dataclass(frozen=True, eq=False)
class BeatStatistics:
    """Statistics of a piece with given beats.

    Parameters
    ----------
    chords : Chords
        Chords of the piece.
    probabilities : BeatProbabilities
        Probabilities of beats.
    time : ndarray, shape (n_beats,)
        Times of the beats in seconds; two or more.
    """

    chords: Chords
    probabilities: BeatProbabilities
    time: Floats

    @cached_property
    def position(self) -> Floats:
        """Position of each chord in beats."""
        chord, time = self.chords.time, self.time
        index = np.clip(np.searchsorted(time, chord, side="right") - 1, 0, time.size - 2)
        return np.asarray(index + (chord - time[index]) / np.diff(time)[index])

    @cached_property
    def beat_probability(self) -> Floats:
        """Probability of each beat."""
        return self._at_beats(self.probabilities.beat)

    @cached_property
    def downbeat_probability(self) -> Floats:
        """Probability that each beat begins a bar, if it is a beat."""
        downbeat = self._at_beats(self.probabilities.downbeat)
        return np.asarray(downbeat / np.maximum(self.beat_probability, 0.1))

    def _at_beats(self, probability: NDArray[np.floating]) -> Floats:
        """Greatest probability within two frames of each beat."""
        padded = np.pad(np.asarray(probability, np.float64), 3)
        frames = np.round(self.time * self.probabilities.frame_rate).astype(int)
        index = np.clip(frames, -1, probability.size) + 3
        near = np.clip(index + np.arange(-2, 3)[:, None], 0, padded.size - 1)
        return np.asarray(padded[near].max(axis=0))

    @cached_property
    def _near(self) -> NDArray[np.int64]:
        """Chord at each beat, or -1."""
        nearest = np.round(self.position).astype(int)
        at = np.abs(self.position - nearest) < 0.15
        at &= (nearest >= 0) & (nearest < self.time.size)
        chord = np.full(self.time.size, -1)
        chord[nearest[at]] = np.flatnonzero(at)
        return chord

    @cached_property
    def _accents(self) -> Floats:
        """Qualities of each beat that accent it, shape (n_accents, n_beats), standardized."""
        chords, near = self.chords, self._near
        has = near >= 0
        wait = np.diff(chords.time, append=chords.time[-1] + 1)
        bass = np.minimum(chords.bass - _running_median(chords.bass), 0)
        chroma = self._per_beat(chords.chroma.T)
        unit = chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9)
        change = np.concatenate([[0.0], 1 - np.sum(unit[1:] * unit[:-1], axis=1)])
        rows = [
            has.astype(float),
            np.where(has, np.log(chords.size[near]), 0.0),
            np.where(has, np.log(np.minimum(wait[near], 4) + 0.02), -1.5),
            np.where(has, np.log(np.minimum(chords.duration[near], 4) + 0.02), -1.5),
            np.where(has, chords.velocity[near], chords.velocity.mean()),
            np.where(has, bass[near], 0.0),
            change,
        ]
        values = np.array(rows)
        return np.asarray(
            (values - values.mean(axis=1, keepdims=True))
            / (values.std(axis=1, keepdims=True) + 1e-3)
        )

    def _per_beat(self, values: Floats) -> Floats:
        """Sum values of the chords, shape (n_chords, n), over each beat."""
        index = np.clip(np.floor(self.position + 0.08).astype(int), 0, self.time.size - 1)
        total = np.zeros((self.time.size, values.shape[1]))
        np.add.at(total, index, values)
        return total

    @cached_property
    def _similarity(self) -> Floats:
        """Similarity of beats at each lag, in rhythm and in harmony, shape (2, n_lags)."""
        rhythm = self._per_beat(_soft(self.position % 1 * _PHASES, _PHASES, wrap=True))
        rows = []
        for values in (rhythm, self._per_beat(self.chords.chroma.T)):
            unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
            rows.append([
                float(np.sum(unit[lag:] * unit[:-lag]) / unit.shape[0]) for lag in _LAGS
            ])  # fmt: skip
        return np.array(rows)

    @cached_property
    def of_beats(self) -> Floats:
        """Statistics of the beats."""
        chords, network = self.chords, self.probabilities
        interval = np.diff(self.time)
        period = float(np.median(interval))
        octaves = np.log2(period / 0.6)
        likely = log_odds(self.beat_probability)
        expected = float(network.onset_beat.sum() + network.between.sum())
        frames = np.clip(
            np.round(self.time[1:] * network.frame_rate).astype(int), 0, network.period.shape[1] - 1
        )
        place = np.log2(interval / PERIODS[0]) * PERIODS_AN_OCTAVE
        near = np.round(
            np.clip(place + PERIODS_AN_OCTAVE * _LEVELS[:, None], 0, len(PERIODS) - 1)
        ).astype(int)
        periods = np.log(network.period[near, frames] + 1e-3).mean(axis=1)
        has = self._near >= 0
        half = np.abs(self.position % 1 - 0.5) < 0.1
        smooth = np.abs(np.diff(np.log(interval))) if interval.size > 1 else np.zeros(1)
        wait = np.log2(np.maximum(np.diff(self.position), 0.01))
        held = np.log2(np.maximum(chords.duration / period, 0.01))
        on_beat = chords.size[self._near[has]].mean() if has.any() else 1.0
        phases = _soft(self.position % 1 * _PHASES, _PHASES, wrap=True)
        strong = phases * (chords.size * (chords.velocity / 64))[:, None]
        return np.concatenate([
            [octaves, octaves**2, np.abs(octaves)],
            [likely.mean(), likely.sum() / np.ptp(self.time), likely.sum() / chords.time.size],
            [self.beat_probability.mean(), (self.beat_probability > 0.5).mean()],
            [self.beat_probability.sum() / max(float(network.onset_beat.sum()), 1.0)],
            [np.log(expected / self.time.size + 1e-3)],
            periods,
            [np.log(chords.time.size / self.time.size), np.log(chords.size.sum() / self.time.size)],
            [has.mean(), np.log((has.sum() + 1) / (half.sum() + 1))],
            [on_beat / chords.size.mean(), smooth.mean(), smooth.std()],
            phases.mean(axis=0),
            strong.sum(axis=0) / strong.sum(),
            _soft((wait - _VALUES[0]) * 2, _VALUES.size).sum(axis=0) / max(wait.size, 1),
            _soft((held - _VALUES[0]) * 2, _VALUES.size).mean(axis=0),
            self._similarity.ravel(),
        ])  # fmt: skip

    def of_bars(
        self, downbeats: NDArray[np.int64], n_beats: int, *, is_compound: bool, score: float
    ) -> Floats:
        """Statistics of bars.

        Parameters
        ----------
        downbeats : ndarray of int, shape (n_downbeats,)
            Beats that begin a bar.
        n_beats : int
            Usual number of beats of a bar: 2, 3 or 4.
        is_compound : bool
            Whether beats are dotted.
        score : float
            Sum of evidence for the bars.
        """
        is_first = np.zeros(self.time.size, bool)
        is_first[downbeats] = True
        begin = np.maximum.accumulate(np.where(is_first, np.arange(self.time.size), 0))
        is_middle = (np.arange(self.time.size) - begin) * 2 == n_beats
        rest = ~is_first & ~is_middle
        accents = self._accents
        evidence = log_odds(self.downbeat_probability)
        total = max(float(self.probabilities.onset_downbeat.sum()), 1.0)
        of_metre = np.log(np.asarray(self.probabilities.beats_a_bar, np.float64) + 1e-2).mean(
            axis=1
        )
        irregular = float(np.mean(np.diff(downbeats) != n_beats)) if downbeats.size > 1 else 0.0
        period = float(np.median(np.diff(self.time)))
        lag = {value: index for index, value in enumerate(_LAGS)}
        similarity = self._similarity
        octaves = np.log2(period * n_beats / 2)
        first = accents[:, is_first].mean(axis=1)
        middle = accents[:, is_middle].mean(axis=1) if is_middle.any() else np.zeros(len(accents))
        which = [float(n_beats == n) for n in BEATS_A_BAR]
        compound = [float(is_compound) * value for value in which]
        return np.concatenate([
            which, compound, [float(is_compound)],
            [octaves, octaves**2, irregular],
            [score / self.time.size, score / np.ptp(self.time), score / downbeats.size],
            [evidence[is_first].mean(), evidence[~is_first].mean() if not is_first.all() else 0.0],
            [self.downbeat_probability[is_first].mean()],
            [(self.downbeat_probability * self.beat_probability)[is_first].sum() / total],
            [of_metre[BEATS_A_BAR.index(n_beats)] - np.max(of_metre), *of_metre],
            first,
            first - (accents[:, rest].mean(axis=1) if rest.any() else 0.0),
            middle,
            similarity[:, lag[n_beats]] - similarity[:, lag[1]],
            similarity[:, lag[n_beats]] - similarity[:, lag[n_beats + 1]],
            similarity[:, lag[2 * n_beats]] - similarity[:, lag[n_beats]],
            similarity[:, lag[n_beats]] - similarity.mean(axis=1),
        ])  # fmt: skip


def _soft(place: Floats, n: int, *, wrap: bool = False) -> Floats:
    """Share each value between the two nearest of n bins, shape (n_values, n)."""
    place = place if wrap else np.clip(place, 0, n - 1)
    below = np.floor(place).astype(int)
    part = place - below
    bins = np.zeros((place.size, n))
    rows = np.arange(place.size)
    np.add.at(bins, (rows, below % n), 1 - part)
    np.add.at(bins, (rows, (below + 1) % n), part)
    return bins


def _running_median(values: Floats) -> Floats:
    """Median of 17 neighbouring values."""
    padded = np.pad(values, 8, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 17), axis=1))
