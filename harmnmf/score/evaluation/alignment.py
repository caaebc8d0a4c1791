"""Align two scores by their pitches, since the bars of one may drift from those of the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import interp1d

from harmnmf.score.score import Score, ScoreNotes

__all__ = ["ScoreAlignment", "align_scores"]

_GAP = 1.0  # cost of an onset that is not aligned
_DRIFT = 1e-6  # of alignments that cost the same, the one of the steadiest tempo is taken
_ROUNDING = 1e-10  # more than the rounding errors of costs
_UP, _LEFT, _DIAGONAL = 0, 1, 2


@dataclass(frozen=True)
class ScoreAlignment:
    """Onsets of a score, each with its onset in another.

    Parameters
    ----------
    reference, estimated : ndarray of int, shape (n_anchors,)
        Positions in ticks of the onsets that correspond, ascending in both scores.
    """

    reference: NDArray[np.int64]
    estimated: NDArray[np.int64]

    def to_reference(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Convert positions in the estimated score to the reference, in ticks.

        Between two anchors, and beyond the first or the last two, it is linear.
        """
        if self.estimated.size < 2:
            shift = self.reference - self.estimated
            return position + (int(shift[0]) if shift.size else 0)
        line = interp1d(self.estimated, self.reference, fill_value="extrapolate")
        return np.rint(line(position)).astype(np.int64)


def align_scores(reference: Score, estimated: Score) -> ScoreAlignment:
    """Align two scores by dynamic programming, onset by onset.

    The cost of two onsets is 1 less the F-measure of their pitches, and that of an onset without
    partner is 1, as in MV2H. There can be millions of alignments of the least cost: MV2H tries
    them all and takes the one with the best score, this takes the one of the steadiest tempo. Grace
    notes are left out: they have no place of their own.

    Parameters
    ----------
    reference, estimated : Score
        Scores.

    Returns
    -------
    ScoreAlignment
        Onsets that correspond.

    References
    ----------
    A. McLeod, "Evaluating non-aligned musical score transcriptions with MV2H", ISMIR
    late-breaking/demo, 2019.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key
    >>> def scale(quarters, pitches):
    ...     n, zeros = len(pitches), np.zeros(len(pitches), int)
    ...     notes = ScoreNotes(
    ...         480 * np.array(quarters), zeros + 480, np.array(pitches), zeros + 1, zeros + 1,
    ...         np.array([7 * pitch % 12 for pitch in pitches]), np.array([""] * n),
    ...     )
    ...     return Score(notes, Bars([[4, 4]] * 2), (Key(0, 0),))
    >>> align_scores(scale([0, 1, 2], [60, 62, 64]), scale([1, 5], [60, 64])).reference
    array([  0, 960])
    """
    onsets, rolls = zip(*(_chords(score.notes) for score in (reference, estimated)), strict=True)
    n_ref, n_est = (len(onset) for onset in onsets)
    sizes = [roll.sum(axis=1) for roll in rolls]
    parts = [
        onset / max(1, (score.notes.onset + score.notes.duration).max(initial=0))
        for onset, score in zip(onsets, (reference, estimated), strict=True)
    ]
    by_pitch = np.ascontiguousarray(rolls[1].T)
    steps = np.full((n_ref + 1, n_est + 1), _LEFT, np.uint8)
    steps[1:, 0] = _UP
    column = np.arange(n_est + 1)
    cost = _GAP * column.astype(np.float64)
    for row in range(n_ref):
        common = by_pitch[rolls[0][row] > 0].sum(axis=0)
        distance = 1 - 2 * common / (sizes[1] + sizes[0][row])
        distance += _DRIFT * np.abs(parts[1] - parts[0][row])
        up, diagonal = cost + _GAP, cost[:-1] + distance
        best = up.copy()
        best[1:] = np.minimum(up[1:], diagonal)
        steps[row + 1, 1:] = np.where(diagonal <= up[1:], _DIAGONAL, _UP)
        # From the left: the least of all costs before, and a gap for each onset since then.
        cost = np.minimum.accumulate(best - _GAP * column) + _GAP * column
        steps[row + 1][cost < best - _ROUNDING] = _LEFT
    row, place = n_ref, n_est
    pairs = []
    while row and place:
        step = steps[row, place]
        if step == _DIAGONAL:
            pairs.append((row - 1, place - 1))
        row -= step != _LEFT
        place -= step != _UP
    rows, places = np.array(pairs[::-1], np.int64).reshape(-1, 2).T
    return ScoreAlignment(onsets[0][rows], onsets[1][places])


def _chords(notes: ScoreNotes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Onsets, and a row for each of the pitches; a second note of a pitch has its own column."""
    is_timed = notes.duration > 0
    onset, pitch = notes.onset[is_timed], notes.pitch[is_timed]
    onsets, place = np.unique(onset, return_inverse=True)
    roll = np.zeros((len(onsets), 256), np.float32)
    _, first = np.unique(256 * place + pitch, return_index=True)
    is_first = np.zeros(len(onset), np.bool_)
    is_first[first] = True
    roll[place, pitch + np.where(is_first, 0, 128)] = 1
    return onsets, roll
