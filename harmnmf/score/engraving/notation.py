"""How a score is written: bars of symbols, with clefs and accidentals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.score.score import Key, Score, sharps_of_bars

from .beaming import add_beams
from .rhythm import Segment, Symbol, divide_bar, write_rhythm

__all__ = ["N_VOICES", "Measure", "Voice", "notate", "spelled_pitch"]

_STEPS = "FCGDAEB"
# Middle lines of the treble and the bass clef, B4 and D3, in steps above C0.
_CLEFS = {"G": 34, "F": 22}
_USUAL_CLEF = {1: "G", 2: "F"}
# Ledger lines beyond the first, as the mean of a bar's notes, that a change of clef is worth.
_CLEF_CHANGE = 2.5
# Of a staff, in many programs; a score that was found in a performance has two.
N_VOICES = 4
_GRACE_CHORD = 0.03  # seconds between grace notes that are played together


@dataclass(frozen=True)
class Voice:
    """Symbols of a voice in a bar, which fill it; `number` is 1 to 4 on each staff."""

    staff: int
    number: int
    symbols: tuple[Symbol, ...]


@dataclass(frozen=True)
class Measure:
    """A written bar.

    Parameters
    ----------
    number : int
        Number; 0 for a pickup.
    start, end : int
        Positions in ticks.
    time_signature : tuple of int, optional
        Upper and lower number, where they change.
    key : Key, optional
        Key signature, where it changes.
    clefs : dict of int to str
        "G" or "F" for each staff where the clef changes.
    voices : tuple of Voice
        Voices by staff; positions of their symbols are ticks in the score.
    accidentals : dict of int to int
        Index of each note with an accidental, and its sharps: negative for flats, 0 for a natural.
    """

    number: int
    start: int
    end: int
    time_signature: tuple[int, int] | None
    key: Key | None
    clefs: dict[int, str]
    voices: tuple[Voice, ...]
    accidentals: dict[int, int]


def spelled_pitch(pitch: int, fifths: int) -> tuple[str, int, int]:
    """Convert a pitch and its place on the line of fifths to step, sharps and octave.

    Examples
    --------
    >>> spelled_pitch(61, -5), spelled_pitch(59, -7), spelled_pitch(60, 12)
    (('D', -1, 4), ('C', -1, 4), ('B', 1, 3))
    """
    sharps, place = divmod(fifths + 1, 7)
    return _STEPS[place], sharps, (pitch - sharps) // 12 - 1


def notate(score: Score) -> list[Measure]:
    """Write a score as bars of symbols.

    Parameters
    ----------
    score : Score
        Score.

    Returns
    -------
    list of Measure
        Its bars.

    Raises
    ------
    ParameterError
        If notes lie outside the bars, or more than four voices of a staff overlap.

    Examples
    --------
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import ScoreNotes
    >>> columns = [np.array([value]) for value in (480, 960, 61, 1, 1, 7)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> (measure,) = notate(Score(notes, Bars([[4, 4]]), (Key(0, 1),)))
    >>> [(symbol.kind, symbol.notes) for symbol in measure.voices[0].symbols]
    [(480, ()), (960, (0,)), (480, ())]
    >>> measure.accidentals
    {0: 1}
    """
    bars = score.bars
    signatures = [(int(upper), int(lower)) for upper, lower in bars.time_signatures]
    keys = {key.bar: key for key in score.keys}
    sharps = sharps_of_bars(score.keys, np.arange(len(bars)))
    clefs = {staff: _clefs(score, staff) for staff in _USUAL_CLEF}
    segments, graces = _segments(score), _grace_notes(score)
    measures = []
    for index, signature in enumerate(signatures):
        start, end = int(bars.starts[index]), int(bars.starts[index + 1])
        voices = tuple(
            Voice(staff, number, _symbols(signature, start, end, number, chords, grace))
            for staff in _USUAL_CLEF
            for number in range(1, N_VOICES + 1)
            for chords, grace in [[place[index, staff, number] for place in (segments, graces)]]
            if chords or grace or number == 1
        )
        is_changed = index == 0 or signature != signatures[index - 1]
        measures.append(
            Measure(
                index + (not bars.pickup),
                start,
                end,
                signature if is_changed else None,
                keys.get(index),
                {
                    staff: own[index]
                    for staff, own in clefs.items()
                    if index == 0 or own[index] != own[index - 1]
                },
                voices,
                _accidentals(score, int(sharps[index]), voices),
            )
        )
    return measures


_Places = dict[tuple[int, int, int], list[Segment]]  # by bar, staff and voice


def _segments(score: Score) -> _Places:
    """Chords of each voice in each bar; those that pass over a bar line are tied.

    Notes of a voice that overlap or end apart, as printed scores have them, go to further voices.
    """
    notes, bars = score.notes, score.bars
    chords: dict[tuple[int, int, int, int], list[int]] = defaultdict(list)
    for i in np.flatnonzero(notes.duration > 0).tolist():
        end = int(notes.onset[i] + notes.duration[i])
        chords[int(notes.onset[i]), int(notes.staff[i]), int(notes.voice[i]), -end].append(i)
    found: _Places = defaultdict(list)
    reached: dict[tuple[int, int], int] = defaultdict(int)
    for (onset, staff, own, minus_end), members in sorted(chords.items()):
        end = -minus_end
        free = (n for n in (own, *range(3, N_VOICES + 1)) if reached[staff, n] <= onset)
        voice = next(free, None)
        if voice is None or end > bars.starts[-1]:
            raise ParameterError(
                f"the notes of staff {staff} at tick {onset} need more than {N_VOICES} voices, or "
                "lie outside the bars"
            )
        reached[staff, voice] = end
        for index in range(int(bars.bar_at(onset)), int(bars.bar_at(end - 1)) + 1):
            left, right = int(bars.starts[index]), int(bars.starts[index + 1])
            found[index, staff, voice].append(
                Segment(
                    max(onset, left), min(end, right), tuple(members), onset < left, end > right
                )
            )
    return found


def _grace_notes(score: Score) -> _Places:
    """Grace notes of each voice in each bar, as segments of no length, in order.

    They go with the other voice of the staff where only that has a note to play them before.
    """
    notes = score.notes
    found: _Places = defaultdict(list)
    time, last = _played_onsets(score), -np.inf
    onsets = {
        (int(staff), int(voice), int(onset))
        for staff, voice, onset, duration in zip(
            notes.staff, notes.voice, notes.onset, notes.duration, strict=True
        )
        if duration
    }
    graces = np.flatnonzero(notes.duration == 0)
    for i in graces[np.lexsort((time[graces], notes.onset[graces]))].tolist():
        staff, voice, onset = int(notes.staff[i]), int(notes.voice[i]), int(notes.onset[i])
        other = 3 - voice
        if (staff, voice, onset) not in onsets and (staff, other, onset) in onsets:
            voice = other
        place = found[int(score.bars.bar_at(onset)), staff, voice]
        if place and place[-1].start == onset and time[i] - last < _GRACE_CHORD:
            place[-1] = replace(place[-1], notes=(*place[-1].notes, i))
        else:
            place.append(Segment(onset, onset, (i,)))
        last = time[i]
    return found


def _played_onsets(score: Score) -> NDArray[np.float64]:
    """Seconds at which notes are first played; without a performance one after another."""
    if score.performance is None:
        return np.arange(len(score.notes), dtype=np.float64)
    time = np.full(len(score.notes), np.inf)
    np.minimum.at(time, score.performance.written, score.performance.notes.onset)
    return time


def _symbols(
    signature: tuple[int, int],
    start: int,
    end: int,
    number: int,
    chords: Sequence[Segment],
    graces: Sequence[Segment],
) -> tuple[Symbol, ...]:
    """Symbols of a voice in a bar from `start` to `end`."""
    if not chords and not graces:
        return (Symbol(start, end, 0),)
    metre = divide_bar(*signature)
    # A pickup is the end of a whole bar.
    origin = end - metre.bar.end
    filled = [
        replace(segment, start=segment.start - origin, end=segment.end - origin)
        for segment in _filled(start, end, chords, [grace.start for grace in graces])
    ]
    symbols = [
        replace(
            symbol,
            start=symbol.start + origin,
            end=symbol.end + origin,
            tuplet=symbol.tuplet and symbol.tuplet.shift(origin),
        )
        for symbol in add_beams(metre, write_rhythm(metre, filled, hide_rests=number > 1))
    ]
    return tuple(_with_graces(symbols, graces))


def _filled(
    start: int, end: int, chords: Sequence[Segment], cuts: Sequence[int]
) -> Iterator[Segment]:
    """Fill the time between chords with silence, and cut at positions of grace notes."""
    silent = Segment(end, end)
    for segment in [*chords, silent]:
        for part in (Segment(start, segment.start), segment):
            left = part.start
            for cut in [*sorted({cut for cut in cuts if left < cut < part.end}), part.end]:
                if cut > left:
                    yield replace(
                        part,
                        start=left,
                        end=cut,
                        tied_from=part.tied_from or (left > part.start and bool(part.notes)),
                        tied_to=part.tied_to or (cut < part.end and bool(part.notes)),
                    )
                left = cut
        start = segment.end


def _with_graces(symbols: Sequence[Symbol], graces: Sequence[Segment]) -> Iterator[Symbol]:
    """Put grace notes before the symbols that begin at their positions, or at the end."""
    for symbol in [*symbols, None]:
        group = [
            grace
            for grace in graces
            if (grace.start >= symbols[-1].end if symbol is None else grace.start == symbol.start)
        ]
        for i, grace in enumerate(group):
            beam = "begin" if i == 0 else "end" if i == len(group) - 1 else "continue"
            yield Symbol(
                grace.start,
                grace.end,
                kind=240 if len(group) == 1 else 120,
                notes=grace.notes,
                beams=() if len(group) == 1 else (beam, beam),
                is_grace=True,
            )
        if symbol is not None:
            yield symbol


def _accidentals(score: Score, signature: int, voices: Sequence[Voice]) -> dict[int, int]:
    """Accidentals that the key signature and the bar so far do not give, for each staff alone."""
    written = [
        (symbol.start, not symbol.is_grace, voice.staff, voice.number, place, i)
        for voice in voices
        for place, symbol in enumerate(voice.symbols)
        if not symbol.tied_from
        for i in symbol.notes
    ]
    current: dict[tuple[int, str, int], int] = {}
    accidentals = {}
    for _, _, staff, _, _, i in sorted(written):
        step, sharps, octave = spelled_pitch(int(score.notes.pitch[i]), int(score.notes.fifths[i]))
        # The key of k sharps has the first k steps of the line of fifths sharp.
        in_key = (signature + 6 - _STEPS.index(step)) // 7
        if sharps != current.get((staff, step, octave), in_key):
            accidentals[i] = sharps
        current[staff, step, octave] = sharps
    return accidentals


def _clefs(score: Score, staff: int) -> list[str]:
    """Choose the clef of each bar: few ledger lines, and few changes."""
    notes = score.notes
    own = notes.staff == staff
    bar = score.bars.bar_at(notes.onset[own])
    sharps, place = np.divmod(notes.fifths[own] + 1, 7)
    step = np.array(["CDEFGAB".index(step) for step in _STEPS])[place]
    height = 7 * ((notes.pitch[own] - sharps) // 12 - 1) + step
    n_bars = len(score.bars)
    n_notes = np.maximum(np.bincount(bar, minlength=n_bars), 1)
    costs = []
    for middle in _CLEFS.values():
        ledger_lines = np.maximum((np.abs(height - middle) - 4) // 2, 0)
        beyond = np.maximum(ledger_lines - 1, 0)
        costs.append(np.bincount(bar, beyond, minlength=n_bars) / n_notes)
    names = [*_CLEFS]
    total = np.where([name == _USUAL_CLEF[staff] for name in names], 0, _CLEF_CHANGE)
    change = _CLEF_CHANGE * (1 - np.eye(len(names)))
    came_from = []
    for cost in np.transpose(costs):
        ways = total + change
        came_from.append(ways.argmin(axis=1))
        total = ways.min(axis=1) + cost
    state = int(total.argmin())
    path = []
    for before in reversed(came_from):
        path.append(names[state])
        state = int(before[state])
    return path[::-1]
