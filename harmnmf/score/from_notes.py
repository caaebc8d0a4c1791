"""From notes to a score, through all stages."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.beats.hypotheses import metre_of
from harmnmf.score.beats.network import BeatNetwork
from harmnmf.score.beats.tracking import grid_from_beats, track_bars, track_beats

from .bars import TICKS, BeatGrid
from .hands import assign_hands
from .key_names import parse_key
from .keys import estimate_keys
from .quantization import quantize
from .score import Key, Performance, Score, ScoreNotes
from .spelling import spell
from .voices import assign_voices

__all__ = ["default_network", "find_beats", "transcribe_score"]

_FAR = 4  # beats from the given ones to notes that are worth a warning
_LONGEST = 10.0  # seconds of a quarter; MIDI files cannot have much longer ones


@lru_cache(maxsize=1)
def default_network() -> BeatNetwork:
    """Load the shipped network that finds beats, once."""
    return BeatNetwork.load()


def find_beats(
    notes: NoteList,
    *,
    beats: BeatGrid | ArrayLike | None = None,
    tempo: float | None = None,
    level: int = 0,
    time_signature: tuple[int, int] | None = None,
    pickup: float | None = None,
    rubato: bool = True,
) -> BeatGrid:
    """Find the beats and the bars of a performance, with the shipped network.

    Parameters
    ----------
    notes : NoteList
        Notes.
    beats : BeatGrid or array_like, optional
        Known beats: times in seconds, shape (n_beats,), perhaps with the number of each in its bar,
        shape (n_beats, 2), where 1 begins a bar. Without numbers bars are found. A grid is returned
        as it is. With beats, `tempo`, `level` and `rubato` cannot be set, with numbers `pickup`,
        and with a grid `time_signature`. A :class:`UserWarning` says if notes lie more than four
        beats before the first or after the last, where the tempo is continued.
    tempo : float, optional
        About how many beats a minute there are.
    level : int, default=0
        1 for twice as many beats as would be found, -1 for half as many.
    time_signature : tuple of int, optional
        Upper and lower number, for all bars.
    pickup : float, optional
        Beats from the first note to the first bar line.
    rubato : bool, default=True
        Whether the tempo changes; if not, all beats have one duration.

    Returns
    -------
    BeatGrid
        Times of the beats, and their bars.

    Raises
    ------
    ParameterError
        If there are no notes, a parameter is out of range or contradicts the beats, or beats are so
        far apart that a quarter lasts longer than 10 s.

    Examples
    --------
    >>> onset = 0.5 * np.arange(16)
    >>> notes = NoteList(onset, onset + 0.4, 4 * [48, 55, 64, 67], 4 * [90, 50, 60, 50])
    >>> grid = find_beats(notes, tempo=120, time_signature=(4, 4), pickup=0)
    >>> grid.time.round(1)[:4], len(grid.bars)
    (array([0. , 0.5, 1. , 1.5]), 4)
    """
    if not len(notes):
        raise ParameterError("there are no notes to make a score of")
    if beats is not None:
        if tempo is not None or level or not rubato:
            raise ParameterError("beats are given; leave out tempo, level and rubato")
        return _given_beats(notes, beats, time_signature, pickup)
    return track_beats(
        notes,
        default_network().probabilities(notes),
        tempo=tempo,
        level=level,
        time_signature=time_signature,
        pickup=pickup,
        rubato=rubato,
    )


def transcribe_score(
    notes: NoteList,
    *,
    title: str = "",
    key: Key | str | None = None,
    split_pitch: int | None = None,
    **metre: Any,
) -> Score:
    """Make a score for piano of a performance.

    Each line of this function is a stage, which can be called alone, and its result replaced: beats
    and bars, hands, positions in the bars, voices and durations, keys, spelling.

    Parameters
    ----------
    notes : NoteList
        Notes; offsets are releases of keys.
    title : str, default=""
        Title of the score.
    key : Key or str, optional
        Key of the whole piece, such as "Eb major". Found by default.
    split_pitch : int, optional
        MIDI number of the lowest pitch of the right hand. By default the hands are found.
    beats, tempo, level, time_signature, pickup, rubato : optional
        What is known of the beats and bars, as in :func:`find_beats`.

    Returns
    -------
    Score
        The score, with its `performance`.

    Raises
    ------
    ParameterError
        If there are no notes, or a parameter is out of range.

    Examples
    --------
    >>> onset = 0.5 * np.arange(16)
    >>> notes = NoteList(onset, onset + 0.4, 4 * [48, 55, 64, 67], 4 * [90, 50, 60, 50])
    >>> score = transcribe_score(notes, beats=onset, time_signature=(4, 4))
    >>> len(score.notes), len(score.bars)
    (16, 4)
    """
    grid = find_beats(notes, **metre)
    staff = assign_hands(notes, split_pitch=split_pitch)
    quantized = quantize(notes, grid, staff)
    onset, pitch, bars = quantized.onset, quantized.pitch, grid.bars
    voice, duration = assign_voices(quantized, bars)
    if key is None:
        keys = estimate_keys(onset, duration, pitch, bars)
    else:
        keys = (parse_key(key) if isinstance(key, str) else key,)
    fifths = spell(onset, pitch, keys, bars)
    order = np.lexsort((pitch, voice, quantized.staff, onset))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    written = ScoreNotes(
        onset[order],
        duration[order],
        pitch[order],
        quantized.staff[order],
        voice[order],
        fifths[order],
        quantized.ornament[order],
    )
    performance = Performance(notes, grid, place[quantized.written])
    return Score(written, bars, keys, title, performance)


def _given_beats(
    notes: NoteList,
    beats: BeatGrid | ArrayLike,
    time_signature: tuple[int, int] | None,
    pickup: float | None,
) -> BeatGrid:
    """Make a grid of times, perhaps with numbers of beats."""
    if isinstance(beats, BeatGrid):
        if time_signature is not None or pickup is not None:
            raise ParameterError("the grid has its bars; leave out time_signature and pickup")
        return beats
    try:
        values = np.array(beats, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError("beats must be a BeatGrid, or times in seconds") from error
    if values.ndim == 2 and values.shape[1] == 2:
        time, number = values.T
        _check_numbers(number, time_signature, pickup)
        grid = grid_from_beats(time, number == 1, time_signature=time_signature, notes=notes)
    else:
        time = values
        probabilities = default_network().probabilities(notes)
        grid = track_bars(notes, probabilities, time, time_signature=time_signature, pickup=pickup)
    quarter = np.diff(grid.time) * TICKS / np.diff(grid.bars.beats())
    if quarter.max() > _LONGEST:
        slow = grid.time[int(quarter.argmax())]
        raise ParameterError(
            f"after {slow:.1f} s, the given beats are too far apart: a quarter would last "
            f"{quarter.max():.1f} s, and may last {_LONGEST:g} s; give more beats"
        )
    first, last = notes.onset[[0, -1]]
    before, after = _FAR * (time[1] - time[0]), _FAR * (time[-1] - time[-2])
    if first < time[0] - before or last > time[-1] + after:
        warnings.warn(
            f"the given beats are from {time[0]:.1f} to {time[-1]:.1f} s, but the notes from "
            f"{first:.1f} to {last:.1f} s; outside the beats, the nearest tempo is continued",
            stacklevel=3,
        )
    return grid


def _check_numbers(
    number: NDArray[np.float64], time_signature: tuple[int, int] | None, pickup: float | None
) -> None:
    """Check the numbers of beats in their bars against what else is known."""
    if pickup is not None:
        raise ParameterError(
            "the beats have numbers, which say where bars begin; leave out the pickup, or the "
            "numbers"
        )
    counts = np.diff(np.flatnonzero(number == 1))
    if time_signature is None or not counts.size:
        return
    usual, (expected, _) = int(np.bincount(counts).argmax()), metre_of(time_signature)
    if usual != expected:
        upper, lower = time_signature
        raise ParameterError(
            f"by the numbers of the beats most bars have {usual}, but bars of {upper}/{lower} "
            f"have {expected}; leave out the time signature, or the numbers"
        )
