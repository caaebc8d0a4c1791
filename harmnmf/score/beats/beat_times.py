"""Times of beats to the millisecond: at the onsets of notes, or on a grid of constant tempo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["align_beats", "fit_constant_tempo"]

_REACH = 0.12  # of a beat: how far from it its notes may begin
_GREATEST_REACH = 0.07  # seconds
_CHORD = 0.035  # seconds between successive onsets of a chord


def align_beats(
    beats: NDArray[np.float64], onset: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Move each beat to the mean onset of the chord nearest to it.

    Parameters
    ----------
    beats : ndarray, shape (n_beats,)
        Times in seconds, ascending; two or more.
    onset, weight : ndarray, shape (n_notes,)
        Onset of each note in ascending order, and its weight.

    Returns
    -------
    ndarray, shape (n_beats,)
        Times in seconds. Beats without a chord keep their place between their neighbours.
    """
    first = np.concatenate([[True], np.diff(onset) > _CHORD])
    starts = np.flatnonzero(first)
    total = np.add.reduceat(weight, starts)
    chord = np.add.reduceat(weight * onset, starts) / total
    interval = np.gradient(beats)
    reach = np.minimum(_REACH * interval, _GREATEST_REACH)
    right = np.clip(np.searchsorted(chord, beats), 0, chord.size - 1)
    left = np.maximum(right - 1, 0)
    # A chord of more notes may be a little farther away.
    near = np.abs(chord[[left, right]] - beats) / (1 + 0.3 * np.log(total[[left, right]]))
    nearest = np.where(near[0] < near[1], left, right)
    found = np.abs(chord[nearest] - beats) <= reach
    if not found.any():
        return beats
    shift = np.interp(beats, beats[found], (chord[nearest] - beats)[found])
    aligned = beats + shift
    least = 0.5 * np.diff(beats)
    return aligned if (np.diff(aligned) > least).all() else beats


def fit_constant_tempo(
    beats: NDArray[np.float64], onset: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit beats of a constant tempo to onsets.

    The period is that at which the onsets are most concentrated around multiples of a half, a
    third and a quarter of a beat; then both parameters are found by least squares.

    Parameters
    ----------
    beats : ndarray, shape (n_beats,)
        Times in seconds found without this restriction; two or more.
    onset : ndarray, shape (n_notes,)
        Onset of each note in seconds.

    Returns
    -------
    ndarray, shape (n_new_beats,)
        Times in seconds over the same span, evenly spaced; two or more.
    """
    period = float(np.median(np.diff(beats)))
    range_, duration = 0.05 * period, 16 * period
    while True:  # the longer the time, the sharper the estimate
        part = onset[onset <= onset[0] + duration]
        periods = period + range_ * np.linspace(-1, 1, 41)
        turns = np.exp(2j * np.pi * part / periods[:, None])
        power = sum(np.abs((turns**multiple).sum(axis=1)) ** 2 for multiple in (1, 2, 3, 4))
        period = float(periods[np.argmax(power)])
        if part.size == onset.size:
            break
        range_, duration = period**2 / duration / 4, 2 * duration
    # The phase of most of the beats.
    turn = np.exp(2j * np.pi * beats / period).sum()
    start = float(np.angle(turn)) / (2 * np.pi) * period
    for _ in range(3):
        position = np.round((onset - start) / period * 12) / 12
        rest = onset - start - period * position
        on_grid = np.isin(np.round(position * 12).astype(int) % 12, (0, 3, 4, 6, 8, 9))
        keep = on_grid & (np.abs(rest) < max(2 * float(np.median(np.abs(rest))), 0.005))
        if not keep.any() or np.ptp(position[keep]) < 1:
            break
        period, start = (float(value) for value in np.polyfit(position[keep], onset[keep], 1))
    first, last = np.round((beats[[0, -1]] - start) / period)
    return np.asarray(start + period * np.arange(first, max(last, first + 1) + 1))
