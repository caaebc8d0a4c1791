"""Accuracy key by key, and of the notes of intervals and chords.

::

    python -m benchmarks.keyboard --data PATH/TO/data

Transcribes isolated notes, chromatic scales, pairs of notes and ten-note chords of three pianos:
the notes as they were recorded, the rest rendered from them. The shipped dictionary and network
were learned from these pianos, among others: ``--dictionary`` and ``--decoder`` name others.
Intervals and chords are also counted in the first 30 s of each recording in ``piano/real``. Notes
match as for the scores: same pitch, onsets within 50 ms. Extra notes count for the key that was
struck nearest in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from harmnmf import Audio, NoteList, SampledPiano, Transcriber, pitch_from_name, read_audio
from harmnmf.dictionary.isolated_notes import find_attack
from harmnmf.notes.pitch_names import pitch_name
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.signal.harmonics import PIANO_PITCHES

from .data import isolated_notes, on_sound
from .note_errors import TOLERANCE, match_notes
from .report import Table, benchmark
from .transcription import transcribe_recordings

PLAYED = ("ydp", "kw", "fluid")
# Lowest key of each region.
REGIONS = (21, 27, 36, 48, 60, 72, 84, 96, 103)
INTERVALS = {
    "fifth": 7, "octave": 12, "tenth": 16, "twelfth": 19, "two octaves": 24,
    "two octaves and a third": 28,
}  # fmt: skip
SIZES = {"2": 2, "3": 3, "4": 4, "5 or more": 5}  # fewest notes of a chord
PLACES = ("lowest", "inner", "second highest", "highest")

SILENCE = 0.5  # seconds before the first note
ALONE, FADE = 3.0, 0.5  # seconds of an isolated note, and of its end, which is faded out
STEP, HELD = 0.5, 0.45  # seconds from note to note of a scale, and of each
CHORD_STEP, CHORD_HELD = 1.0, 0.9
VELOCITY = 64
LOWEST = range(21, 94, 3)  # lower keys of the pairs
N_CHORDS = 24
N_FINGERS = 5
FINGERS, SPAN = (2, 5), 14  # semitones between neighbouring fingers, and between outer ones
LEFT, RIGHT = (28, 46), (60, 85)  # lowest keys of each hand
SEED = 0
DURATION = 30.0  # seconds of each real recording


class Transcribed(NamedTuple):
    """Notes of a recording, and those of its transcription."""

    reference: NoteList
    estimated: NoteList


def read_note(path: Path) -> tuple[Audio, NoteList]:
    """Read an isolated note as a recording of its own, after half a second of silence."""
    audio = read_audio(path, duration=ALONE, sample_rate=SAMPLE_RATE)
    fade = np.clip((ALONE - np.arange(len(audio.samples)) / SAMPLE_RATE) / FADE, 0, 1)
    samples = np.pad(fade * audio.samples, (round(SILENCE * SAMPLE_RATE), 0))
    onset = find_attack(samples, SAMPLE_RATE) / SAMPLE_RATE
    note = NoteList([onset], [SILENCE + ALONE], [pitch_from_name(path)], [VELOCITY])
    return Audio(samples, SAMPLE_RATE), note


def sequence(chords: Iterable[Iterable[int]], step: float, held: float) -> NoteList:
    """Make chords of equal velocity that follow each other.

    Examples
    --------
    >>> sequence([[60, 72], [62]], step=1.0, held=0.9).onset
    array([0.5, 0.5, 1.5])
    """
    rows = [
        (SILENCE + i * step, SILENCE + i * step + held, pitch, VELOCITY)
        for i, chord in enumerate(chords)
        for pitch in chord
    ]
    return NoteList(*np.array(rows, dtype=float).T)


def scales() -> Iterator[NoteList]:
    """Make a chromatic scale over each region of the keyboard."""
    for first, end in zip(REGIONS, [*REGIONS[1:], PIANO_PITCHES[-1] + 1], strict=True):
        yield sequence([[key] for key in range(first, end)], STEP, HELD)


def pairs(semitones: int) -> NoteList:
    """Make pairs of notes an interval apart, all over the keyboard."""
    lower = [key for key in LOWEST if key + semitones in PIANO_PITCHES]
    return sequence([[key, key + semitones] for key in lower], CHORD_STEP, CHORD_HELD)


def ten_note_chords() -> NoteList:
    """Make random chords of two hands of five fingers."""
    rng = np.random.default_rng(SEED)

    def hand(lowest: int) -> list[int]:
        steps = np.full(N_FINGERS - 1, SPAN)
        while steps.sum() > SPAN:
            steps = rng.integers(*FINGERS, N_FINGERS - 1, endpoint=True)
        return [lowest, *(lowest + steps.cumsum()).tolist()]

    lowest = [(rng.integers(*LEFT), rng.integers(*RIGHT)) for _ in range(N_CHORDS)]
    chords = [[*hand(int(left)), *hand(int(right))] for left, right in lowest]
    return sequence(chords, CHORD_STEP, CHORD_HELD)


def count_keys(pieces: Iterable[Transcribed]) -> NDArray[np.int64]:
    """Count by MIDI number the notes that were played and found, and the extra ones meanwhile.

    Returns
    -------
    ndarray of int, shape (3, 128)
        The counts.

    Examples
    --------
    >>> played = NoteList([0.0, 1.0], [1, 2], [21, 22], [64, 64])
    >>> heard = NoteList([0.0, 0.9], [1, 2], [21, 34], [64, 64])
    >>> count_keys([Transcribed(played, heard)])[:, 21:23].tolist()
    [[1, 1], [1, 0], [0, 1]]
    """
    counts = np.zeros((3, 128), np.int64)
    for reference, estimated in pieces:
        found, right = match_notes(reference, estimated)
        late = estimated.onset[right < 0, None] - reference.onset
        meanwhile = reference.pitch[np.abs(late).argmin(axis=1)]
        for row, pitches in enumerate((reference.pitch, reference.pitch[found >= 0], meanwhile)):
            counts[row] += np.bincount(pitches, minlength=128)
    return counts


def count_pairs(pieces: Iterable[Transcribed], semitones: int) -> NDArray[np.int64]:
    """Count the pairs that are struck together, those with the lower note found, and the upper.

    Examples
    --------
    >>> played = NoteList([0.0, 0.0, 1.0], [1, 1, 2], [60, 72, 72], [64, 64, 64])
    >>> heard = NoteList([0.0, 1.0], [1, 2], [60, 72], [64, 64])
    >>> count_pairs([Transcribed(played, heard)], 12).tolist()
    [1, 1, 0]
    """
    counts = np.zeros(3, np.int64)
    for reference, estimated in pieces:
        is_found = match_notes(reference, estimated)[0] >= 0
        is_pair = _together(reference) & (reference.pitch - reference.pitch[:, None] == semitones)
        lower, upper = np.nonzero(is_pair)
        counts += [len(lower), is_found[lower].sum(), is_found[upper].sum()]
    return counts


def count_places(pieces: Iterable[Transcribed], smallest: int, largest: int) -> NDArray[np.int64]:
    """Count the notes of chords of some sizes, and those found, by their place in the chord.

    Returns
    -------
    ndarray of int, shape (2, 4)
        The counts for each of `PLACES`.

    Examples
    --------
    >>> played = NoteList(np.zeros(4), np.ones(4), [48, 60, 64, 67], np.full(4, 64))
    >>> heard = NoteList(np.zeros(2), np.ones(2), [48, 60], np.full(2, 64))
    >>> count_places([Transcribed(played, heard)], 4, 4).tolist()
    [[1, 1, 1, 1], [1, 1, 0, 0]]
    """
    counts = np.zeros((2, len(PLACES)), np.int64)
    for reference, estimated in pieces:
        is_found = match_notes(reference, estimated)[0] >= 0
        together = _together(reference)
        size = together.sum(axis=1)
        below = (together & (reference.pitch < reference.pitch[:, None])).sum(axis=1)
        above = size - 1 - below
        place = np.select([above == 0, below == 0, above == 1], [3, 0, 2], 1)
        is_counted = (size >= smallest) & (size <= largest)
        counts[0] += np.bincount(place[is_counted], minlength=len(PLACES))
        counts[1] += np.bincount(place[is_counted & is_found], minlength=len(PLACES))
    return counts


def _together(notes: NoteList) -> NDArray[np.bool_]:
    return np.abs(notes.onset[:, None] - notes.onset) <= TOLERANCE


def shares(parts: Iterable[int], wholes: Iterable[int]) -> list[str]:
    """Format shares of counts as cells."""
    return [
        f"{part / whole:.3f}" if whole else "" for part, whole in zip(parts, wholes, strict=True)
    ]


def region_table(alone: NDArray[np.int64], scale: NDArray[np.int64]) -> Table:
    """Format recall, precision and F of isolated notes and of scales."""
    rows = []
    for first, end in zip(REGIONS, [*REGIONS[1:], PIANO_PITCHES[-1] + 1], strict=True):
        row = [f"{pitch_name(first)}–{pitch_name(end - 1)}"]
        for counts in (alone, scale):
            played, found, extra = counts[:, first:end].sum(axis=1).tolist()
            heard = found + extra
            measures = shares((found, found, 2 * found), (played, heard, played + heard))
            row += [str(played), *measures]
        rows.append(row)
    columns = ["keys", "notes", "R", "P", "F", "scale notes", "scale R", "scale P", "scale F"]
    return Table("keyboard_regions", "Notes alone, and chromatic scales", columns, rows)


def key_table(alone: NDArray[np.int64], scale: NDArray[np.int64]) -> Table:
    """Format the counts of each key."""
    rows = [
        [pitch_name(key), *map(str, alone[:, key]), *map(str, scale[:, key])]
        for key in PIANO_PITCHES
    ]
    columns = ["key", "notes", "found", "extra", "scale notes", "scale found", "scale extra"]
    return Table("keyboard_keys", "Key by key, alone and in chromatic scales", columns, rows)


def interval_table(rendered: dict[str, list[Transcribed]], real: list[Transcribed]) -> Table:
    """Format the recall of the lower and the upper notes of intervals."""
    rows = []
    for name, semitones in INTERVALS.items():
        row = [name]
        for pieces in (rendered[name], real):
            n, *found = count_pairs(pieces, semitones).tolist()
            row += [str(n), *shares(found, (n, n))]
        rows.append(row)
    n, found, _ = count_keys(real).sum(axis=1).tolist()
    rows.append(["all notes", "", "", "", str(n), *2 * shares([found], [n])])
    columns = ["interval", "pairs", "lower R", "upper R", "real pairs", "real lower R"]
    columns += ["real upper R"]
    return Table("keyboard_intervals", "Pairs of notes struck together", columns, rows)


def chord_table(rendered: list[Transcribed], real: list[Transcribed]) -> Table:
    """Format the recall of notes by their place in a chord."""
    largest = [size - 1 for size in SIZES.values()][1:]
    kinds = {"ten notes, rendered": (rendered, 10, 10)}
    kinds |= {
        f"{name}, real": (real, smallest, last)
        for (name, smallest), last in zip(SIZES.items(), [*largest, 128], strict=True)
    }
    rows = []
    for name, (pieces, smallest, last) in kinds.items():
        played, found = count_places(pieces, smallest, last)
        rows.append([name, str(played.sum()), *shares(found, played)])
    return Table("keyboard_chords", "Notes of chords", ["chord", "notes", *PLACES], rows)


@benchmark()
@click.option("--decoder", default="learned", show_default=True)
@click.option("--dictionary", default="default", show_default=True)
def main(data: Path, decoder: str, dictionary: str) -> Iterator[Table]:
    transcriber = Transcriber(dictionary, decoder, device="cpu")

    def played(piano: SampledPiano, notes: NoteList) -> Transcribed:
        samples = piano.render(notes, rng=np.random.default_rng(SEED))
        return Transcribed(notes, transcriber.transcribe(Audio(samples, SAMPLE_RATE)))

    alone, scale, chords = [], [], []
    intervals: dict[str, list[Transcribed]] = {name: [] for name in INTERVALS}
    for name in PLAYED:
        for path in isolated_notes(data)[name]:
            audio, note = read_note(path)
            alone.append(Transcribed(note, transcriber.transcribe(audio)))
        piano = SampledPiano.load(data / "piano/notes" / name)
        scale += [played(piano, notes) for notes in scales()]
        chords.append(played(piano, ten_note_chords()))
        for interval, semitones in INTERVALS.items():
            intervals[interval].append(played(piano, pairs(semitones)))
    alone_counts, scale_counts = count_keys(alone), count_keys(scale)
    yield region_table(alone_counts, scale_counts)
    yield key_table(alone_counts, scale_counts)
    transcribed = transcribe_recordings(transcriber, data, DURATION)[0]
    real = [Transcribed(on_sound(piece.reference), piece.estimated) for piece in transcribed]
    yield interval_table(intervals, real)
    yield chord_table(chords, real)


if __name__ == "__main__":
    main()
