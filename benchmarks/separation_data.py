"""Rendered performances whose hands and notes are known one by one, for `benchmarks.separation`.

The performances are those of ASAP in ``piano/performances``, with the hands of their printed
scores, and the pianos those of ``piano/notes`` in turn. Each note is rendered alone, without the
resonance of other strings, so that hands and mixtures are exact sums; rooms are the same for all.

::

    for example in examples(data, 20, "room, 0.6 s"):
        example.mixture, example.parts["left"]  # (n_samples,) at 16 kHz
        example.notes, example.groups["left"]  # releases of keys and pedal; indices of notes
        for index in chosen_notes(example):
            example.note(index)  # (n_samples,)
    dictionary_without(data, example.piano, cache)  # path of a file
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from harmnmf import NoteList, SampledPiano, learn_from_notes, read_notes

from .data import (
    HALL_REVERBERATION,
    ROOM_REVERBERATION,
    SAMPLE_RATE,
    SEED,
    isolated_notes,
    room_response,
)
from .hand_references import asap_hands

HANDS = {"right": 1, "left": 2}
# Seconds until the rooms have decayed by 60 dB.
ROOMS = {"dry": None, "room, 0.6 s": ROOM_REVERBERATION, "hall, 1.6 s": HALL_REVERBERATION[0]}
PEAK = 0.5
DURATION, STEP, SILENCE = 30.0, 10.0, 0.5  # seconds: of excerpts, between them, before the notes
LEAD, TAIL = 0.1, 1.0  # seconds before the onset of a note that is rendered, and after the last
KNOWN, LEAST = 0.97, 0.2  # shares of the notes with a hand, and of those of either hand
FEWEST_NOTES = 40
# Chosen notes: registers from these keys on, and at most so many of each register and polyphony.
REGISTERS = {"below C3": 0, "C3 to B4": 48, "from C5": 72}
POLYPHONIES = {"1 to 2": 1, "3 to 5": 3, "6 or more": 6}
EACH = 2
AWAY = 1.0  # seconds from a transcribed note that are as far as a semitone

Samples = NDArray[np.float32]
Sounds = tuple[tuple[int, Samples], ...]  # first sample and samples of each note


class Excerpt(NamedTuple):
    """Excerpt of a performance, the piano that plays it, and the hand of each note."""

    name: str
    piano: str
    notes: NoteList
    hand: NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """Rendered performance.

    Parameters
    ----------
    name, piano, room : str
        Performance, folder of the piano and key of `ROOMS`.
    mixture : ndarray, shape (n_samples,)
        Sum of all notes, at 16 kHz.
    parts : dict of str to ndarray, shape (n_samples,)
        Sounds of the right and left hand.
    notes : NoteList
        Notes with releases of keys, and the pedal.
    hand : ndarray of int, shape (n_notes,)
        1 for the right, 2 for the left.
    sounds : tuple
        Each note alone, in the order of `notes`: its first sample, and its samples without a room.
    response : ndarray
        Impulse response of the room.
    """

    name: str
    piano: str
    room: str
    mixture: Samples
    parts: dict[str, Samples]
    notes: NoteList
    hand: NDArray[np.int64]
    sounds: Sounds
    response: NDArray[np.float64]

    @property
    def groups(self) -> dict[str, NDArray[np.int64]]:
        """Indices of the notes of each hand."""
        return {name: np.flatnonzero(self.hand == hand) for name, hand in HANDS.items()}

    def note(self, index: int) -> Samples:
        """Sound of a note alone, shape (n_samples,)."""
        return _in_room(_placed([self.sounds[index]], len(self.mixture)), self.response)


def examples(data: Path, n: int = 20, room: str = "dry") -> Iterator[Example]:
    """Render n performances in one of the `ROOMS`."""
    for excerpt in choose_excerpts(data, n):
        yield from render(data, excerpt, [room])


def choose_excerpts(data: Path, n: int) -> list[Excerpt]:
    """Choose n excerpts of 30 s with their hands, of one performance of a work.

    The composers take turns, those with the most works first; their works come in alphabetical
    order. An excerpt is the first, from second 10 on and every 10 s, of whose notes the score tells
    nearly all hands, and in which both hands play; notes whose hand is not known are left out. The
    pianos take turns, and the excerpts of each are together.
    """
    works: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted((data / "piano/performances").glob("*.mid")):
        composer, _, work = path.stem.rpartition("__")[0].partition("__")
        works[composer].setdefault(work.partition("_no_")[0].removesuffix("_repeat"), path.stem)
    turns = sorted(works.values(), key=len, reverse=True)
    pianos = list(isolated_notes(data))
    chosen: list[Excerpt] = []
    for name in (x for turn in zip_longest(*map(dict.values, turns)) for x in turn if x):
        if len(chosen) == n:
            break
        if (found := _excerpt(data, name)) is not None:
            chosen.append(Excerpt(name, pianos[len(chosen) % len(pianos)], *found))
    return sorted(chosen, key=lambda excerpt: excerpt.piano)


def _excerpt(data: Path, name: str) -> tuple[NoteList, NDArray[np.int64]] | None:
    notes = read_notes(data / f"piano/performances/{name}.mid", offset="key").without_overlaps()
    hand = asap_hands(data, name, notes)
    for start in np.arange(STEP, notes.onset[-1] - DURATION, STEP):
        within = (start <= notes.onset) & (notes.onset < start + DURATION)
        shares = [np.mean(hand[within] == value) for value in (0, 1, 2)] if within.any() else [1.0]
        if shares[0] <= 1 - KNOWN and min(shares[1:]) >= LEAST and within.sum() >= FEWEST_NOTES:
            known = within & (hand > 0)
            pedal = notes.slice(start, start + DURATION).pedal_values
            columns = (notes.onset, notes.offset, notes.pitch, notes.velocity)
            onset, offset, pitch, velocity = (column[known] for column in columns)
            offset = np.minimum(offset, start + DURATION)
            excerpt = NoteList(onset, offset, pitch, velocity, pedal_values=pedal)
            return excerpt.shift(SILENCE - start), hand[known]
    return None


@lru_cache(1)
def _load_piano(folder: Path) -> SampledPiano:
    return SampledPiano.load(folder)


def render(data: Path, excerpt: Excerpt, rooms: Iterable[str]) -> Iterator[Example]:
    """Render an excerpt note by note in some of the `ROOMS`, with a peak of 0.5."""
    notes = excerpt.notes
    n_samples = round((notes.pedalled().offset.max() + TAIL) * SAMPLE_RATE)
    sounds = _render_notes(_load_piano(data / "piano/notes" / excerpt.piano), notes)
    dry = {
        part: _placed([sounds[i] for i in np.flatnonzero(excerpt.hand == value)], n_samples)
        for part, value in HANDS.items()
    }
    for room in rooms:
        response = np.ones(1)
        if (reverberation := ROOMS[room]) is not None:
            rng = np.random.default_rng(SEED)
            response = room_response(SAMPLE_RATE, reverberation, rng)
        parts = {part: _in_room(samples, response) for part, samples in dry.items()}
        gain = np.float32(PEAK / np.abs(parts["right"] + parts["left"]).max())
        parts = {part: gain * samples for part, samples in parts.items()}
        scaled = tuple((start, gain * samples) for start, samples in sounds)
        yield Example(
            excerpt.name,
            excerpt.piano,
            room,
            parts["right"] + parts["left"],
            parts,
            notes,
            excerpt.hand,
            scaled,
            response,
        )


def _render_notes(piano: SampledPiano, notes: NoteList) -> Sounds:
    """Render each note alone, from `LEAD` before its onset to the end of its sound."""
    sounding = notes.pedalled()
    sounds = []
    for (onset, offset), pitch, velocity in zip(
        sounding.intervals, notes.pitch, notes.velocity, strict=True
    ):
        alone = NoteList([LEAD], [LEAD + offset - onset], [pitch], [velocity])
        start = round((onset - LEAD) * SAMPLE_RATE)
        sounds.append((start, piano.render(alone, resonance_db=None)))
    return tuple(sounds)


def _placed(sounds: Sounds | list[tuple[int, Samples]], n_samples: int) -> NDArray[np.float64]:
    """Sum of sounds from their first samples on."""
    total = np.zeros(n_samples)
    for start, samples in sounds:
        part = total[start : start + len(samples)]
        part += samples[: len(part)]
    return total


def _in_room(samples: NDArray[np.float64], response: NDArray[np.float64]) -> Samples:
    return oaconvolve(samples, response)[: len(samples)].astype(np.float32)


def polyphony(notes: NoteList) -> NDArray[np.int64]:
    """Count the notes that sound in the middle of each note, that one included."""
    sounding = notes.pedalled()
    middle = sounding.intervals.mean(axis=1)[:, None]
    return ((sounding.onset <= middle) & (middle < sounding.offset)).sum(axis=1)


def level(values: NDArray[np.int64], levels: dict[str, int]) -> NDArray[np.int64]:
    """Index of the level of each value, from the first values of the levels."""
    return np.searchsorted(list(levels.values()), values, side="right") - 1


def chosen_notes(example: Example) -> list[int]:
    """Choose two notes of each register and polyphony, as far as they occur: 18 at most.

    In order of time, they are those a quarter and three quarters through.
    """
    register = level(example.notes.pitch, REGISTERS)
    voices = level(polyphony(example.notes), POLYPHONIES)
    kinds = [(r, v) for r in range(len(REGISTERS)) for v in range(len(POLYPHONIES))]
    indices = [np.flatnonzero((register == r) & (voices == v)).tolist() for r, v in kinds]
    places = (np.arange(EACH) + 0.5) / EACH
    return sorted({kind[int(place * len(kind))] for kind in indices if kind for place in places})


def nearest_hands(example: Example, notes: NoteList) -> NDArray[np.int64]:
    """Hands of other notes of a performance, such as transcribed ones: that of the nearest note."""
    distance = np.abs(notes.onset[:, None] - example.notes.onset)
    distance += AWAY * np.abs(notes.pitch[:, None] - example.notes.pitch)
    return example.hand[distance.argmin(axis=1)]


def dictionary_without(data: Path, piano: str, cache: Path) -> Path:
    """Learn a dictionary from all pianos of ``piano/notes`` but one, unless the cache has it."""
    path = cache / f"{piano}.safetensors"
    if not path.exists():
        others = {name: files for name, files in isolated_notes(data).items() if name != piano}
        cache.mkdir(parents=True, exist_ok=True)
        learn_from_notes(others, metadata={"name": f"without {piano}"}).save(path)
    return path
