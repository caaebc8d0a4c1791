r"""Accuracy where nothing is annotated wrongly, and where no piano plays.

::

    python -m benchmarks.rendered_notes --data PATH/TO/data
    python -m benchmarks.rendered_notes --data PATH/TO/data \
        --piano kw --decoder WITHOUT_KW --dictionary WITHOUT_KW

The first table has the sampled pianos of MAPS, which neither the dictionary nor the network knows:
30 s of every seventh piece in ``piano/sampled``, as it is and in halls (``benchmarks/data.py``).
Each piece's median deviation is removed, as the annotations precede the sound.

The second counts the notes found where no piano plays, in sounds that are not in the training, but
for applause, which the generator of the training draws.

The third, with ``--piano``, has 30 s of 20 concert performances in ``piano/performances``, whose
onsets are exact, rendered with a piano of ``piano/notes``. The network and the dictionary must not
have been learned from it: ``--decoder`` and ``--dictionary`` name others, one for all pianos or one
for each ``--piano``. The sound is made as that of the training.

Scores are those of mir_eval, means over the pieces. Notes end when their keys are released, or with
their sound, the sustain pedal included.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from harmnmf import (
    Audio,
    NoteList,
    SampledPiano,
    Transcriber,
    evaluate_notes,
    read_audio,
    read_notes,
)
from harmnmf.signal.acoustics import applause
from harmnmf.signal.audio_folders import audio_files

from .data import (
    HALL_REVERBERATION,
    SAMPLE_RATE,
    SEED,
    Change,
    evenly_spaced,
    hall,
    notes_of,
    sampled_pianos,
    unchanged,
)
from .report import Table, benchmark, decimals
from .transcription import median_deviation

ROOMS: dict[str, Change] = {
    "dry": unchanged,
    **{f"hall, {seconds:g} s": hall(seconds) for seconds in HALL_REVERBERATION},
}
START, SILENCE = 10.0, 0.5  # seconds: of a performance, and before its first note
PEAK = 0.5
STRICT = 0.02  # seconds between onsets that match, beside the usual 0.05
SCORES = (
    *("P", "R", "F", "F at 20 ms", "F with key offset", "F with pedalled offset"),
    *("F with velocity", "median onset error, ms"),
)
N_SOUNDS = 10


def performances(data: Path, n: int, duration: float) -> list[NoteList]:
    """Read excerpts of n performances, whose notes end when their keys are released."""
    excerpts = []
    for path in evenly_spaced(sorted(data.glob("piano/performances/*.mid")), n):
        notes = read_notes(path, offset="key").slice(START, START + duration)
        excerpts.append(notes.without_overlaps().shift(SILENCE - START))
    return excerpts


def render(piano: SampledPiano, notes: NoteList) -> Audio:
    """Render notes, the same in every run, with a peak of 0.5."""
    samples = piano.render(notes, rng=np.random.default_rng(SEED))
    return Audio(PEAK / np.abs(samples).max() * samples, SAMPLE_RATE)


def sampled_pieces(data: Path) -> list[Path]:
    """List every seventh recording of each sampled piano of MAPS."""
    return [path for piano in sampled_pianos(data) for path in sorted(piano.glob("*.ogg"))[::7]]


def score_sampled(
    transcriber: Transcriber, path: Path, duration: float, room: Change
) -> list[float]:
    """Score a recording of a sampled piano in a room, its median deviation removed."""
    audio = read_audio(path, sample_rate=SAMPLE_RATE, duration=duration)
    audio, reference = room(audio, notes_of(path, duration, offset="key"))
    estimated = transcriber.transcribe(audio)
    return score(reference.shift(median_deviation(reference, estimated)), estimated)


def score(reference: NoteList, estimated: NoteList) -> list[float]:
    """Compute the `SCORES` of a transcription; both lists have key offsets and the pedal."""
    keys = evaluate_notes(reference, estimated)
    strict = evaluate_notes(reference, estimated, onset_tolerance=STRICT)
    sounding = evaluate_notes(reference.pedalled(), estimated.pedalled())
    return [
        keys["Precision_no_offset"],
        keys["Recall_no_offset"],
        keys["F-measure_no_offset"],
        strict["F-measure_no_offset"],
        keys["F-measure"],
        sounding["F-measure"],
        keys["Velocity_F-measure_no_offset"],
        1000 * median_deviation(reference, estimated),
    ]


def without_piano(data: Path, duration: float) -> dict[str, Callable[[int], Audio]]:
    """Sounds without a piano by name: functions from a number below `N_SOUNDS` to a sound."""
    folders = {
        "speech": "speech/voicebank_demand_dev/clean",
        "streets and machines": "speech/noise/urban",
    }
    sounds = {name: joined(audio_files(data / path), duration) for name, path in folders.items()}
    return {"applause, as in training": lambda i: clapping(i, duration), **sounds}


def clapping(seed: int, duration: float) -> Audio:
    """Draw applause of at most full scale."""
    samples = applause(round(duration * SAMPLE_RATE), np.random.default_rng(seed))
    return Audio(PEAK / np.abs(samples).max() * samples, SAMPLE_RATE)


def joined(paths: Sequence[Path], duration: float) -> Callable[[int], Audio]:
    """Sounds of consecutive files, each from another place in the list on, cut to a duration."""

    def sound(i: int) -> Audio:
        n_samples = round(duration * SAMPLE_RATE)
        start = i * len(paths) // N_SOUNDS
        samples: NDArray[np.float32] = np.empty(0, np.float32)
        for path in [*paths[start:], *paths[:start]]:
            if len(samples) >= n_samples:
                break
            more = read_audio(path, sample_rate=SAMPLE_RATE).to_mono().samples
            samples = np.concatenate([samples, more])
        return Audio(samples[:n_samples], SAMPLE_RATE)

    return sound


def count_notes(transcriber: Transcriber, audio: Audio) -> int:
    """Count the notes that are found in a sound, where none is right."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no notes were found", UserWarning)
        return len(transcriber.transcribe(audio))


def one_each(values: Sequence[str], pianos: Sequence[str], option: str) -> list[str]:
    """Repeat a single value for each piano."""
    if pianos and len(values) not in (1, len(pianos)):
        raise click.UsageError(f"give {option} once, or once for each --piano")
    return [*values] * (len(pianos) // len(values))


@benchmark()
@click.option("--piano", "pianos", multiple=True, help="Folder in piano/notes; renders with it.")
@click.option("--decoder", "decoders", multiple=True, default=["learned"], show_default=True)
@click.option("--dictionary", "dictionaries", multiple=True, default=["default"], show_default=True)
@click.option(
    "--performances", "n", default=20, show_default=True, help="Number of performances to render."
)
@click.option("--duration", default=30.0, show_default=True, help="Seconds of each sound.")
def main(
    data: Path,
    pianos: tuple[str, ...],
    decoders: tuple[str, ...],
    dictionaries: tuple[str, ...],
    n: int,
    duration: float,
) -> Iterator[Table]:
    systems = zip(
        one_each(dictionaries, pianos, "--dictionary"),
        one_each(decoders, pianos, "--decoder"),
        strict=True,
    )
    transcribers = [Transcriber(*system, device="cpu") for system in systems]
    first = Transcriber(dictionaries[0], decoders[0], device="cpu")

    def sampled_rows() -> Iterator[list[str]]:
        for room, change in ROOMS.items():
            results = [score_sampled(first, x, duration, change) for x in sampled_pieces(data)]
            yield [room, str(len(results)), *decimals(np.mean(results, axis=0).tolist()[:-1])]

    columns = ["room", "pieces", *SCORES[:-1]]
    yield Table("sampled_pianos", "Sampled pianos of MAPS", columns, sampled_rows())

    def sound_rows() -> Iterator[list[str]]:
        for name, sound in without_piano(data, duration).items():
            sounds = [sound(i) for i in range(N_SOUNDS)]
            found = sum(count_notes(first, audio) for audio in sounds)
            seconds = sum(audio.duration for audio in sounds)
            yield [name, f"{seconds:.0f}", f"{10 * found / seconds:.1f}"]

    columns = ["sound", "seconds", "notes in 10 s"]
    yield Table("without_piano", "Notes found where no piano plays", columns, sound_rows())

    def rows() -> Iterator[list[str]]:
        played = performances(data, n, duration)
        for name, transcriber in zip(pianos, transcribers, strict=True):
            piano = SampledPiano.load(data / "piano/notes" / name)
            scores: dict[str, list[list[float]]] = {room: [] for room in ROOMS}
            for notes in played:
                dry = render(piano, notes)
                for room, change in ROOMS.items():
                    estimated = transcriber.transcribe(change(dry, notes)[0])
                    scores[room].append(score(notes, estimated))
            for room, results in scores.items():
                *scores_of_mir_eval, error = np.mean(results, axis=0).tolist()
                yield [name, room, *decimals(scores_of_mir_eval), f"{error:.1f}"]

    if pianos:
        columns = ["piano", "room", *SCORES]
        yield Table("rendered_notes", "Rendered performances", columns, rows())


if __name__ == "__main__":
    main()
