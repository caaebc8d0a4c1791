"""Separation of hands and notes out of recordings of pianos.

::

    python -m benchmarks.separation --data PATH/TO/data
    python -m benchmarks.separation --data PATH/TO/data --long

The first two tables have 30 s of 20 concert performances in ``piano/performances``, one of a work,
rendered note by note with the pianos of ``piano/notes`` in turn, dry and in rooms
(``benchmarks/separation_data.py``). Hands are those of the printed scores. The dictionary of each
row is learned from the six other pianos, and kept in ``--cache``; the network that transcribes was
trained with all seven. Transcribed notes have the hand of the nearest true note, or that which
harmnmf finds. Whatever is given to neither hand is lost.

SDR, SIR and SAR are those of mir_eval, means over both hands of all excerpts, without permutation.
Medians are those over windows of 1 s, as of museval, averaged likewise. Gains are in SDR over the
mixture, as the estimate of either hand, and relative to the oracle: the true hands' shares in the
power spectrogram. Other methods (``benchmarks/separation_peers.py``) have the true notes.

Single notes are two of each register and polyphony in each excerpt, as far as they occur; the
polyphony is the number of notes that sound in the middle of the note. SI-SDR compares with the
note rendered alone.

The third table has what remains of 30 s of the recordings in ``piano/real`` when the sounds of all
notes are taken away; annotated notes are moved to the sound by one constant. The last has the time
and, with ``--long``, the peak memory of the command on an hour of repeated recordings.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from harmnmf import Audio, NoteList, Transcriber, read_audio, write_midi
from harmnmf.enhancement.metrics.scores import si_sdr
from harmnmf.score.hands import assign_hands
from harmnmf.separation.groups import RESIDUAL
from harmnmf.separation.prepared import PreparedSeparation
from harmnmf.separation.separator import Separator

from .data import PIANOS, SAMPLE_RATE, notes_of, on_sound, real_recordings
from .report import Table, benchmark, decimals
from .robustness import MEASURE
from .separation_data import (
    HANDS,
    POLYPHONIES,
    REGISTERS,
    ROOMS,
    Example,
    Excerpt,
    Samples,
    choose_excerpts,
    chosen_notes,
    dictionary_without,
    level,
    nearest_hands,
    polyphony,
    render,
)
from .separation_peers import PEERS, comb, oracle
from .separation_scores import MEASURES, BssEval

MIXTURE, ORACLE = "mixture", "oracle ratio mask"
OURS, PLAIN = "harmnmf, true notes", "harmnmf, true notes, no adaptation"
FOUND, FOUND_HANDS = "harmnmf, transcribed notes", "harmnmf, transcribed notes and hands"
COMB = "binary harmonic comb"
SYSTEMS = (ORACLE, OURS, FOUND, FOUND_HANDS, PLAIN, *PEERS, MIXTURE)
NOTE_SYSTEMS = (ORACLE, OURS, PLAIN, COMB, MIXTURE)
WINDOW = SAMPLE_RATE  # samples
SECONDS = 30.0  # of the real recordings
TIMED, LONG = 60.0, 3600.0  # seconds
# Sample rates and channels of recordings that are timed.
FORMATS = {"16 kHz, mono": (16_000, 1), "44.1 kHz, stereo": (44_100, 2)}

Parts = Mapping[str, Samples]


class NoteScore(NamedTuple):
    """Room, polyphony and register of a note, and the SI-SDR of each of `NOTE_SYSTEMS`."""

    room: str
    polyphony: int
    register: int
    si_sdr: tuple[float, ...]


class Scored(NamedTuple):
    """Scores of an excerpt: by room and system, shape (2, n_hands, 3), and of single notes."""

    hands: dict[tuple[str, str], NDArray[np.float64]]
    notes: list[NoteScore]


def score_excerpt(data: Path, cache: Path, rooms: Sequence[str], excerpt: Excerpt) -> Scored:
    """Render an excerpt, separate it by all systems, and score them."""
    torch.set_num_threads(1)
    dictionary = dictionary_without(data, excerpt.piano, cache)
    scored = Scored({}, [])
    for example in render(data, excerpt, rooms):
        bss_eval = BssEval([example.parts[name] for name in HANDS], WINDOW)
        audio = Audio(example.mixture, SAMPLE_RATE)
        adapted, plain = (
            Separator(dictionary, adapt=adapt, device="cpu").prepare(audio, example.notes)
            for adapt in (True, False)
        )
        for system, parts in separated(example, dictionary, adapted, plain):
            scores = bss_eval([parts[name] for name in HANDS])
            scored.hands[example.room, system] = np.stack(scores)
        scored.notes.extend(score_notes(example, adapted, plain))
    return scored


def separated(
    example: Example, dictionary: Path, adapted: PreparedSeparation, plain: PreparedSeparation
) -> Iterator[tuple[str, Parts]]:
    """Yield the hands that each of the `SYSTEMS` finds."""
    mixture, notes, groups = example.mixture, example.notes, example.groups
    yield MIXTURE, dict.fromkeys(HANDS, mixture)
    yield ORACLE, oracle(mixture, example.parts)
    yield OURS, joined(adapted, groups)
    yield PLAIN, joined(plain, groups)
    audio = Audio(mixture, SAMPLE_RATE)
    found = transcriber().transcribe(audio)
    separation = Separator(dictionary, device="cpu").prepare(audio, found)
    for system, hand in (
        (FOUND, nearest_hands(example, found)),
        (FOUND_HANDS, assign_hands(found)),
    ):
        indices = {name: np.flatnonzero(hand == value) for name, value in HANDS.items()}
        yield system, joined(separation, indices)
    for system, separate in PEERS.items():
        yield system, separate(mixture, notes, groups)


@lru_cache(1)
def transcriber() -> Transcriber:
    """Load the shipped dictionary and network once a process."""
    return Transcriber(device="cpu")


def joined(separation: PreparedSeparation, groups: Mapping[str, NDArray[np.int64]]) -> Parts:
    """Separate groups of notes of a mono recording; returns them and the residual."""
    blocks = list(separation.parts(groups))
    return {name: np.concatenate([block[name][0] for block in blocks]) for name in blocks[0]}


def score_notes(
    example: Example, adapted: PreparedSeparation, plain: PreparedSeparation
) -> Iterator[NoteScore]:
    """Compare single notes with their own sounds."""
    mixture, notes = example.mixture, example.notes
    voices, register = level(polyphony(notes), POLYPHONIES), level(notes.pitch, REGISTERS)
    for index in chosen_notes(example):
        true = example.note(index)
        groups = {"note": np.array([index]), "others": np.delete(np.arange(len(notes)), index)}
        estimates: dict[str, Samples] = {
            ORACLE: oracle(mixture, {"note": true, "others": mixture - true})["note"],
            OURS: note_alone(adapted, index, len(mixture)),
            PLAIN: note_alone(plain, index, len(mixture)),
            COMB: comb(mixture, notes, groups)["note"],
            MIXTURE: mixture,
        }
        scores = tuple(si_sdr(true, estimates[system]) for system in NOTE_SYSTEMS)
        yield NoteScore(example.room, int(voices[index]), int(register[index]), scores)


def note_alone(separation: PreparedSeparation, index: int, n_samples: int) -> Samples:
    """Sound of a note at its place in the recording."""
    start, sound = separation.note(index)
    first = round(start * SAMPLE_RATE)
    samples = np.zeros(n_samples, np.float32)
    samples[first : first + sound.samples.shape[-1]] = sound.to_mono().samples
    return samples


def residuals(path: Path) -> tuple[float, float]:
    """Energy in dB that remains of a real recording, relative to the whole.

    With its annotated notes, and with the transcribed ones.
    """
    torch.set_num_threads(1)
    audio = read_audio(path, sample_rate=SAMPLE_RATE, duration=SECONDS)
    annotated = on_sound(notes_of(path)).slice(0.0, audio.duration)
    levels = []
    for notes in (annotated, transcriber().transcribe(audio)):
        separation = Separator(device="cpu").prepare(audio, notes)
        residual = joined(separation, {"notes": np.arange(len(notes))})[RESIDUAL]
        ratio = np.sum(residual**2, dtype=np.float64) / np.sum(audio.samples**2, dtype=np.float64)
        levels.append(10 * np.log10(ratio))
    return levels[0], levels[1]


def hand_rows(results: Sequence[Scored], rooms: Iterable[str]) -> Iterator[list[str]]:
    """Rows of the table of hands."""
    for room in rooms:
        means = {
            system: np.mean([scored.hands[room, system] for scored in results], axis=(0, 2))
            for system in SYSTEMS
        }
        gains = {system: scores[0, 0] - means[MIXTURE][0, 0] for system, scores in means.items()}
        for system, scores in means.items():
            name = f"**{system}**" if system.startswith("harmnmf") else system
            share = f"{100 * gains[system] / gains[ORACLE]:.0f} %"
            # Nothing but rounding separates the mixture from a sum of the filtered hands.
            cells = [f"{x:.2f}" if x < 100 else "–" for x in scores.ravel()]
            yield [room, name, *cells, f"{gains[system]:.2f}", share]


def note_rows(results: Sequence[Scored], rooms: Iterable[str]) -> Iterator[list[str]]:
    """Rows of the table of single notes: all, by polyphony and by register."""
    by_kind = defaultdict(list)
    for note in (note for scored in results for note in scored.notes):
        kinds = ("all", list(POLYPHONIES)[note.polyphony], list(REGISTERS)[note.register])
        for kind in kinds:
            by_kind[note.room, kind].append(note.si_sdr)
    for room in rooms:
        for kind in ("all", *POLYPHONIES, *REGISTERS):
            if scores := by_kind[room, kind]:
                name = f"{kind} sounding" if kind in POLYPHONIES else kind
                yield [room, name, str(len(scores)), *decimals(np.mean(scores, axis=0), 2)]


def write_repeated(
    folder: Path, data: Path, seconds: float, rate: int, n_channels: int
) -> tuple[Path, Path]:
    """Write real recordings one after the other, from the first again, and their notes."""
    audio_path, notes_path = folder / "long.flac", folder / "long.mid"
    start, parts = 0.0, []
    with soundfile.SoundFile(audio_path, "w", rate, n_channels, "PCM_16") as file:
        for path in cycle(real_recordings(data)):
            audio = read_audio(path, sample_rate=rate, duration=seconds - start)
            file.write(np.tile(audio.samples[:, None], n_channels))
            notes = on_sound(notes_of(path)).slice(0.0, audio.duration)
            parts.append(notes.shift(start))
            start += audio.duration
            if start > seconds - 1:
                break
    columns = ("onset", "offset", "pitch", "velocity", "pedal")
    joined_columns = (np.concatenate([getattr(part, name) for part in parts]) for name in columns)
    write_midi(notes_path, NoteList(*joined_columns))
    return audio_path, notes_path


def run_command(data: Path, seconds: float, rate: int, n_channels: int) -> tuple[float, float]:
    """Time of the command over the duration, and its peak memory in GB."""
    with tempfile.TemporaryDirectory() as name:
        audio, notes = write_repeated(Path(name), data, seconds, rate, n_channels)
        options = ["--notes", str(notes), "--by", "hand", "-q", "-o", str(Path(name, "parts"))]
        command = [sys.executable, "-m", "harmnmf", "separate", str(audio), *options]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *command],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        )
        elapsed = time.perf_counter() - start
    return elapsed / seconds, int(done.stdout.splitlines()[-1]) / 2**20


@benchmark()
@click.option("--limit", "n", default=20, show_default=True, help="Number of performances.")
@click.option(
    "--room",
    "rooms",
    multiple=True,
    type=click.Choice(list(ROOMS)),
    default=list(ROOMS),
    show_default=True,
    help="Room in which they are played.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/dictionaries_without"),
    show_default=True,
    help="Folder of the dictionaries that are learned.",
)
@click.option("--processes", default=2, show_default=True, help="Excerpts at a time.")
@click.option("--long", "is_long", is_flag=True, help="Also separate an hour.")
def main(
    data: Path, n: int, rooms: tuple[str, ...], cache: Path, processes: int, is_long: bool
) -> Iterator[Table]:
    excerpts = choose_excerpts(data, n)
    for piano in {excerpt.piano for excerpt in excerpts}:
        dictionary_without(data, piano, cache)
    recordings = real_recordings(data)
    # Threads of this process would not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        results = list(pool.map(partial(score_excerpt, data, cache, rooms), excerpts))
        remaining = dict(zip(recordings, pool.map(residuals, recordings), strict=True))

    columns = ["room", "system", *MEASURES, *(f"median {name}" for name in MEASURES)]
    columns += ["SDR gain, dB", "of the oracle's"]
    title = f"Hands of {len(excerpts)} rendered performances"
    yield Table("separation_hands", title, columns, hand_rows(results, rooms))

    columns = ["room", "notes", "number", *NOTE_SYSTEMS]
    yield Table("separation_notes", "SI-SDR of single notes", columns, note_rows(results, rooms))

    rows = []
    for piano in PIANOS:
        levels = [remaining[path] for path in recordings if path.parent.name == piano]
        rows.append([piano, str(len(levels)), *decimals(np.mean(levels, axis=0), 1)])
    columns = ["piano", "recordings", "annotated notes", "transcribed notes"]
    title = "Residual of real recordings, dB relative to the recording"
    yield Table("separation_real", title, columns, rows)

    def cost_rows() -> Iterator[list[str]]:
        for seconds in (TIMED, LONG) if is_long else (TIMED,):
            for name, (rate, n_channels) in FORMATS.items():
                factor, memory = run_command(data, seconds, rate, n_channels)
                yield [f"{seconds / 60:g} min", name, f"{factor:.3f}", f"{memory:.2f} GB"]

    columns = ["recording", "format", "real-time factor", "peak memory"]
    yield Table("separation_costs", "Costs of the command", columns, cost_rows())


if __name__ == "__main__":
    main()
