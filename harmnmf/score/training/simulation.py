"""Simulated performances of scores: tempo curves, rubato, articulation, and transcription errors.

Their beats are known exactly, and no recording is needed to train on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import TICKS, bar_duration, beat_duration
from harmnmf.score.score import Score

__all__ = ["SimulatedPerformance", "simulate_performance"]

Floats = NDArray[np.float64]

# Shares of performances without rubato, with swing, and with errors of transcription.
_STEADY, _SWINGING, _TRANSCRIBED = 0.12, 0.04, 0.6
# Changes of the tempo from beat to beat in octaves: from a sequencer's to a free performance's.
_RUBATO = (0.012, 0.25)
_QUARTERS = np.arange(4) / 4
# Beats take 0.65 s and there are 5 onsets a second, give or take; both in octaves.
_PERIOD, _RATE, _TEMPO_SPREAD = np.log2(0.65), np.log2(5.0), 0.6
# Octaves by which beats of eighths are faster, those of some waltzes and scherzos, which are felt
# in bars, and by which those of slow movements are slower, which are felt in their parts.
_EIGHTHS, _IN_ONE, _IN_PARTS = -0.8, -0.8, 0.8
_IN_ONE_SHARE, _IN_PARTS_SHARE = 0.3, 0.15
_PERIOD_RANGE = (0.17, 3.0)  # seconds of a beat
_FASTEST = 15.0  # onsets a second
_SHORTEST = 0.03  # seconds of a note
_ADDED_ORNAMENTS = (0.0, 0.0, 0.01, 0.04)  # shares of the notes of the right hand
# Semitones from a note to another that is found in its partials.
_PARTIALS = (12, 19, 24, 28, 31, -12, 7)
_PARTIAL_CHANCES = (0.35, 0.2, 0.15, 0.1, 0.05, 0.1, 0.05)


class SimulatedPerformance(NamedTuple):
    """Notes of a performance and its beats.

    `beat` are their times in seconds, `is_downbeat` tells which begin a bar, and `n_beats` is the
    number of beats of the bar that each is in.
    """

    notes: NoteList
    beat: Floats
    is_downbeat: NDArray[np.bool_]
    n_beats: NDArray[np.int64]


@dataclass
class _Played:
    """Notes while they are being shaped; columns of one length."""

    position: NDArray[np.int64]
    end: NDArray[np.int64]
    pitch: NDArray[np.int64]
    staff: NDArray[np.int64]
    ornament: NDArray[np.str_]
    onset: Floats
    offset: Floats
    velocity: Floats

    def select(self, index: NDArray[np.generic]) -> _Played:
        return replace(self, **{name: column[index] for name, column in vars(self).items()})


def simulate_performance(
    score: Score, rng: np.random.Generator, *, first_bar: int = 0, n_bars: int | None = None
) -> SimulatedPerformance:
    """Play a score, or some bars of it, in a manner drawn at random.

    Parameters
    ----------
    score : Score
        Score to play.
    rng : numpy.random.Generator
        Source of randomness.
    first_bar : int, default=0
        Index of the first bar.
    n_bars : int, optional
        Number of bars; all that follow by default.

    Returns
    -------
    SimulatedPerformance
        Notes and beats from the first onset on, which is at time 0. There may be no notes.
    """
    bars, notes = score.bars, score.notes
    last_bar = len(bars) if n_bars is None else min(len(bars), first_bar + n_bars)
    start, end = bars.starts[first_bar], bars.starts[last_bar]
    beats = bars.beats()
    inside = (start <= beats) & (beats < end)
    is_downbeat = bars.downbeats()[inside]
    beats = beats[inside]
    bar = bars.bar_at(beats)
    chosen = (start <= notes.onset) & (notes.onset < end)
    n_notes = int(chosen.sum())
    played = _Played(
        notes.onset[chosen], (notes.onset + notes.duration)[chosen], notes.pitch[chosen],
        notes.staff[chosen], notes.ornament[chosen], *np.zeros((3, n_notes)),
    )  # fmt: skip
    durations = np.array([beat_duration(*bars.time_signatures[i].tolist()) for i in bar])
    n_beats = np.array(
        [bar_duration(n, d) // beat_duration(n, d) for n, d in bars.time_signatures[bar].tolist()]
    )
    bar_lines = bars.starts[first_bar : last_bar + 1]
    clock = _Clock(beats, durations, n_beats, bar_lines, played.position, rng)
    played.onset = clock.time(played.position)
    played.offset = clock.time(played.end)
    played = _ornament(played, rng)
    _spread(played, clock.rubato, rng)
    _articulate(played, clock, beats, bars.starts, rng)
    _shade(played, beats, bars.starts, rng)
    if rng.random() < _TRANSCRIBED:
        played = _mistranscribe(played, rng)
    shift = played.onset.min() if len(played.onset) else 0.0
    onset = played.onset - shift
    result = NoteList(
        onset,
        np.maximum(played.offset - shift, onset + _SHORTEST),
        played.pitch,
        np.clip(np.round(played.velocity), 1, 127),
    ).without_overlaps()
    return SimulatedPerformance(result, clock.time(beats) - shift, is_downbeat, n_beats)


class _Clock:
    """Time of each position: a tempo, its curve, and swing."""

    def __init__(
        self,
        beats: NDArray[np.int64],
        durations: NDArray[np.int64],
        n_beats: NDArray[np.int64],
        bar_lines: NDArray[np.int64],
        onsets: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self.rubato = float(np.exp(rng.uniform(*np.log(_RUBATO))))
        if rng.random() < _STEADY:
            self.rubato = 0.0
        # Four points a beat, up to the end of the last.
        end = beats[-1] + durations[-1]
        points = beats[:, None] + durations[:, None] * _QUARTERS
        self.ticks = np.append(points.ravel(), end).astype(np.float64)
        curve = np.interp(
            self.ticks, beats, _tempo_curve(beats, bar_lines, self.rubato, rng)
        ) + 0.5 * self.rubato * rng.normal(size=len(self.ticks))
        usual = float(np.median(durations))
        per_beat = len(np.unique(onsets)) / len(beats)
        period = _draw_period(per_beat, usual, float(np.median(n_beats)), rng)
        slowness = 2 ** (curve + period) / usual
        mean = 0.5 * (slowness[1:] + slowness[:-1])
        self.seconds = np.concatenate([[0.0], np.cumsum(mean * np.diff(self.ticks))])
        self.swing = rng.uniform(0.52, 0.66) if rng.random() < _SWINGING else 0.5
        self.beats, self.durations = beats, durations

    def time(self, position: NDArray[np.int64]) -> Floats:
        beat = np.clip(np.searchsorted(self.beats, position, side="right") - 1, 0, None)
        inside = (position - self.beats[beat]) / self.durations[beat]
        swung = np.interp(inside, [0.0, 0.5, 1.0], [0.0, self.swing, 1.0])
        inside = np.where((inside > 0) & (inside < 1), swung, inside)
        ticks = self.beats[beat] + inside * self.durations[beat]
        # After the last beat, the tempo stays.
        last = (self.seconds[-1] - self.seconds[-2]) / (self.ticks[-1] - self.ticks[-2])
        after = np.maximum(ticks - self.ticks[-1], 0) * last
        return np.asarray(np.interp(ticks, self.ticks, self.seconds) + after)


def _draw_period(
    onsets_per_beat: float, duration: float, n_beats: float, rng: np.random.Generator
) -> float:
    """Draw the period of a beat of some ticks, log2 of seconds: dense beats are slower."""
    usual = 0.5 * (_PERIOD + np.log2(max(onsets_per_beat, 0.25)) - _RATE)
    if duration < TICKS:
        usual += _EIGHTHS
    elif rng.random() < _IN_PARTS_SHARE:
        usual += _IN_PARTS
    elif duration == TICKS and n_beats == 3:
        usual += _IN_ONE * (rng.random() < _IN_ONE_SHARE)
    period = rng.normal(usual, _TEMPO_SPREAD)
    low = max(_PERIOD_RANGE[0], onsets_per_beat / _FASTEST)
    return float(np.clip(period, np.log2(low), max(np.log2(low), np.log2(_PERIOD_RANGE[1]))))


def _tempo_curve(
    beats: NDArray[np.int64], bar_lines: NDArray[np.int64], rubato: float, rng: np.random.Generator
) -> Floats:
    """Draw the slowness of each beat in octaves, relative to the tempo."""
    n = len(beats)
    bar = np.clip(np.searchsorted(bar_lines, beats, side="right") - 1, 0, len(bar_lines) - 2)
    curve = rubato * (0.5 * rng.normal(size=n) + _drift(n, 0.7, rng) + 1.5 * _drift(n, 0.97, rng))
    # Phrases begin and end slower, some with a ritardando, or a pause before the next.
    bars_a_phrase = rng.choice([2, 4, 4, 8])
    phrase = (bar + rng.integers(bars_a_phrase)) // bars_a_phrase
    first = np.concatenate([[True], phrase[1:] != phrase[:-1]])
    begin = np.maximum.accumulate(np.where(first, np.arange(n), 0))
    length = np.bincount(np.cumsum(first) - 1)[np.cumsum(first) - 1]
    index = np.arange(n) - begin
    curve += rubato * rng.uniform(0, 2.5) * (2 * (index + 0.5) / length - 1) ** 2
    left = length - index
    slows = rng.random(n)[begin] < 0.5
    curve += np.where(slows & (left <= 3), rubato * rng.uniform(0, 4) * (4 - left) / 3, 0.0)
    if rubato:
        pauses = rng.random(n) < 0.004
        curve += pauses * rng.uniform(0.3, 1.5, n)
        last = np.minimum(np.arange(n)[::-1], 8)
        curve += rng.uniform(0, 1) * np.exp(-last / 2.0) * (rng.random() < 0.5)
    # Sections have other tempi.
    if rng.random() < 0.3:
        starts = rng.random(n) < 0.01
        steps = np.where(starts, rng.normal(0, 0.35, n), 0.0)
        curve += np.cumsum(steps)
    return np.clip(curve, -1.2, 2.0)


def _drift(n: int, memory: float, rng: np.random.Generator) -> Floats:
    """Noise of unit variance that changes slowly."""
    noise = rng.normal(size=n) * np.sqrt(1 - memory**2)
    noise[:1] /= np.sqrt(1 - memory**2)
    for i in range(1, n):
        noise[i] += memory * noise[i - 1]
    return noise


def _ornament(played: _Played, rng: np.random.Generator) -> _Played:
    """Play grace notes before their note, and trills and other ornaments out."""
    is_grace = played.ornament == "grace"
    length = rng.uniform(0.05, 0.12)
    for position in np.unique(played.position[is_grace]):
        graces = np.flatnonzero(is_grace & (played.position == position))
        before = np.arange(len(graces), 0, -1) * length
        played.onset[graces] -= before
        played.offset[graces] = played.onset[graces] + length
    duration = played.offset - played.onset
    chance = np.where(played.ornament == "trill", 0.8, 0.0)
    # Players add ornaments, and scores by other composers have more.
    chance += rng.choice(_ADDED_ORNAMENTS) * (
        (played.staff == 1) & ~is_grace & (duration > 0.2) & (duration < 1.5)
    )
    trills = np.flatnonzero(rng.random(len(chance)) < chance)
    if not len(trills):
        return played
    parts = [played.select(np.setdiff1d(np.arange(len(played.pitch)), trills))]
    for index in trills:
        rate = rng.uniform(8, 14)
        n = max(1, int(duration[index] * rate))
        if played.ornament[index] != "trill" or rng.random() < 0.3:
            n = min(n, int(rng.integers(2, 6)))
        part = played.select(np.full(n, index))
        part.onset += np.arange(n) / rate
        part.offset = np.append(part.onset[1:], part.offset[-1])
        part.pitch = part.pitch + rng.choice([-1, 1, 2]) * ((np.arange(n) + n + 1) % 2)
        parts.append(part)
    return _Played(*(np.concatenate([vars(x)[name] for x in parts]) for name in vars(played)))


def _spread(played: _Played, rubato: float, rng: np.random.Generator) -> None:
    """Part the notes of chords: rolled chords, melody before accompaniment, hands, jitter."""
    n = len(played.pitch)
    if not n:
        return
    order = np.lexsort((played.pitch, played.staff, played.position))
    staff, position, pitch = played.staff[order], played.position[order], played.pitch[order]
    first = np.concatenate([[True], (np.diff(position) != 0) | (np.diff(staff) != 0)])
    chord = np.cumsum(first) - 1
    begin = np.flatnonzero(first)
    size = np.bincount(chord)
    rank = np.arange(n) - begin[chord]
    span = pitch[begin + size - 1] - pitch[begin]
    marked = np.zeros(len(size), bool)
    np.logical_or.at(marked, chord, played.ornament[order] == "arpeggio")
    freedom = min(1.0, rubato / 0.05)
    chance = np.where(span > 15, 0.5, freedom * rng.choice([0.0, 0.02, 0.1])) + 0.9 * marked
    rolled = (rng.random(len(size)) < chance) & (size > 1)
    step = rng.uniform(0.02, 0.08, len(size)) * rolled
    # Rolled around the beat: from before it on, or from it on.
    delay = step[chord] * (rank - rng.uniform(0, 1) * (size[chord] - 1))
    lead = freedom * rng.uniform(0, 0.035)
    is_melody = (staff == 1) & (rank == size[chord] - 1)
    delay -= is_melody * np.maximum(0, rng.normal(lead, 0.5 * lead, n))
    apart = freedom * rng.choice([0.0, 0.005, 0.02]) * rng.normal(size=len(size))
    late = freedom * (rng.random() < 0.2) * rng.uniform(0, 0.06)
    delay += np.where(staff == 1, apart[chord] + late * rng.random(len(size))[chord], 0.0)
    delay += rng.normal(0, rng.uniform(0.0, 0.006 + 0.01 * freedom), n)
    played.onset[order] += delay
    played.offset[order] += delay


def _articulate(
    played: _Played,
    clock: _Clock,
    beats: NDArray[np.int64],
    bar_lines: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Release keys early or late, and extend some performances' notes by a pedal."""
    n = len(played.pitch)
    bar = np.searchsorted(bar_lines, played.position, side="right")
    duration = played.offset - played.onset
    legato = rng.uniform(0.7, 1.05, 3)[np.clip(played.staff, 0, 2)]
    is_detached = rng.random((len(bar_lines) + 1, 3)) < rng.choice([0.0, 0.1, 0.4])
    detached = is_detached[bar, np.clip(played.staff, 0, 2)]
    factor = np.where(detached, rng.uniform(0.2, 0.6), legato)
    # With the pedal down, keys are let go at will.
    looseness = rng.choice([0.05, 0.15, 0.4])
    played.offset = played.onset + duration * factor * np.exp(looseness * rng.normal(size=n))
    if rng.random() < 0.35:
        points = bar_lines if rng.random() < 0.4 else beats
        changes = clock.time(points) + rng.uniform(0.0, 0.15)
        following = np.searchsorted(changes, played.offset)
        release = np.append(changes, np.inf)[following]
        held = (rng.random(n) < rng.uniform(0.6, 1.0)) & np.isfinite(release)
        played.offset = np.where(held, release, played.offset)


def _shade(
    played: _Played,
    beats: NDArray[np.int64],
    bar_lines: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Draw velocities; in some performances all are the same."""
    n = len(played.pitch)
    level = rng.normal(64, 12)
    if rng.random() < 0.15:
        played.velocity = np.full(n, level)
        return
    melody = rng.uniform(0, 20) * (played.staff == 1)
    accents = rng.uniform(0, 6) * np.isin(played.position, bar_lines)
    accents += rng.uniform(0, 4) * np.isin(played.position, beats)
    bar = np.searchsorted(bar_lines, played.position, side="right")
    waves = 8 * _drift(len(bar_lines) + 1, 0.8, rng)[bar]
    played.velocity = level - 6 + melody + accents + waves + rng.normal(0, rng.uniform(3, 9), n)


def _mistranscribe(played: _Played, rng: np.random.Generator) -> _Played:
    """Leave out notes and add others, as transcription from audio does."""
    n = len(played.pitch)
    if not n:
        return played
    duration = played.offset - played.onset
    played.onset = played.onset + rng.normal(0, rng.uniform(0.005, 0.022), n)
    played.offset = played.onset + duration * np.exp(0.5 * rng.normal(size=n))
    # Quiet notes are missed, and those below others.
    loudness = (played.velocity - played.velocity.mean()) / 20
    order = np.lexsort((-played.pitch, played.position))
    is_top = np.zeros(n, bool)
    is_top[order] = np.concatenate([[True], np.diff(played.position[order]) != 0])
    missed = rng.uniform(0, 0.3) * np.exp(-loudness) * np.where(is_top, 0.5, 1.0)
    kept = played.select(np.flatnonzero(rng.random(n) >= np.minimum(missed, 0.7)))
    # Partials are taken for notes, mostly at their onset, and some notes begin twice.
    extra = played.select(np.flatnonzero(rng.random(n) < rng.uniform(0, 0.2)))
    m = len(extra.pitch)
    again = rng.random(m) < 0.6
    interval = rng.choice(_PARTIALS, m, p=_PARTIAL_CHANCES)
    extra.pitch = extra.pitch + np.where(again, 0, interval)
    later = np.where(again, rng.uniform(0.1, 0.9, m), 0.0) * (extra.offset - extra.onset)
    extra.onset = extra.onset + later + rng.normal(0, 0.015, m)
    extra.offset = extra.onset + 0.05 + rng.exponential(0.15, m)
    extra.velocity = extra.velocity - rng.uniform(-5, 20, m)
    extra = extra.select(np.flatnonzero((extra.pitch >= 21) & (extra.pitch <= 108)))
    return _Played(*(np.concatenate([vars(x)[name] for x in (kept, extra)]) for name in vars(kept)))
