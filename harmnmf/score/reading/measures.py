"""Read the measures of a part in MusicXML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree.ElementTree import Element

from harmnmf.score.bars import TICKS, bar_duration
from harmnmf.score.score import Key

__all__ = ["FIFTHS", "Measure", "MeasureNote", "read_measures"]

# Places of the natural notes on the line of fifths, and their pitch classes.
FIFTHS = dict(zip("FCGDAEB", range(-1, 6), strict=True))
_PITCH_CLASS = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
_MOST_TIMES = 9  # of a repeat


@dataclass
class MeasureNote:
    """A note as it is written.

    Parameters
    ----------
    start, end : int
        Position in ticks, from the start of its measure.
    pitch, fifths, staff, ornament
        As in :class:`~harmnmf.score.score.ScoreNotes`.
    voice : str
        Name of its voice.
    ties : set of str
        "start" if it is tied to a later note, and "stop" to an earlier one.
    """

    start: int
    end: int
    pitch: int
    fifths: int
    staff: int
    voice: str
    ornament: str
    ties: set[str]


@dataclass
class Measure:
    """Content of a measure.

    Parameters
    ----------
    signature : tuple of int
        Upper and lower number of the time signature.
    length : int
        Ticks that are filled with notes and rests; 0 if nothing is.
    implicit : bool
        Whether it is not counted: a pickup, or the second part of a bar.
    notes : list of MeasureNote
        Notes.
    key : tuple of int and Key, optional
        Position in ticks of a new key signature, if there is one, and the key.
    begins_repeat : bool
        Whether a repeat goes back to this measure.
    n_times : int
        How often the music up to here is played; 1 without a repeat sign.
    endings : set of int
        Passes of the repeat in which this measure is played; empty if in all.
    """

    signature: tuple[int, int]
    length: int
    implicit: bool
    notes: list[MeasureNote]
    key: tuple[int, Key] | None
    begins_repeat: bool
    n_times: int
    endings: set[int]


@dataclass
class _State:
    """What holds from measure to measure."""

    scale: Fraction = Fraction(TICKS)  # ticks of a division
    signature: tuple[int, int] = (4, 4)
    transposition: tuple[int, int] = (0, 0)  # semitones, fifths
    endings: set[int] = field(default_factory=set)


def read_measures(part: Element, staff: int) -> Iterator[Measure]:
    """Read the measures of a part.

    Parameters
    ----------
    part : Element
        Element of the part.
    staff : int
        Staff of all notes, or 0 if each note says its own.

    Yields
    ------
    Measure
        Each measure.

    Raises
    ------
    ValueError
        If an element is damaged.
    """
    state = _State()
    for element in part.iter("measure"):
        yield _read_measure(element, state, staff)


def _read_measure(measure: Element, state: _State, staff: int) -> Measure:
    notes: list[MeasureNote] = []
    key = None
    position = onset = length = printed = Fraction(0)
    for element in measure:
        if element.tag == "note":
            duration = _duration(element) * state.scale
            if element.find("chord") is None:
                onset = position
                position = max(position + duration, Fraction(0))
            is_printed = element.get("print-object") != "no"
            if is_printed:
                printed = max(printed, position)
            if is_printed and element.find("pitch") is not None:
                note = _read_note(element, state, staff)
                note.start, note.end = round(onset), round(onset + abs(duration))
                notes.append(note)
        elif element.tag == "forward":
            position += _duration(element) * state.scale
        elif element.tag == "backup":
            position = max(position - _duration(element) * state.scale, Fraction(0))
        elif element.tag == "attributes":
            found = _read_attributes(element, state)
            key = (round(position), found) if found is not None and key is None else key
        length = max(length, position)
    implicit = measure.get("implicit") == "yes" or measure.get("number") == "0"
    # Hidden notes, by which an ornament is played, can be too many for the measure.
    length = min(length, max(printed, Fraction(bar_duration(*state.signature))))
    return Measure(
        *(state.signature, round(length), implicit, notes, key), *_read_repeats(measure, state)
    )


def _read_repeats(measure: Element, state: _State) -> tuple[bool, int, set[int]]:
    """Whether a measure begins a repeat, how often it is played, and in which passes."""
    begins, n_times, endings = False, 1, state.endings
    for barline in measure.findall("barline"):
        ending, repeat = barline.find("ending"), barline.find("repeat")
        if ending is not None:
            is_start = ending.get("type") == "start"
            numbers = {int(number) for number in re.findall(r"\d+", ending.get("number") or "")}
            state.endings = numbers if is_start else set()
            endings = endings or numbers
        if repeat is not None and repeat.get("direction") == "forward":
            begins = True
        elif repeat is not None:
            n_times = min(int(repeat.get("times") or 2), _MOST_TIMES)
    return begins, n_times, endings


def _read_attributes(element: Element, state: _State) -> Key | None:
    """Update what the attributes of a measure change, and return its key signature, if any."""
    divisions = element.findtext("divisions")
    if divisions is not None:
        number = Fraction(float(divisions))
        if number <= 0:
            raise ValueError("divisions must be positive")
        state.scale = TICKS / number
    time = element.find("time")
    if time is not None and time.find("beats") is not None:
        state.signature = _time_signature(time)
    transpose = element.find("transpose")
    if transpose is not None:
        octaves = int(transpose.findtext("octave-change") or 0)
        chromatic = int(transpose.findtext("chromatic") or 0)
        diatonic = int(transpose.findtext("diatonic") or round(chromatic * 7 / 12))
        state.transposition = chromatic + 12 * octaves, 7 * chromatic - 12 * diatonic
    fifths = element.findtext("key/fifths")
    if fifths is None:
        return None
    mode = "minor" if (element.findtext("key/mode") or "").strip() == "minor" else "major"
    return Key(0, min(max(int(fifths) + state.transposition[1], -7), 7), mode)


def _time_signature(time: Element) -> tuple[int, int]:
    """Upper and lower number; the sum of composite ones, as 3+2/8 or 2/4 + 3/8."""
    units = [int(text.text or 0) for text in time.findall("beat-type")]
    beats = [
        sum(int(number) for number in (text.text or "").split("+"))
        for text in time.findall("beats")
    ]
    lower = max(units, default=0)
    if not beats or len(beats) != len(units) or min(units) < 1 or min(beats) < 1:
        raise ValueError("a time signature is not possible")
    upper = sum(number * lower // unit for number, unit in zip(beats, units, strict=True))
    while lower > 32 and upper % 2 == 0:
        upper, lower = upper // 2, lower // 2
    return upper, lower


def _read_note(element: Element, state: _State, staff: int) -> MeasureNote:
    step = (element.findtext("pitch/step") or "").strip()
    alter = round(float(element.findtext("pitch/alter") or 0))
    octave = int(element.findtext("pitch/octave") or "")
    if step not in FIFTHS:
        raise ValueError(f"{step!r} is not the name of a note")
    semitones, fifths = state.transposition
    pitch = 12 * (octave + 1) + _PITCH_CLASS[step] + alter + semitones
    if not 0 <= pitch <= 127:
        raise ValueError(f"{step} in octave {octave} is no MIDI note")
    ornament = ""
    if element.find("grace") is not None:
        ornament = "grace"
    elif element.find("notations/ornaments/trill-mark") is not None:
        ornament = "trill"
    elif element.find("notations/arpeggiate") is not None:
        ornament = "arpeggio"
    return MeasureNote(
        *(0, 0, pitch, FIFTHS[step] + 7 * alter + fifths),
        staff or (1 if (element.findtext("staff") or "1").strip() == "1" else 2),
        (element.findtext("voice") or "1").strip(),
        ornament,
        {str(tie.get("type")) for tie in element.findall("tie") or _tied(element)},
    )


def _duration(element: Element) -> Fraction:
    """Duration in divisions; 0 for grace notes, which have none."""
    return Fraction(float(element.findtext("duration") or 0))


def _tied(element: Element) -> list[Element]:
    """Signs of ties, which some programs write without the ties themselves."""
    return element.findall("notations/tied")
