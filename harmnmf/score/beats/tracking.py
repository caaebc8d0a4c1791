"""Beats, bars and metre of a performance, from its notes and from probabilities of beats."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import Bars, BeatGrid, beat_duration, is_compound

from .beat_path import bar_path
from .beat_times import fit_constant_tempo
from .hypotheses import METRES, Hypothesis, bar_hypotheses, metre_of, track_again, track_in_ranges
from .network import BeatProbabilities
from .ranking import default_ranking

__all__ = ["grid_from_beats", "track_bars", "track_beats"]

_SLOWEST, _FASTEST = 15, 400  # beats a minute
_EARLY = 0.2  # of a beat: how much before the first beat its notes may begin


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
        raise ParameterError("there are no notes to find beats in")
    if tempo is not None and not _SLOWEST <= tempo <= _FASTEST:
        raise ParameterError(f"tempo must be {_SLOWEST} to {_FASTEST} beats a minute")
    if abs(level) > 2:
        raise ParameterError("level must be -2 to 2")
    choice = _Choice(notes, probabilities, time_signature, pickup)
    best = choice.best(track_in_ranges(notes, probabilities, 60 / tempo if tempo else None))
    if level:
        period = float(np.median(np.diff(best.time))) / 2.0**level
        best = choice.best(track_in_ranges(notes, probabilities, period))
    time = best.time
    if not rubato:
        time = fit_constant_tempo(time, notes.onset)
    elif tempo is None and not level:
        time = track_again(notes, probabilities, time)
    return choice.grid(choice.best([time], best.metre), moved=rubato)


def track_bars(
    notes: NoteList,
    probabilities: BeatProbabilities,
    time: ArrayLike,
    *,
    time_signature: tuple[int, int] | None = None,
    pickup: float | None = None,
) -> BeatGrid:
    """Find the bars of a performance whose beats are known.

    Parameters
    ----------
    notes : NoteList
        Notes; one or more.
    probabilities : BeatProbabilities
        Probabilities of a beat and of a downbeat over time.
    time : array_like, shape (n_beats,)
        Times of the beats in seconds, ascending; two or more.
    time_signature : tuple of int, optional
        Upper and lower number of the time signature of all bars.
    pickup : float, optional
        Beats before the first downbeat, counted from the first note.

    Returns
    -------
    BeatGrid
        Beats of whole bars from the first onset, or before, to the last, or after.

    Raises
    ------
    ParameterError
        If there are no notes, the times are not ascending, or a parameter is out of range.
    """
    if not len(notes):
        raise ParameterError("there are no notes to find bars in")
    choice = _Choice(notes, probabilities, time_signature, pickup)
    return choice.grid(choice.best([_times(time)]), moved=False)


def grid_from_beats(
    time: ArrayLike,
    is_downbeat: ArrayLike | None = None,
    *,
    time_signature: tuple[int, int] | None = None,
    pickup: int = 0,
    notes: NoteList | None = None,
) -> BeatGrid:
    """Make bars of given beats.

    Parameters
    ----------
    time : array_like, shape (n_beats,)
        Times of beats in seconds, ascending; two or more.
    is_downbeat : array_like of bool, shape (n_beats,), optional
        Which beats begin a bar. By default all bars have the time signature.
    time_signature : tuple of int, optional
        Upper and lower number of the time signature. By default as many quarters as most bars
        have beats, or 4/4.
    pickup : int, default=0
        Beats before the first downbeat, if `is_downbeat` is not given.
    notes : NoteList, optional
        Notes that the bars must span. By default they span the beats.

    Returns
    -------
    BeatGrid
        Beats and bars. A bar that has other beats than the time signature gets its own; the last
        bar is completed.

    Raises
    ------
    ParameterError
        If the times are not ascending or fewer than two, no beat begins a bar, or the pickup is
        not shorter than a bar.

    Examples
    --------
    >>> grid = grid_from_beats([0.5, 1.0, 1.5, 2.0], [False, True, False, False])
    >>> grid.bars.time_signatures.tolist(), grid.bars.pickup
    ([[3, 4], [3, 4]], 480)
    """
    times = _times(time)
    if is_downbeat is None:
        signature = time_signature or (4, 4)
        n_beats, _ = metre_of(signature)
        if not 0 <= pickup < n_beats:
            raise ParameterError("pickup must be at least 0 beats, and shorter than a bar")
        downbeats = np.arange(pickup, times.size + n_beats, n_beats)
    else:
        marks = np.array(is_downbeat, bool)
        if marks.shape != times.shape:
            raise ParameterError("is_downbeat must have a value for each beat")
        downbeats = np.flatnonzero(marks)
        if not downbeats.size:
            raise ParameterError("no beat begins a bar")
        counts = np.diff(downbeats)
        usual = int(np.bincount(counts).argmax()) if counts.size else times.size - int(downbeats[0])
        signature = time_signature or (usual, 4)
    span = times[[0, -1]] if notes is None or not len(notes) else notes.onset[[0, -1]]
    return _grid(times, downbeats, signature, span)


class _Choice:
    """Choice of a hypothesis, with what is known of the bars."""

    def __init__(
        self,
        notes: NoteList,
        probabilities: BeatProbabilities,
        time_signature: tuple[int, int] | None,
        pickup: float | None,
    ) -> None:
        self.notes, self.probabilities = notes, probabilities
        self.signature, self.pickup = time_signature, pickup
        self.metre = None if time_signature is None else metre_of(time_signature)
        most = max(n for n, _ in METRES) if self.metre is None else self.metre[0]
        if pickup is not None and not 0 <= pickup < most:
            raise ParameterError("pickup must be at least 0 beats, and shorter than a bar")

    def best(
        self, tracked: list[NDArray[np.float64]], metre: tuple[int, bool] | None = None
    ) -> Hypothesis:
        """Choose beats, and the metre if it is not known."""
        hypotheses = bar_hypotheses(tracked, self.notes, self.probabilities)
        scores = default_ranking().scores(np.array([each.statistics for each in hypotheses]))
        metres = [each.metre for each in hypotheses]
        known = metre or self.metre
        if known in METRES:
            possible = np.array([each == known for each in metres])
        elif self.metre is None and self.pickup is not None:
            possible = np.array([n_beats > self.pickup for n_beats, _ in metres])
        else:
            possible = np.ones(len(metres), bool)
        return hypotheses[int(np.where(possible, scores, -np.inf).argmax())]

    def grid(self, hypothesis: Hypothesis, *, moved: bool) -> BeatGrid:
        """Make bars of a hypothesis; `moved` lets the first beat be where the first note is."""
        n_beats, is_compound = self.metre or hypothesis.metre
        time, start = hypothesis.time, self.notes.onset[0]
        if self.pickup is not None:
            # A part of a beat counts as one where the first note is at a beat.
            first = start + (self.pickup - 0.25) * (time[1] - time[0])
            index = int(np.searchsorted(time, first))
            downbeats = np.arange(index % n_beats, time.size + n_beats, n_beats)
        elif n_beats == hypothesis.metre[0]:
            downbeats = hypothesis.downbeats
        else:
            downbeats, _ = bar_path(hypothesis.downbeat_evidence, n_beats)
        found = (3 * n_beats, 8) if is_compound else (n_beats, 4)
        if moved and 0 < time[0] - start < _EARLY * (time[1] - time[0]):
            time = np.concatenate([[start], time[1:]])
        return _grid(time, downbeats, self.signature or found, self.notes.onset[[0, -1]])


def _times(time: ArrayLike) -> NDArray[np.float64]:
    """Check times of beats."""
    times = np.array(time, np.float64)
    if times.ndim != 1 or times.size < 2 or not (np.diff(times) > 0).all():
        raise ParameterError("times of beats must be two or more, and ascending")
    return times


def _grid(
    time: NDArray[np.float64],
    downbeats: NDArray[np.int64],
    signature: tuple[int, int],
    span: NDArray[np.float64],
) -> BeatGrid:
    """Grid of bars that begin at the downbeats, and span an interval of time.

    A bar with more or fewer beats than the time signature has one of its own.
    """
    n_beats, is_dotted = metre_of(signature)
    time, added = _spanning(time, span)
    downbeats = downbeats + added
    first = span[0] + _EARLY * (time[1] - time[0])
    start = min(max(int(np.searchsorted(time, first, side="right")) - 1, 0), time.size - 2)
    end = max(int(np.searchsorted(time, span[1], side="right")), start + 2)
    time, downbeats = time[start:end], downbeats - start
    known = downbeats[(downbeats >= 0) & (downbeats < time.size)]
    if not known.size:
        first = downbeats[-1] % n_beats
        known = np.array([first if first < time.size else 0])  # a pickup alone is no score
    downbeats = np.concatenate([np.arange(known[0] % n_beats, known[0], n_beats), known])
    n_bars = -(-(time.size - downbeats[-1]) // n_beats)
    counts = [*np.diff(downbeats).tolist(), *[n_beats] * n_bars]
    n_more = downbeats[-1] + n_bars * n_beats - time.size
    time = np.concatenate([time, time[-1] + (time[-1] - time[-2]) * np.arange(1, n_more + 1)])
    if is_dotted:  # a bar of a dotted quarter is in 3/8, and has three beats
        short = downbeats[np.flatnonzero(np.array(counts) == 1)]
        thirds = time[short] + (time[short + 1] - time[short]) * np.array([[1 / 3], [2 / 3]])
        time = np.sort(np.concatenate([time, thirds.ravel()]))
    unit = 3 if is_dotted else 1
    bars = [signature if count == n_beats else (count * unit, signature[1]) for count in counts]
    if not is_dotted:  # a bar of six eighths among others is in 6/8, and has two beats
        merged = [
            start + part
            for start, bar in zip(downbeats.tolist(), bars, strict=False)
            if is_compound(*bar)
            for part in range(bar[0])
            if part % 3
        ]
        time = np.delete(time, merged)
    if downbeats[0]:
        bars.insert(0, signature)
    return BeatGrid(time, Bars(bars, pickup=int(downbeats[0]) * beat_duration(*signature)))


def _spanning(
    time: NDArray[np.float64], span: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """Beats with others added before and after, as needed to span an interval; how many before."""
    first, last = time[1] - time[0], time[-1] - time[-2]
    n_before = max(int(np.ceil((time[0] - span[0]) / first - _EARLY)), 0)
    n_after = max(int(np.floor((span[1] - time[-1]) / last)), 0)
    before = time[0] - first * np.arange(n_before, 0, -1)
    after = time[-1] + last * np.arange(1, n_after + 1)
    return np.concatenate([before, time, after]), n_before
