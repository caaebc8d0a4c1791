"""Read scores from MusicXML, and the songs of POP909."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError
from harmnmf.notes.files import read_notes
from harmnmf.notes.note_list import NoteList
from harmnmf.score.bars import TICKS, Bars, BeatGrid, bar_duration, irregular_signature
from harmnmf.score.score import Key, Score, ScoreNotes

from .documents import choose_parts, n_staves, parse, title
from .measures import FIFTHS, Measure, MeasureNote, read_measures

__all__ = ["MUSICXML_SUFFIXES", "read_musicxml", "read_pop909"]

MUSICXML_SUFFIXES = (".musicxml", ".mxl", ".xml")

_SHORTEST = 4 * TICKS // 32  # bars are whole multiples of the shortest unit of a time signature
_LONGEST = 1000 * TICKS  # longer are only bars of damaged files
# Notes of a written-out arpeggio are tied to their chord over the other notes of the arpeggio.
_MAX_TIE_GAP = 4 * TICKS


def read_musicxml(
    path: str | Path, *, part: str | None = None, unfold_repeats: bool = False
) -> Score:
    """Read the piano part of a MusicXML file.

    Of several parts, the one with two staves is read, and of several of these the one that is named
    as a keyboard instrument; otherwise two parts of one staff are read as the hands. Notes of other
    parts are left out.
    Notes that are not printed, which some programs use to play an ornament, are left out, too.
    Tied notes become one. Two short measures that make a bar together, as at a repeat within it,
    are one bar; other irregular measures have a time signature of their own. A staff keeps two
    voices, and notes of others join the nearer one. Notes are as long as they are printed: notes of
    a chord may end at different times, where some are tied on, and notes of a voice may overlap.

    A :class:`UserWarning` says which parts were chosen if others could be meant.

    Parameters
    ----------
    path : str or Path
        File to read (``.musicxml``, ``.xml``, or compressed ``.mxl``).
    part : str, optional
        Name or id of the part to read.
    unfold_repeats : bool, default=False
        Write repeats out, with their endings. "Da capo" and jumps to signs are not followed.

    Returns
    -------
    Score
        Its keys are major where the file does not say the mode.

    Raises
    ------
    FormatError
        If the file is missing, damaged, not a score in partwise MusicXML, or has no such part.

    Examples
    --------
    >>> import tempfile
    >>> xml = '''<score-partwise><part-list><score-part id="P1"><part-name>Piano</part-name>
    ... </score-part></part-list><part id="P1"><measure number="1"><attributes>
    ... <divisions>2</divisions><time><beats>2</beats><beat-type>4</beat-type></time></attributes>
    ... <note><pitch><step>F</step><alter>1</alter><octave>4</octave></pitch>
    ... <duration>3</duration></note></measure></part></score-partwise>'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "song.musicxml")
    ...     _ = path.write_text(xml)
    ...     score = read_musicxml(path)
    >>> score.notes.pitch, score.notes.fifths, score.notes.duration
    (array([66]), array([6]), array([720]))
    """
    path = Path(path)
    root = parse(path)
    if root.tag != "score-partwise":
        raise FormatError(f"{path}: not a score in partwise MusicXML, but <{root.tag}>")
    try:
        parts, remark = choose_parts(root, part)
        if remark:
            warnings.warn(f"{path}: {remark}", stacklevel=2)
        staves = max(n_staves(element) for element in parts)
        measures = [
            list(read_measures(element, first_staff + 1 if staves == 1 else 0))
            for first_staff, element in enumerate(parts)
        ]
        order = _unfold(measures[0]) if unfold_repeats else range(len(measures[0]))
        played = [[part[index] for index in order if index < len(part)] for part in measures]
        return _score(played, title(root))
    except (ValueError, ArithmeticError) as error:
        raise FormatError(f"{path}: cannot be read as MusicXML ({error})") from error


def _unfold(measures: list[Measure]) -> list[int]:
    """Order in which measures are played."""
    order: list[int] = []
    index = first = 0
    time = 1
    while index < len(measures):
        measure = measures[index]
        if measure.begins_repeat and index > first:
            first, time = index, 1
        if measure.endings and time not in measure.endings:
            index += 1
            continue
        order.append(index)
        following = measures[index + 1].endings if index + 1 < len(measures) else set()
        n_times = max(following) if measure.endings and following else measure.n_times
        if measure.n_times > 1 and time < n_times:
            index, time = first, time + 1
            continue
        if measure.n_times > 1 or (measure.endings and not following):
            first, time = index + 1, 1
        index += 1
    return order


def _score(parts: list[list[Measure]], title: str) -> Score:
    """Put measures on one time axis."""
    first = parts[0]
    if not first:
        raise ValueError("its part has no measures")
    starts, bars = _bars(first)
    ends = [*starts[1:], int(bars.starts[-1])]
    notes: list[MeasureNote] = []
    for measures in parts:
        for measure, start, end in zip(measures, starts, ends, strict=False):
            notes += [_placed(note, start, end) for note in measure.notes]
    notes = _tied(notes)
    voices = _voices(notes, bars)
    columns = [
        (note.start, note.staff, voice, note.pitch, note.end - note.start, note.fifths)
        for note, voice in zip(notes, voices, strict=True)
    ]
    order = sorted(range(len(notes)), key=columns.__getitem__)
    table = np.array([columns[index] for index in order], np.int64).reshape(-1, 6)
    onset, staff, voice, pitch, duration, fifths = (column.copy() for column in table.T)
    ornament = np.array([notes[index].ornament for index in order], np.str_)
    score_notes = ScoreNotes(onset, duration, pitch, staff, voice, fifths, ornament)
    return Score(score_notes, bars, _keys(first, starts, bars), title)


def _placed(note: MeasureNote, start: int, end: int) -> MeasureNote:
    """Move a note to its measure; rounded tuplets can end a few ticks behind the bar line."""
    if note.ornament == "grace":
        return replace(note, start=start + note.start, end=start + note.start)
    first = min(start + note.start, end - 1)
    return replace(note, start=first, end=max(min(start + note.end, end), first + 1))


def _bars(measures: list[Measure]) -> tuple[list[int], Bars]:
    """Start of each measure in ticks, and the bars that they make."""
    starts: list[int] = []
    lengths: list[int] = []
    signatures: list[tuple[int, int]] = []
    may_join = False  # whether the last bar is short, and may go on in the next measure
    for index, measure in enumerate(measures):
        full = bar_duration(*measure.signature)
        near = abs(measure.length - full) < _SHORTEST // 2 or not measure.length
        length = full if near else -(-measure.length // _SHORTEST) * _SHORTEST
        if max(length, full) > _LONGEST:
            raise ValueError(f"measure {index + 1} is too long")
        starts.append(sum(lengths))
        together = lengths[-1] + length if may_join else full + 1
        if together == full or (together < full and measure.implicit):
            lengths[-1] = together
        else:
            lengths.append(length)
            signatures.append(measure.signature)
        # A pickup is a bar of its own.
        may_join = lengths[-1] < full and not (index == 0 and measure.implicit)
    lengths[-1] = max(lengths[-1], bar_duration(*signatures[-1]))
    pickup = lengths[0] if lengths[0] < bar_duration(*signatures[0]) else 0
    for index, length in enumerate(lengths):
        if length != bar_duration(*signatures[index]) and not (index == 0 and pickup):
            signatures[index] = irregular_signature(length, signatures[index][1])
    return starts, Bars(signatures, pickup)


def _tied(notes: list[MeasureNote]) -> list[MeasureNote]:
    """Join tied notes."""
    kept: list[MeasureNote] = []
    open_notes: dict[int, list[MeasureNote]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: note.start):
        ties = note.ties
        tied = open_notes[note.pitch]
        before = [other for other in tied if 0 <= note.start - other.end < _MAX_TIE_GAP]
        if "stop" in ties and before:
            place = note.staff, note.voice
            first = max(before, key=lambda other: (other.end, (other.staff, other.voice) == place))
            tied.remove(first)
            first.end = note.end
            if first.ornament == "grace":
                first.ornament = note.ornament
            note = first
        else:
            kept.append(note)
        if "start" in ties:
            tied.append(note)
    return kept


def _voices(notes: list[MeasureNote], bars: Bars) -> list[int]:
    """Find the number of each note's voice: that of the upper of two is named first."""
    groups: dict[tuple[int, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    bar = bars.bar_at([note.start for note in notes])
    for index, note in enumerate(notes):
        groups[int(bar[index]), note.staff][note.voice].append(index)
    voices = [1] * len(notes)
    for group in groups.values():
        main = sorted(group, key=lambda name: -len(group[name]))[:2]
        main.sort(key=lambda name: (len(name), name))
        height = {
            name: sum(notes[index].pitch for index in indices) / len(indices)
            for name, indices in group.items()
        }
        for name, indices in group.items():
            nearest = min(
                main, key=lambda other: (name != other, abs(height[name] - height[other]))
            )
            for index in indices:
                voices[index] = 1 + main.index(name if name in main else nearest)
    return voices


def _keys(measures: list[Measure], starts: list[int], bars: Bars) -> tuple[Key, ...]:
    """Key signatures where they change; one within a bar holds from the next."""
    keys = [Key(0, 0)]
    for measure, start in zip(measures, starts, strict=True):
        if measure.key is None:
            continue
        position, key = measure.key
        bar = int(np.searchsorted(bars.starts, start + position))
        if keys[-1].bar == bar:
            keys.pop()
        if bar < len(bars) and (
            not keys or (keys[-1].fifths, keys[-1].mode) != (key.fifths, key.mode)
        ):
            keys.append(Key(bar, key.fifths, key.mode))
    return tuple(keys)


def read_pop909(folder: str | Path, number: int) -> tuple[NoteList, BeatGrid, tuple[Key, ...]]:
    """Read a song of POP909: notes of all tracks, beats and keys.

    Each beat is a quarter. Beats before the first downbeat are a pickup, and a last bar that was
    cut off is completed.

    Parameters
    ----------
    folder : str or Path
        Folder of the files ``NNN.mid``, ``NNN.beat_midi.txt`` and ``NNN.key_audio.txt``.
    number : int
        Number of the song.

    Returns
    -------
    notes : NoteList
        Notes, with releases of keys.
    grid : BeatGrid
        Beats and bars.
    keys : tuple of Key
        Keys, which were found in the audio.

    Raises
    ------
    FormatError
        If a file is missing or damaged.

    References
    ----------
    Z. Wang et al., "POP909: A pop-song dataset for music arrangement generation", ISMIR 2020.
    """
    paths = [
        Path(folder, f"{number:03d}.{kind}") for kind in ("mid", "beat_midi.txt", "key_audio.txt")
    ]
    notes = read_notes(paths[0], offset="key")
    try:
        table = np.loadtxt(paths[1], ndmin=2)
        grid = _pop909_grid(table[:, 0], table[:, 1] > 0, table[:, 2] > 0)
        keys: dict[int, Key] = {}
        for line in paths[2].read_text(encoding="utf-8").splitlines():
            start, _, name = line.split()
            bar = int(grid.bars.bar_at(grid.position(float(start)))) if keys else 0
            keys[bar] = _named_key(bar, name)
    except OSError as error:
        raise FormatError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, KeyError) as error:
        raise FormatError(f"{paths[1]}: not beats and keys of POP909 ({error})") from error
    return notes, grid, tuple(keys.values()) or (Key(0, 0),)


def _pop909_grid(
    time: NDArray[np.float64], is_strong: NDArray[np.bool_], is_downbeat: NDArray[np.bool_]
) -> BeatGrid:
    """Make bars of the beats from downbeat to downbeat."""
    first = np.flatnonzero(is_downbeat)
    # Six beats with a strong one in the middle are two bars of three.
    halves = first[np.diff(np.append(first, time.size)) == 6] + 3
    first = np.union1d(first, halves[is_strong[halves]])
    counts = np.diff(np.append(first, time.size)).tolist()
    counts = [counts[0]] * (first[0] // counts[0]) + counts
    pickup = int(first[0]) % counts[0]
    missing = max(counts[-2] - counts[-1], 0) if len(counts) > 1 else 0
    counts[-1] += missing
    time = np.append(time, time[-1] + (time[-1] - time[-2]) * np.arange(1, missing + 1))
    signatures = [(count, 4) for count in ([counts[0]] if pickup else []) + counts]
    return BeatGrid(time, Bars(signatures, pickup * TICKS))


def _named_key(bar: int, name: str) -> Key:
    """Key of a name like ``Gb:maj``, with the fewer accidentals of two."""
    tonic, mode = name.split(":")
    fifths = FIFTHS[tonic[0]] + 7 * (tonic.count("#") - tonic.count("b")) - 3 * (mode == "min")
    fifths = (fifths + 6) % 12 - 6 if abs(fifths) > 6 else fifths
    return Key(bar, fifths, "minor" if mode == "min" else "major")
