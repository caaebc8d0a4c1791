"""Beats, bars and metre of a performance, from its notes and from probabilities of beats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList

from .bars import TICKS, Bars, BeatGrid, beat_duration
from .beat_path import beat_path, log_odds
from .beat_times import align_beats, fit_constant_tempo
from .beats import PERIODS, BeatProbabilities

__all__ = ["grid_from_beats", "track_beats"]

_SHORTEST = (0.2, 0.29, 0.42, 0.61, 0.89, 1.3)  # seconds: ranges of tempo that are tried
_WIDTH = 2.2  # the longest beat of a range, relative to the shortest
_LONGEST = 3.0  # seconds
_UNCERTAIN = 0.16  # seconds
_PERIOD_WEIGHT = 0.5
_SLIP = 7.0  # cost of a bar cut short, in units of log odds
_TEMPO = (0.6, 0.4)  # median of the beat in seconds, and standard deviation of its logarithm
_GIVEN_TEMPO = 0.08  # standard deviation for a tempo that is given
_EARLY = 0.2  # of a beat: how much before the first beat its notes may begin
_METRES = ((4, False), (3, False), (2, False), (2, True), (3, True), (4, True))


@dataclass(frozen=True)
class _Hypothesis:
    """Beats in seconds, and which of them begin a bar."""

    time: NDArray[np.float64]
    downbeats: NDArray[np.int64]
    n_beats: int
    is_compound: bool
    score: float


def track_beats(
    notes: NoteList,
    probabilities: BeatProbabilities,
    *,
    tempo: float | None = None,
    time_signature: tuple[int, int] | None = None,
    pickup: float | None = None,
    level: int = 0,
    rubato: bool = True,
) -> BeatGrid:
    """Find the beats and the bars of a performance.

    Beats at a smooth tempo are found for several ranges of tempo, and bars of several metres in
    each; the hypothesis is chosen that is most likely and most simply notated as a whole.

    Parameters
    ----------
    notes : NoteList
        Notes; one or more.
    probabilities : BeatProbabilities
        Probabilities of a beat and of a downbeat over time.
    tempo : float, optional
        Beats a minute, roughly; in compound time those of dotted notes.
    time_signature : tuple of int, optional
        Upper and lower number of the time signature of all bars.
    pickup : float, optional
        Beats before the first downbeat, counted from the first note.
    level : int, default=0
        1 for beats twice as fast as would be chosen otherwise, -1 for half as fast.
    rubato : bool, default=True
        Whether the tempo changes. If not, beats are evenly spaced.

    Returns
    -------
    BeatGrid
        Beats of whole bars from the first onset, or before, to the last, or after. The first bar
        may be a pickup.

    Raises
    ------
    ParameterError
        If there are no notes, or a parameter is out of range.

    References
    ----------
    .. [1] K. Shibata, E. Nakamura, K. Yoshii, "Non-local musical statistics as guides for
       audio-to-score piano transcription", Information Sciences 566, 2021.
    .. [2] F. Krebs, S. Böck, G. Widmer, "An efficient state-space model for joint tempo and meter
       tracking", ISMIR 2015.
    """
    if not len(notes):
        raise ParameterError("there are no notes in which to find beats")
    if tempo is not None and not 5 <= tempo <= 600:
        raise ParameterError("tempo must be 5 to 600 beats a minute")
    if pickup is not None and not 0 <= pickup < 32:
        raise ParameterError("pickup must be at least 0 beats, and less than 32")
    if abs(level) > 2:
        raise ParameterError("level must be -2 to 2")
    metres = _METRES if time_signature is None else (_metre(time_signature),)
    tracked = _tracked(notes, probabilities, [60 / tempo] if tempo else [])
    prior = (60 / tempo, _GIVEN_TEMPO) if tempo else _TEMPO
    best = _choose(tracked, notes, probabilities, metres, prior)
    if level:
        prior = (float(np.median(np.diff(best.time))) / 2.0**level, _GIVEN_TEMPO)
        tracked = _tracked(notes, probabilities, [prior[0]])
        best = _choose(tracked, notes, probabilities, metres, prior)
    if not rubato:
        time = fit_constant_tempo(best.time, notes.onset)
        best = _choose([time], notes, probabilities, metres, (time[1] - time[0], _GIVEN_TEMPO))
    time, downbeats = best.time, best.downbeats
    if pickup is not None:
        first = _nearest(time, notes.onset[:1])[0] + int(np.ceil(pickup))
        downbeats = np.arange(first % best.n_beats, time.size, best.n_beats)
    signature = time_signature or ((3 * best.n_beats, 8) if best.is_compound else (best.n_beats, 4))
    return _grid(time, downbeats, signature, notes.onset[[0, -1]])


def grid_from_beats(
    time: ArrayLike,
    is_downbeat: ArrayLike | None = None,
    *,
    time_signature: tuple[int, int] | None = None,
    pickup: int | None = None,
) -> BeatGrid:
    """Make bars of given beats.

    Parameters
    ----------
    time : array_like, shape (n_beats,)
        Times of beats in seconds, ascending; two or more.
    is_downbeat : array_like of bool, shape (n_beats,), optional
        Which beats begin a bar. By default all bars have the time signature, and the first
        begins with the first beat, or after `pickup`.
    time_signature : tuple of int, optional
        Upper and lower number of the time signature; 4/4 by default, or as many quarters as the
        bars have beats.
    pickup : int, optional
        Beats before the first downbeat.

    Returns
    -------
    BeatGrid
        Beats and bars. Beats after the last whole bar are completed to a bar.

    Raises
    ------
    ParameterError
        If the times are not ascending or fewer than two, or the pickup is not shorter than a bar.

    Examples
    --------
    >>> grid = grid_from_beats([0.5, 1.0, 1.5, 2.0], [False, True, False, False])
    >>> grid.bars.time_signatures.tolist(), grid.bars.pickup
    ([[3, 4], [3, 4]], 480)
    """
    times = np.array(time, np.float64)
    if times.ndim != 1 or times.size < 2 or not (np.diff(times) > 0).all():
        raise ParameterError("times of beats must be two or more, and ascending")
    if is_downbeat is None:
        n_beats = _metre(time_signature or (4, 4))[0]
        downbeats = np.arange(pickup or 0, times.size, n_beats)
    else:
        marks = np.array(is_downbeat, bool)
        if marks.shape != times.shape:
            raise ParameterError("is_downbeat must have a value for each beat")
        downbeats = np.flatnonzero(marks)
        if not downbeats.size:
            raise ParameterError("no beat begins a bar")
        counts = np.diff(downbeats)
        n_beats = int(np.bincount(counts).argmax()) if counts.size else times.size - downbeats[0]
    if time_signature is None:
        time_signature = (n_beats, 4)
    return _grid(times, downbeats, time_signature, times[[0, -1]])


def _metre(time_signature: tuple[int, int]) -> tuple[int, bool]:
    """Beats a bar, and whether they are dotted."""
    numerator, denominator = time_signature
    Bars([time_signature])
    duration = beat_duration(numerator, denominator)
    unit = 4 * TICKS // denominator
    return numerator * unit // duration, duration != unit


def _tracked(
    notes: NoteList, probabilities: BeatProbabilities, periods: list[float]
) -> list[NDArray[np.float64]]:
    """Beats for each range of tempo, or for ranges around the periods."""
    rate = probabilities.frame_rate
    ranges = [period / _WIDTH**0.5 for period in periods] or _SHORTEST
    start, end = float(notes.onset[0]), float(notes.onset[-1])
    evidence, logarithm = _evidence(probabilities, int(_LONGEST * rate))
    tracked = []
    for shortest in ranges:
        low = max(round(shortest * rate), 2)
        intervals = np.arange(low, round(shortest * _WIDTH * rate) + 1)
        beats = beat_path(
            evidence, _PERIOD_WEIGHT * _at_intervals(logarithm, intervals / rate), low
        )
        beats = beats / rate - _LONGEST
        within = beats[(beats > start - 0.1) & (beats < end + 0.1)]
        if within.size < 2:
            within = start + np.arange(2) * shortest * 1.5
        tracked.append(align_beats(within, notes.onset, notes.velocity / 64))
    return tracked


def _evidence(
    probabilities: BeatProbabilities, margin: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log odds of beats, and logarithms of the probabilities of periods, with margins in time."""
    rate = probabilities.frame_rate
    beat = np.asarray(probabilities.beat, np.float64)
    frames = np.clip(np.round(probabilities.onset * rate).astype(int), 0, beat.size - 1)
    # Where no note begins, the time of a beat is uncertain by some frames.
    spread = np.minimum(_UNCERTAIN * rate * beat, 0.5)
    spread[frames] = 0
    evidence = log_odds(spread)
    for shift, cost in ((0, 0.0), (-1, 0.2), (1, 0.2), (-2, 0.8), (2, 0.8)):
        near = np.clip(frames + shift, 0, beat.size - 1)
        np.maximum.at(evidence, near, log_odds(beat[frames]) - cost)
    logarithm = np.log(np.asarray(probabilities.period, np.float64) + 1e-3)
    return np.pad(evidence, margin, constant_values=-0.5), np.pad(
        logarithm, [(0, 0), (margin, margin)], mode="edge"
    )


def _at_intervals(
    logarithm: NDArray[np.float64], seconds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate between periods."""
    place = np.clip(np.log2(seconds / PERIODS[0]) * 8, 0, len(PERIODS) - 1.001)
    below = place.astype(int)
    part = (place - below)[:, None]
    return np.asarray((1 - part) * logarithm[below] + part * logarithm[below + 1])


def _choose(
    tracked: list[NDArray[np.float64]],
    notes: NoteList,
    probabilities: BeatProbabilities,
    metres: tuple[tuple[int, bool], ...],
    prior: tuple[float, float],
) -> _Hypothesis:
    """Choose the best hypothesis."""
    found = []
    for time in tracked:
        beat = _greatest(probabilities.beat, time * probabilities.frame_rate)
        downbeat = _greatest(probabilities.downbeat, time * probabilities.frame_rate)
        evidence = log_odds(downbeat / np.maximum(beat, 0.1))
        interval = np.diff(time)
        period = float(np.median(interval))
        fast = -0.5 * (np.log(period / prior[0]) / prior[1]) ** 2
        likely = float(log_odds(beat).sum()) * period / np.ptp(time) / period
        thirds = _thirds(time, notes.onset)
        for n_beats, is_compound in metres:
            downbeats, bar_score = _bars(evidence, n_beats)
            score = likely + 1.0 * fast + bar_score / time.size
            if len(metres) > 1:
                score += 2 * (thirds - 0.5) * (1 if is_compound else -1)
            found.append(_Hypothesis(time, downbeats, n_beats, is_compound, score))
    return max(found, key=lambda hypothesis: hypothesis.score)


def _greatest(
    probability: NDArray[np.floating], frames: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find the greatest value within two frames of each of the frames."""
    padded = np.pad(np.asarray(probability, np.float64), 3)
    index = np.clip(np.round(frames).astype(int), -1, probability.size) + 3
    return np.asarray(
        padded[np.clip(index + np.arange(-2, 3)[:, None], 0, padded.size - 1)].max(axis=0)
    )


def _bars(evidence: NDArray[np.float64], n_beats: int) -> tuple[NDArray[np.int64], float]:
    """Downbeats with the greatest sum of evidence, nearly all of them n_beats apart."""
    n = evidence.size
    values = evidence.tolist()
    best: list[float] = []
    before: list[int] = []
    for index, value in enumerate(values):
        score, source = (0.0, -1) if index < n_beats else (best[index - n_beats], index - n_beats)
        for short in range(min(2, n_beats - 1), min(n_beats, index + 1)):
            if best[index - short] - _SLIP > score:
                score, source = best[index - short] - _SLIP, index - short
        best.append(score + value)
        before.append(source)
    index = max(range(max(n - n_beats, 0), n), key=best.__getitem__)
    score = best[index]
    downbeats = []
    while index >= 0:
        downbeats.append(index)
        index = before[index]
    return np.array(downbeats[::-1]), score


def _thirds(beats: NDArray[np.float64], onset: NDArray[np.float64]) -> float:
    """Of the onsets off the beats and their halves, the part that is near to thirds."""
    index = np.clip(np.searchsorted(beats, onset, side="right") - 1, 0, beats.size - 2)
    phase = (onset - beats[index]) / np.diff(beats)[index] % 1
    third = int(np.sum(np.minimum(np.abs(phase - 1 / 3), np.abs(phase - 2 / 3)) < 0.06))
    fourth = int(np.sum(np.min(np.abs(phase - np.array([[0.25], [0.5], [0.75]])), axis=0) < 0.04))
    return (third + 1) / (third + fourth + 2)


def _nearest(beats: NDArray[np.float64], time: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the beat that is nearest to each time."""
    return np.asarray(np.abs(beats - time[:, None]).argmin(axis=1))


def _grid(
    time: NDArray[np.float64],
    downbeats: NDArray[np.int64],
    signature: tuple[int, int],
    span: NDArray[np.float64],
) -> BeatGrid:
    """Grid of bars that begin at the downbeats, and span an interval of time.

    A bar with more or fewer beats than the time signature has one of its own.
    """
    n_beats, is_compound = _metre(signature)
    time, added = _spanning(time, span)
    downbeats = downbeats + added
    start = min(max(int(np.searchsorted(time, span[0], side="right")) - 1, 0), time.size - 2)
    end = max(int(np.searchsorted(time, span[1], side="right")), start + 2)
    time, downbeats = time[start:end], downbeats - start
    known = downbeats[(downbeats >= 0) & (downbeats < time.size)]
    if not known.size:
        known = downbeats[-1:] % n_beats
    downbeats = np.concatenate([np.arange(known[0] % n_beats, known[0], n_beats), known])
    n_bars = -(-(time.size - downbeats[-1]) // n_beats)
    counts = [*np.diff(downbeats).tolist(), *[n_beats] * n_bars]
    n_more = downbeats[-1] + n_bars * n_beats - time.size
    time = np.concatenate([time, time[-1] + (time[-1] - time[-2]) * np.arange(1, n_more + 1)])
    if is_compound:  # a bar of a dotted quarter is in 3/8, and has three beats
        short = downbeats[np.flatnonzero(np.array(counts) == 1)]
        thirds = time[short] + (time[short + 1] - time[short]) * np.array([[1 / 3], [2 / 3]])
        time = np.sort(np.concatenate([time, thirds.ravel()]))
    unit = 3 if is_compound else 1
    bars = [signature if count == n_beats else (count * unit, signature[1]) for count in counts]
    if downbeats[0]:
        bars.insert(0, signature)
    return BeatGrid(time, Bars(bars, pickup=int(downbeats[0]) * beat_duration(*signature)))


def _spanning(
    time: NDArray[np.float64], span: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """Beats with others added before and after, as needed to span an interval; how many before."""
    time = time.copy()
    first, last = time[1] - time[0], time[-1] - time[-2]
    early = (time[0] - span[0]) / first
    if 0 < early < _EARLY:
        time[0], early = span[0], 0.0
    n_before = max(int(np.ceil(early)), 0)
    n_after = max(int(np.floor((span[1] - time[-1]) / last)), 0)
    before = time[0] - first * np.arange(n_before, 0, -1)
    after = time[-1] + last * np.arange(1, n_after + 1)
    return np.concatenate([before, time, after]), n_before
