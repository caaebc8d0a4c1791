"""Trills, grace notes and rolled chords among played notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmnmf.notes.note_list import NoteList

from .bars import BeatGrid

__all__ = ["Ornaments", "find_ornaments"]

# A trill: notes of a second apart that alternate, so many and so fast.
_TRILL_NOTES = 5
_TRILL_STEP, _TRILL_MEAN = 0.16, 0.115  # seconds from note to note, at most and on average
_TRILL_TICKS = 100.0  # ticks from note to note in a trill, on average, at most: sixteenths have 120
_TURN_STEP = 0.16  # seconds between the notes of the turn that ends a trill

# Grace notes: time to the next note in seconds, at most; the notes around them are that much
# longer; steps in semitones to the main note; how many there are at most.
_GRACE_STEP = 0.09
_GRACE_RATIO = 2.5
_GRACE_INTERVAL = 2
_MAX_GRACES = 3
_HELD = 0.12  # seconds that a grace note sounds with its main note, at most

# A rolled chord: ascending notes so close in seconds, held together after the last.
_ROLL_STEP, _ROLL_RATIO, _ROLL_HELD = 0.11, 2.0, 0.1
_TOGETHER = 0.025  # seconds between the onsets of notes that are not ornaments of each other


@dataclass(frozen=True, eq=False)
class Ornaments:
    """Ornaments of played notes, as columns of their number.

    Parameters
    ----------
    main : ndarray of int
        Index of the main note of a trill or a grace note; of the note itself for all others.
    onset : ndarray of float
        Seconds at which the note begins together with its ornaments: a trill with its first note,
        a note with grace notes on the beat with the first of them.
    is_trill, is_grace : ndarray of bool
        Which notes are of a trill, its main note included, and which are grace notes.
    is_rolled : ndarray of bool
        Which notes follow another one in a rolled chord.
    """

    main: NDArray[np.int64]
    onset: NDArray[np.float64]
    is_trill: NDArray[np.bool_]
    is_grace: NDArray[np.bool_]
    is_rolled: NDArray[np.bool_]


def find_ornaments(notes: NoteList, grid: BeatGrid, staff: NDArray[np.int64]) -> Ornaments:
    """Find trills, grace notes and rolled chords of each hand.

    A trill is a fast alternation of two notes a second apart, faster than sixteenth notes. Grace
    notes are short, isolated, and a second from their main note; there may be up to three in
    ascending order. The notes of a rolled chord ascend and are held together.

    Parameters
    ----------
    notes : NoteList
        Played notes.
    grid : BeatGrid
        Beats.
    staff : ndarray of int, shape (n_played,)
        1 for the right hand, 2 for the left.

    Returns
    -------
    Ornaments
        Ornaments. The main note of a trill is the first of the lower notes.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> notes = NoteList([0.0, 0.95, 1.0], [0.9, 1.02, 1.9], [60, 65, 64], [70, 70, 70])
    >>> find_ornaments(notes, BeatGrid([0, 0.5], Bars([[2, 4]])), np.array([1, 1, 1])).main
    array([0, 2, 2])
    """
    main = np.arange(len(notes))
    onset = notes.onset.copy()
    is_trill, is_grace, is_rolled = np.zeros((3, len(notes)), np.bool_)
    position = grid.position(notes.onset)
    for hand in (1, 2):
        of_hand = np.flatnonzero(staff == hand)
        for run, low in _trills(notes, position, of_hand):
            main[run] = low
            onset[low] = notes.onset[run[0]]
            is_trill[run] = True
        rest = of_hand[~is_trill[of_hand]]
        others = notes.onset[staff != hand]
        for graces, note in _graces(notes, rest):
            main[graces] = note
            is_grace[graces] = True
            if _is_near(others, onset[graces[0]]) and not _is_near(others, onset[note]):
                onset[note] = onset[graces[0]]
        rest = rest[~is_grace[rest]]
        is_rolled[rest[_rolled(notes, rest)]] = True
    return Ornaments(main, onset, is_trill, is_grace, is_rolled)


def _is_near(times: NDArray[np.float64], time: float) -> bool:
    """Whether a note begins together with a time; `times` ascend."""
    first, last = np.searchsorted(times, [time - _TOGETHER, time + _TOGETHER])
    return bool(last > first)


def _trills(
    notes: NoteList, position: NDArray[np.float64], of_hand: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Find the notes of each trill, and its main note."""
    is_free = np.ones(len(notes), np.bool_)
    pitch = notes.pitch[of_hand]
    for low in np.unique(pitch).tolist():
        for interval in (1, 2):
            pair = of_hand[(pitch == low) | (pitch == low + interval)]
            pair = pair[is_free[pair]]
            step = np.diff(notes.onset[pair])
            alternates = (np.diff(notes.pitch[pair]) != 0) & (step < _TRILL_STEP) & (step > 0)
            bounds = np.flatnonzero(np.diff(np.r_[0, alternates, 0]))
            for first, last in zip(bounds[::2], bounds[1::2], strict=True):
                run = pair[first : last + 1]
                if (
                    run.size < _TRILL_NOTES
                    or step[first:last].mean() > _TRILL_MEAN
                    or np.diff(position[run]).mean() > _TRILL_TICKS
                ):
                    continue
                run = np.append(run, _turn(notes, of_hand, run[-1], low))
                is_free[run] = False
                yield run, int(run[notes.pitch[run] == low][0])


def _turn(notes: NoteList, of_hand: NDArray[np.int64], last: int, low: int) -> NDArray[np.int64]:
    """Find the turn that ends a trill: the note below the lower one, and that one again."""
    place = int(np.searchsorted(of_hand, last))
    following = of_hand[place + 1 : place + 3]
    step = np.diff(notes.onset[np.append(last, following)])
    if following.size == 2 and (step < _TURN_STEP).all():
        below, again = notes.pitch[following]
        if 1 <= low - below <= 2 and again == low:
            return following
    return following[:0]


def _graces(notes: NoteList, of_hand: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Find the grace notes before each main note."""
    onset, pitch, offset = notes.onset[of_hand], notes.pitch[of_hand], notes.offset[of_hand]
    step = np.diff(onset, prepend=-np.inf, append=np.inf)  # from the note before, and to the next
    is_short = (step < _GRACE_STEP) & (step > _TOGETHER)
    bounds = np.flatnonzero(np.diff(np.r_[0, is_short, 0]))
    # The notes from `first` up to `last` are short, and that at `last` is the main note.
    for first, last in zip(bounds[::2] - 1, bounds[1::2] - 1, strict=True):
        longest = step[first + 1 : last + 1].max()
        end = last + int(np.searchsorted(onset[last:], onset[last] + _TOGETHER))
        chord = pitch[last:end]
        until_next = onset[end] - onset[last] if end < onset.size else np.inf
        if (
            last - first <= _MAX_GRACES
            and min(step[first], until_next) > _GRACE_RATIO * longest
            and (last - first == 1 or (np.diff(pitch[first : last + 1]) > 0).all())
            and np.abs(chord - pitch[last - 1]).min() <= _GRACE_INTERVAL
            and not np.isin(pitch[first:last], chord).any()
            and offset[first:last].max() < onset[last] + _HELD
        ):
            yield of_hand[first:last], int(of_hand[last])


def _rolled(notes: NoteList, of_hand: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the places of the notes that follow another one in a rolled chord."""
    onset, pitch = notes.onset[of_hand], notes.pitch[of_hand]
    offset = notes.offset[of_hand]
    step = np.diff(onset)
    rises = (step < _ROLL_STEP) & (step > _TOGETHER) & (np.diff(pitch) > 0)
    bounds = np.flatnonzero(np.diff(np.r_[0, rises, 0]))
    found = [
        np.arange(first + 1, last + 1)
        for first, last in zip(bounds[::2], bounds[1::2], strict=True)
        if last - first >= 2
        and offset[first : last + 1].min() > onset[last] + _ROLL_HELD
        and (
            last + 1 == onset.size
            or onset[last + 1] - onset[last] > _ROLL_RATIO * step[first:last].max()
        )
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)
