"""Write scores to MIDI files whose bars are those of the score, played as they were."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import ParameterError
from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import TICKS, Bars, bar_duration, beat_duration, irregular_signature
from harmnmf.score.key_names import key_name
from harmnmf.score.score import Key, Score
from harmnmf.storage.files import atomic_path

__all__ = ["write_score_midi"]

# Of a score without a performance: microseconds of a quarter, velocity, and ticks of grace notes.
_TEMPO, _VELOCITY, _GRACE = 500_000, 64, TICKS // 8
_SLOWEST = 2**24 - 1  # microseconds of a quarter: three bytes of a file
_TICK = 1 / 960  # seconds, at most
_MOST_TICKS = 10_000_000  # of a file that pretty_midi reads
_INAUDIBLE = 1e-4  # seconds
_SIXTEENTH = TICKS // 4
_SUSTAIN = 64
_HANDS = {1: "Right hand", 2: "Left hand"}
# Of events at one tick the pedal is before releases, so that it holds the notes, and new notes are
# the last.
_FIRST, _PEDAL, _RELEASE, _STRIKE = range(4)
_Event = tuple[int, int, Any]  # tick, place among the events of a tick, message


def write_score_midi(path: str | Path, score: Score) -> None:
    """Write a score to a MIDI file: played as it was, with its bars.

    Notes and pedal keep their times to less than a millisecond, or to a few in performances of an
    hour or more, whose files would have too many ticks for some programs. The tempo follows the
    beats, so that score programs and sequencers show the bars of the score. Each hand has a track,
    with the pedal. The time before the first beat has as many beats as fit the first tempo, or if
    it is less than half a beat, is a bar of a sixteenth or a few. Overlapping notes of a pitch are
    cut. A score without a performance is written at 120 quarters a minute.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    score : Score
        Score.

    Raises
    ------
    ParameterError
        If a quarter lasts longer than 16.7 s, which a MIDI file cannot have.
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key, ScoreNotes
    >>> columns = [np.array([value]) for value in (0, 1920, 60, 1, 1, 0)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_score_midi(Path(folder, "a.mid"), Score(notes, Bars([[4, 4]]), (Key(0, 0),)))
    """
    if score.performance is None:
        notes, written = _nominal(score)
        positions = score.bars.starts
        time_line = _TimeLine(score.bars, positions, positions / TICKS * _TEMPO / 1e6)
    else:
        notes, written = score.performance.notes, score.performance.written
        grid = score.performance.grid
        positions = np.append(score.bars.beats(), score.bars.starts[-1])
        time_line = _TimeLine(score.bars, positions, grid.time_at(positions))
    title = score.title.encode(errors="replace").decode()
    tracks = [_track(title, _signatures(score, time_line) + _tempi(time_line))]
    strokes = _strokes(notes, time_line, score.notes.staff[written])
    pedal = _pedal(notes, time_line)
    program = (0, _FIRST, mido.Message("program_change", program=0))
    # Both hands have one channel: MuseScore makes two instruments of two.
    tracks += [_track(name, [program, *pedal, *strokes[hand]]) for hand, name in _HANDS.items()]
    division = TICKS * time_line.factor
    midi = mido.MidiFile(type=1, ticks_per_beat=division, charset="utf-8", tracks=tracks)
    with atomic_path(path) as temporary:
        midi.save(temporary)


class _TimeLine:
    """Ticks of a file, for times in seconds and for positions in a score.

    Parameters
    ----------
    bars : Bars
        Bars of the score.
    positions, seconds : ndarray, shape (n_points,)
        Places in the score and their times, both ascending; the tempo between them is constant.

    Attributes
    ----------
    ticks, seconds : ndarray, shape (n_points,)
        Points of the file; the first is (0, 0).
    start : int
        Position of tick 0 in the score.
    short_bar : int
        Ticks of the score in a bar before all others, or 0 if there is none.
    factor : int
        Ticks of the file in a tick of the score.
    """

    def __init__(
        self, bars: Bars, positions: NDArray[np.int64], seconds: NDArray[np.float64]
    ) -> None:
        # Beats before time 0 are lost: nothing is played there.
        positions, seconds = positions[seconds >= 0], seconds[seconds >= 0]
        self.short_bar = 0
        if seconds[0] > _INAUDIBLE:
            beat = beat_duration(*bars.time_signatures[0].tolist())
            tempo = (positions[1] - positions[0]) / (seconds[1] - seconds[0])
            lead = beat * round(seconds[0] * tempo / beat)
            if not lead:
                lead = self.short_bar = _SIXTEENTH * max(1, round(seconds[0] * tempo / _SIXTEENTH))
            positions = np.concatenate([[positions[0] - lead], positions])
            seconds = np.concatenate([[0.0], seconds])
        self.start = int(positions[0])
        self.positions, self.seconds = positions, seconds
        slowest = TICKS * (np.diff(seconds) / np.diff(positions)).max()
        if slowest * 1e6 > _SLOWEST:
            raise ParameterError(
                f"a quarter lasts {slowest:.1f} s, and a MIDI file can have up to "
                f"{_SLOWEST / 1e6:.1f} s: the beats are too far apart"
            )
        most = max(1.0, _MOST_TICKS / (self.positions[-1] - self.start))
        finest = math.ceil(math.log2(slowest / TICKS / _TICK))
        self.factor = 2 ** max(0, min(finest, math.floor(math.log2(most))))

    def tick_at(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Tick of the file at a time; after the last point the tempo stays."""
        quick = np.diff(self.positions[-2:]) / np.diff(self.seconds[-2:])
        position = np.interp(seconds, self.seconds, self.positions)
        position += np.maximum(seconds - self.seconds[-1], 0.0) * quick
        return np.rint((position - self.start) * self.factor).astype(np.int64)

    def tick_of(self, position: int) -> int:
        """Tick of the file at a position in the score, or 0 if that is before it begins."""
        return max(0, position - self.start) * self.factor


def _tempi(time_line: _TimeLine) -> list[_Event]:
    """Tempo at each point, such that the next is right, whatever was rounded before."""
    events: list[_Event] = []
    elapsed = float(time_line.seconds[0])
    last = None
    points = zip(time_line.positions.tolist(), time_line.seconds.tolist(), strict=True)
    for (position, _), (following, seconds) in pairwise(points):
        quarters = (following - position) / TICKS
        tempo = min(max(1, round((seconds - elapsed) / quarters * 1e6)), _SLOWEST)
        elapsed += tempo * quarters / 1e6
        if tempo != last:
            message = mido.MetaMessage("set_tempo", tempo=tempo)
            events.append((time_line.tick_of(position), _FIRST, message))
        last = tempo
    return events


def _signatures(score: Score, time_line: _TimeLine) -> list[_Event]:
    """Time signatures and key signatures.

    Before the first bar line of the score there are whole bars, and before them shorter ones.
    """
    bars = score.bars
    signatures = [(int(upper), int(lower)) for upper, lower in bars.time_signatures]
    lines = [
        (int(line), index)
        for index, line in enumerate(bars.starts)
        if line >= time_line.start and not (index == 0 and bars.pickup)
    ]
    first_line, first = lines[0]
    before = signatures[max(first - 1, 0)]
    changes = []
    start = time_line.start
    for ticks in (
        time_line.short_bar,
        (first_line - start - time_line.short_bar) % bar_duration(*before),
    ):
        if ticks:
            changes.append((start, irregular_signature(ticks, before[1])))
            start += ticks
    if start < first_line:
        changes.append((start, before))
    changes += [(line, signatures[index]) for line, index in lines if index < len(signatures)]
    events: list[_Event] = []
    last = None
    for position, signature in changes:
        if signature != last:
            message = mido.MetaMessage(
                "time_signature", numerator=signature[0], denominator=signature[1]
            )
            events.append((time_line.tick_of(position), _FIRST, message))
        last = signature
    for key in score.keys:
        tick = time_line.tick_of(int(bars.starts[key.bar]))
        events.append((tick, _FIRST, mido.MetaMessage("key_signature", key=_midi_key(key))))
    return events


def _midi_key(key: Key) -> str:
    """Name of a key in mido: Eb, or Cm."""
    tonic, mode = key_name(key).split()
    return tonic if mode == "major" else f"{tonic}m"


def _strokes(
    notes: NoteList, time_line: _TimeLine, staff: NDArray[np.int64]
) -> dict[int, list[_Event]]:
    """Strokes and releases of keys by staff; a key is released before it is struck again."""
    start = time_line.tick_at(notes.onset)
    end = np.maximum(time_line.tick_at(notes.offset), start + 1)
    order = np.lexsort((end, start, notes.pitch))
    is_same = np.diff(notes.pitch[order]) == 0
    before, after = order[:-1][is_same], order[1:][is_same]
    latest = np.full(len(notes), np.iinfo(np.int64).max)
    # Programs may play one track after the other at each tick.
    latest[before] = start[after] - (staff[before] != staff[after])
    end = np.minimum(end, latest)
    strokes: dict[int, list[_Event]] = {hand: [] for hand in _HANDS}
    # Of notes of one pitch that begin at one tick the longest is left.
    for i in np.flatnonzero(end > start).tolist():
        note, velocity = int(notes.pitch[i]), int(notes.velocity[i])
        strokes[int(staff[i])] += [
            (int(start[i]), _STRIKE, mido.Message("note_on", note=note, velocity=velocity)),
            (int(end[i]), _RELEASE, mido.Message("note_off", note=note, velocity=0)),
        ]
    return strokes


def _pedal(notes: NoteList, time_line: _TimeLine) -> list[_Event]:
    ticks = time_line.tick_at(notes.pedal_values[:, 0]).tolist()
    values = notes.pedal_values[:, 1].astype(int).tolist()
    return [
        (tick, _PEDAL, mido.Message("control_change", control=_SUSTAIN, value=value))
        for tick, value in zip(ticks, values, strict=True)
    ]


def _track(name: str, events: list[_Event]) -> mido.MidiTrack:
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    return track


def _nominal(score: Score) -> tuple[NoteList, NDArray[np.int64]]:
    """Play a score as written: its notes in seconds, and the index of each in the score.

    Grace notes are played before the beat.
    """
    notes = score.notes
    onset, end = notes.onset.copy(), notes.onset + notes.duration
    n_graces: Counter[int] = Counter()
    for i in np.flatnonzero(notes.duration == 0)[::-1].tolist():
        place = int(notes.onset[i])
        n_graces[place] += 1
        onset[i] = max(0, place - n_graces[place] * _GRACE)
        end[i] = onset[i] + _GRACE
    order = np.lexsort((end, notes.pitch, onset))
    tick = _TEMPO / 1e6 / TICKS
    velocity = np.full(len(notes), _VELOCITY)
    played = NoteList(onset[order] * tick, end[order] * tick, notes.pitch[order], velocity)
    return played, order
