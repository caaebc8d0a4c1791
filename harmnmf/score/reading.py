"""Read scores from MusicXML, and the songs of POP909.

Repeats are not unfolded: a score has the bars that are printed.
"""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError
from harmnmf.notes.files import read_notes
from harmnmf.notes.note_list import NoteList
from harmnmf.storage.files import open_plain

from .bars import TICKS, Bars, BeatGrid
from .measures import FIFTHS, Measure, MeasureNote, full_length, read_measures
from .score import Key, Score, ScoreNotes

__all__ = ["MUSICXML_SUFFIXES", "read_musicxml", "read_pop909"]

MUSICXML_SUFFIXES = (".musicxml", ".mxl", ".xml")

_MAX_BYTES = 2**26  # five times the longest piano work
_KEYBOARDS = (
    *("piano", "klavier", "clavier", "forte", "keyboard", "harpsi", "cembalo", "clavecin"),
    *("pno", "pf.", "organ", "orgel", "harmonium", "celesta"),
)
_SHORTEST = 4 * TICKS // 32  # bars are whole multiples of the shortest unit of a time signature
_LONGEST = 1000 * TICKS  # longer are only bars of damaged files
# Notes of a written-out arpeggio are tied to their chord over the other notes of the arpeggio.
_MAX_TIE_GAP = 4 * TICKS


def read_musicxml(path: str | Path, *, part: str | None = None) -> Score:
    """Read the piano part of a MusicXML file.

    Of several parts that with two staves is read, if there are more, the one named as a keyboard
    instrument; two parts of one staff are read as the hands. Notes of other parts are left out.
    Notes that are not printed, which some programs use to play an ornament, are left out, too, and
    repeats are not unfolded. Tied notes become one. Two short measures that make a bar together,
    as at a repeat within it, are one bar; other irregular measures have a time signature of
    their own. A staff keeps two voices, and notes of others join the nearer one: in these, notes
    of a voice may overlap.

    A :class:`UserWarning` says which parts were chosen if that is not plain.

    Parameters
    ----------
    path : str or Path
        File to read (``.musicxml``, ``.xml``, or compressed ``.mxl``).
    part : str, optional
        Name or id of the part to read.

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
    root = _parse(path)
    if root.tag != "score-partwise":
        raise FormatError(f"{path}: not a score in partwise MusicXML, but <{root.tag}>")
    try:
        parts, remark = _choose_parts(root, part)
        if remark:
            warnings.warn(f"{path}: {remark}", stacklevel=2)
        staves = max(_n_staves(element) for element in parts)
        measures = [
            list(read_measures(element, first_staff + 1 if staves == 1 else 0))
            for first_staff, element in enumerate(parts)
        ]
        return _score(measures, _title(root))
    except (ValueError, ArithmeticError) as error:
        raise FormatError(f"{path}: cannot be read as MusicXML ({error})") from error


def _parse(path: Path) -> ElementTree.Element:
    """Parse a file, or the score in a compressed one."""
    try:
        with open_plain(path) as file:
            data = file.read(_MAX_BYTES + 1)
        if data[:4] == b"PK\x03\x04":
            data = _extract(zipfile.ZipFile(io.BytesIO(data)))
        if len(data) > _MAX_BYTES:
            raise FormatError(f"{path}: too large for a score, with more than {_MAX_BYTES} bytes")
        # Expat expands entities, and a few lines of them can make gigabytes.
        if b"<!ENTITY" in data.replace(b"\0", b""):
            raise FormatError(f"{path}: declares XML entities, which scores do not use")
        return ElementTree.fromstring(data)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError),  # of zipfile
        *(ElementTree.ParseError, ValueError, LookupError),  # of ElementTree
    ) as error:
        raise FormatError(f"{path}: cannot be read as MusicXML ({error})") from error


def _extract(archive: zipfile.ZipFile) -> bytes:
    with archive.open(_score_name(archive)) as member:
        return member.read(_MAX_BYTES + 1)


def _score_name(archive: zipfile.ZipFile) -> str:
    """Name of the score in an archive: the first that its container lists."""
    names = archive.namelist()
    if "META-INF/container.xml" in names:
        with archive.open("META-INF/container.xml") as member:
            container = ElementTree.fromstring(member.read(2**16))
        for element in container.iter():
            if element.tag.endswith("rootfile") and element.get("full-path"):
                return str(element.get("full-path"))
    for name in names:
        if name.lower().endswith((".musicxml", ".xml")) and not name.startswith("META-INF/"):
            return name
    raise ValueError("no score in this archive")


def _title(root: ElementTree.Element) -> str:
    found = [root.findtext("movement-title"), root.findtext("work/work-title")]
    found += [
        credit.findtext("credit-words")
        for credit in root.findall("credit")
        if credit.findtext("credit-type") == "title"
    ]
    return next((" ".join(text.split()) for text in found if text and text.strip()), "")


def _n_staves(part: ElementTree.Element) -> int:
    return max((int(text.text or 1) for text in part.iter("staves")), default=1)


def _choose_parts(
    root: ElementTree.Element, wanted: str | None
) -> tuple[list[ElementTree.Element], str]:
    """Find the part of the piano, or two parts for its hands; and a remark about the choice."""
    names = {
        str(element.get("id")): " ".join((element.findtext("part-name") or "").split())
        for element in root.iter("score-part")
    }
    parts = root.findall("part")
    if not parts:
        raise ValueError("it has no parts")
    labels = [names.get(str(part.get("id"))) or str(part.get("id")) for part in parts]
    listed = ", ".join(labels)
    if wanted is not None:
        for part, label in zip(parts, labels, strict=True):
            if wanted.casefold() in (label.casefold(), str(part.get("id")).casefold()):
                return [part], ""
        raise ValueError(f"no part {wanted!r}; its parts are {listed}")
    if len(parts) == 1:
        return parts, ""
    named = [any(word in label.casefold() for word in _KEYBOARDS) for label in labels]
    wide = [_n_staves(part) > 1 for part in parts]
    ranks = [2 * is_wide + is_named for is_wide, is_named in zip(wide, named, strict=True)]
    best = [index for index, rank in enumerate(ranks) if rank == max(ranks)]
    if max(ranks) == 1 and len(best) == 1 and len(parts) > 1:
        return [parts[best[0]]], ""
    if not any(wide) and len(best) == 2:
        plain = max(ranks) == 1
        remark = f"no part has two staves; its parts {listed} are read as the two hands"
        return [parts[index] for index in best], "" if plain else remark
    if not any(wide):
        raise ValueError(f"none of its parts {listed} has two staves, as a piano's")
    others = [
        label
        for index, label in enumerate(labels)
        if index != best[0] and (named[index] or index in best)
    ]
    remark = f"part {labels[best[0]]} is read, and left out: {', '.join(others)}" if others else ""
    return [parts[best[0]]], remark


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
            for note in measure.notes:
                # Rounded tuplets can end a few ticks behind the bar line.
                note.start, note.end = (min(start + tick, end) for tick in (note.start, note.end))
                notes.append(note)
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


def _bars(measures: list[Measure]) -> tuple[list[int], Bars]:
    """Start of each measure in ticks, and the bars that they make."""
    starts: list[int] = []
    lengths: list[int] = []
    signatures: list[tuple[int, int]] = []
    may_join = False  # whether the last bar is short, and may go on in the next measure
    for index, measure in enumerate(measures):
        full = full_length(measure.signature)
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
    lengths[-1] = max(lengths[-1], full_length(signatures[-1]))
    pickup = lengths[0] if lengths[0] < full_length(signatures[0]) else 0
    for index, length in enumerate(lengths):
        if length != full_length(signatures[index]) and not (index == 0 and pickup):
            signatures[index] = _signature_of(length, signatures[index][1])
    return starts, Bars(signatures, pickup)


def _signature_of(length: int, lower: int) -> tuple[int, int]:
    """Time signature of an irregular bar, with the lower number of the others if it can be."""
    while length * lower % (4 * TICKS):
        lower *= 2
    return length * lower // (4 * TICKS), lower


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
