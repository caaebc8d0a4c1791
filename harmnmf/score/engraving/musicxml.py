"""Write scores as MusicXML."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harmnmf.score.bars import TICKS
from harmnmf.score.score import Score, ScoreNotes
from harmnmf.storage.files import atomic_path

from .expression import Direction, directions
from .notation import N_VOICES, Measure, Voice, notate, spelled_pitch
from .rhythm import Symbol, Tuplet

__all__ = ["to_musicxml", "write_musicxml"]

_TYPES = {
    TICKS // 32: "128th",
    TICKS // 16: "64th",
    TICKS // 8: "32nd",
    TICKS // 4: "16th",
    TICKS // 2: "eighth",
    TICKS: "quarter",
    2 * TICKS: "half",
    4 * TICKS: "whole",
    8 * TICKS: "breve",
    16 * TICKS: "long",
}
_ACCIDENTALS = {
    -3: "triple-flat",
    -2: "flat-flat",
    -1: "flat",
    0: "natural",
    1: "sharp",
    2: "double-sharp",
    3: "triple-sharp",
}
_CLEF_LINES = {"G": 2, "F": 4}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)


def write_musicxml(path: str | Path, score: Score) -> None:
    """Write a score to a MusicXML file, which score programs open.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    score : Score
        Score.

    Raises
    ------
    ParameterError
        If notes lie outside the bars, or more than four voices of a staff overlap.
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key
    >>> columns = [np.array([value]) for value in (0, 1920, 60, 1, 1, 0)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> score = Score(notes, Bars([[4, 4]]), (Key(0, 0),))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_musicxml(Path(folder, "song.musicxml"), score)
    """
    text = to_musicxml(score)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_musicxml(score: Score) -> str:
    """Write a score as MusicXML 4.0: a piano with two staves.

    Parameters
    ----------
    score : Score
        Score.

    Returns
    -------
    str
        The document.

    Raises
    ------
    ParameterError
        If notes lie outside the bars, or more than four voices of a staff overlap.

    Examples
    --------
    >>> import numpy as np
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key
    >>> columns = [np.array([value]) for value in (0, 1920, 60, 1, 1, 0)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> text = to_musicxml(Score(notes, Bars([[4, 4]]), (Key(0, 0),)))
    >>> "<step>C</step>" in text
    True
    """
    root = Element("score-partwise", version="4.0")
    if score.title:
        _add(_add(root, "work"), "work-title", _NOT_XML.sub(" ", score.title))
    _add(_add(_add(root, "identification"), "encoding"), "software", "harmnmf")
    part = SubElement(_add(root, "part-list"), "score-part", id="P1")
    _add(part, "part-name", "Piano")
    instrument = SubElement(part, "score-instrument", id="P1-I1")
    _add(instrument, "instrument-name", "Piano")
    _add(instrument, "instrument-sound", "keyboard.piano")
    _add(SubElement(part, "midi-instrument", id="P1-I1"), "midi-program", 1)

    measures = notate(score)
    marks = directions(score)
    part = SubElement(root, "part", id="P1")
    for measure in measures:
        element = SubElement(part, "measure", number=str(measure.number))
        if measure.number == 0:
            element.set("implicit", "yes")
        _add_attributes(element, measure, is_first=measure is measures[0])
        own = [mark for mark in marks if measure.start <= mark.position < measure.end]
        for i, voice in enumerate(measure.voices):
            if i:
                _add(_add(element, "backup"), "duration", measure.end - measure.start)
            here = [mark for mark in own if voice.number == 1 and mark.staff == voice.staff]
            _add_voice(element, score.notes, measure, voice, here)
        if measure is measures[-1]:
            line = SubElement(element, "barline", location="right")
            _add(line, "bar-style", "light-heavy")
    indent(root)
    return _HEAD + tostring(root, encoding="unicode") + "\n"


def _add(parent: Element, name: str, text: object = None) -> Element:
    """Add an element, with a text if there is one."""
    element = SubElement(parent, name)
    if text is not None:
        element.text = str(text)
    return element


def _add_attributes(parent: Element, measure: Measure, *, is_first: bool) -> None:
    """Add what changes at a bar line; nothing if nothing does."""
    attributes = Element("attributes")
    if is_first:
        _add(attributes, "divisions", TICKS)
    if measure.key is not None:
        key = _add(attributes, "key")
        _add(key, "fifths", measure.key.fifths)
        _add(key, "mode", measure.key.mode)
    if measure.time_signature is not None:
        time = _add(attributes, "time")
        for name, number in zip(("beats", "beat-type"), measure.time_signature, strict=True):
            _add(time, name, number)
    if is_first:
        _add(attributes, "staves", 2)
    for staff, sign in measure.clefs.items():
        clef = SubElement(attributes, "clef", number=str(staff))
        _add(clef, "sign", sign)
        _add(clef, "line", _CLEF_LINES[sign])
    if len(attributes):
        parent.append(attributes)


def _add_voice(
    parent: Element,
    notes: ScoreNotes,
    measure: Measure,
    voice: Voice,
    marks: Sequence[Direction],
) -> None:
    """Add the symbols of a voice, each after the directions that stand at or within it."""
    number = voice.number + N_VOICES * (voice.staff - 1)
    tuplets = _tuplets(voice.symbols)
    for i, symbol in enumerate(voice.symbols):
        for mark in marks:
            if symbol.start <= mark.position < symbol.end:
                _add_direction(parent, mark, mark.position - symbol.start, number)
        if symbol.is_hidden:
            forward = _add(parent, "forward")
            _add(forward, "duration", symbol.end - symbol.start)
            _add(forward, "voice", number)
            _add(forward, "staff", voice.staff)
            continue
        for k, note in enumerate(symbol.notes or (None,)):
            element = _add(parent, "note")
            if symbol.is_grace:
                SubElement(element, "grace", slash="yes" if not symbol.beams else "no")
            if k:
                _add(element, "chord")
            _add_pitch(element, notes, note, is_whole_bar=symbol.kind == 0)
            if not symbol.is_grace:
                _add(element, "duration", symbol.end - symbol.start)
            for kind in _ties(symbol):
                SubElement(element, "tie", type=kind)
            _add(element, "voice", number)
            sharps = None
            if note is not None and not symbol.tied_from:
                sharps = measure.accidentals.get(note)
            _add_value(element, symbol, sharps)
            _add(element, "staff", voice.staff)
            if not k:
                for level, beam in enumerate(symbol.beams, start=1):
                    SubElement(element, "beam", number=str(level)).text = beam
            _add_notations(element, notes, symbol, note, [] if k else tuplets[i])


def _add_pitch(parent: Element, notes: ScoreNotes, note: int | None, *, is_whole_bar: bool) -> None:
    if note is None:
        rest = _add(parent, "rest")
        if is_whole_bar:
            rest.set("measure", "yes")
        return
    step, sharps, octave = spelled_pitch(int(notes.pitch[note]), int(notes.fifths[note]))
    pitch = _add(parent, "pitch")
    _add(pitch, "step", step)
    if sharps:
        _add(pitch, "alter", sharps)
    _add(pitch, "octave", octave)


def _ties(symbol: Symbol) -> Iterable[str]:
    return ["stop"] * symbol.tied_from + ["start"] * symbol.tied_to


def _add_value(parent: Element, symbol: Symbol, sharps: int | None) -> None:
    """Add the note value, the accidental and the ratio of a tuplet."""
    if symbol.kind:
        _add(parent, "type", _TYPES[symbol.kind])
    for _ in range(symbol.dots):
        _add(parent, "dot")
    if sharps is not None and sharps in _ACCIDENTALS:
        _add(parent, "accidental", _ACCIDENTALS[sharps])
    if symbol.tuplet is not None:
        ratio = _add(parent, "time-modification")
        _add(ratio, "actual-notes", symbol.tuplet.actual)
        _add(ratio, "normal-notes", symbol.tuplet.normal)
        if symbol.tuplet.unit != symbol.kind or symbol.dots:
            _add(ratio, "normal-type", _TYPES[symbol.tuplet.unit])


def _tuplets(symbols: Sequence[Symbol]) -> list[list[dict[str, str]]]:
    """Attributes of the starts and stops of tuplets at each symbol.

    There is a bracket if no beam joins all notes of the tuplet.
    """
    members: dict[Tuplet, list[int]] = defaultdict(list)
    for i, symbol in enumerate(symbols):
        if symbol.tuplet is not None:
            members[symbol.tuplet].append(i)
    found: list[list[dict[str, str]]] = [[] for _ in symbols]
    for indices in members.values():
        beams = [symbols[i].beams[:1] for i in indices]
        is_beamed = beams == [("begin",), *[("continue",)] * (len(beams) - 2), ("end",)]
        bracket = "no" if is_beamed else "yes"
        found[indices[0]].append({"type": "start", "number": "1", "bracket": bracket})
        found[indices[-1]].append({"type": "stop", "number": "1"})
    return found


def _add_notations(
    parent: Element,
    notes: ScoreNotes,
    symbol: Symbol,
    note: int | None,
    tuplets: Sequence[dict[str, str]],
) -> None:
    notations = Element("notations")
    for kind in _ties(symbol):
        SubElement(notations, "tied", type=kind)
    for attributes in tuplets:
        SubElement(notations, "tuplet", attributes)
    if note is not None and not symbol.tied_from:
        if notes.ornament[note] == "trill":
            _add(_add(notations, "ornaments"), "trill-mark")
        if notes.ornament[note] == "arpeggio":
            _add(notations, "arpeggiate")
    if len(notations):
        parent.append(notations)


def _add_direction(parent: Element, mark: Direction, offset: int, voice: int) -> None:
    direction = SubElement(
        parent, "direction", placement="above" if mark.kind == "tempo" else "below"
    )
    kind = _add(direction, "direction-type")
    if mark.kind == "tempo":
        metronome = _add(kind, "metronome")
        _add(metronome, "beat-unit", _TYPES[mark.unit])
        for _ in range(mark.dots):
            _add(metronome, "beat-unit-dot")
        _add(metronome, "per-minute", mark.value)
    elif mark.kind == "dynamics":
        _add(_add(kind, "dynamics"), mark.value)
    else:
        SubElement(kind, "pedal", type=mark.value, line="yes")
    if offset:
        _add(direction, "offset", offset)
    _add(direction, "voice", voice)
    _add(direction, "staff", mark.staff)
    if mark.kind == "tempo":
        SubElement(direction, "sound", tempo=f"{mark.tempo:g}")
