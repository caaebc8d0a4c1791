"""What is read and heard of recordings in unusual files, for `robustness`.

The seconds that FFmpeg decodes are the reference for those that are read. F-measures compare
transcriptions with the notes in the part of the music that FFmpeg decodes, at the times at which it
does: codecs delay the music a little.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate

from harmnmf import NoteList, evaluate_notes

from .report import Table
from .unusual_audio import SECONDS, Recording, music, recordings, reference

RATE = 16_000
MAX_DELAY = 0.1  # seconds

# Run in another checkout too, whose library may be older.
PROBE = """
import json, sys, warnings
from harmnmf import HarmnmfError, Transcriber, read_audio
transcriber = Transcriber()
for path in sys.argv[1:]:
    found = {}
    with warnings.catch_warnings(record=True) as caught:
        try:
            found["seconds"] = read_audio(path).duration
            notes = transcriber.transcribe(path)
            columns = notes.onset, notes.offset, notes.pitch, notes.velocity
            found["notes"] = [column.tolist() for column in columns]
        except HarmnmfError as error:
            found["error"] = str(error)
    found["warnings"] = [str(item.message) for item in caught]
    print(json.dumps(found), flush=True)
"""


def reports(folder: Path) -> Iterator[Recording]:
    """List the recordings that users reported, which hold the same music."""
    for path in sorted(folder.iterdir()):
        if path.suffix != ".mid":
            yield Recording(path.name, lambda copy, path=path: copy.write_bytes(path.read_bytes()))


def decode(path: Path) -> tuple[NDArray[np.float32], float]:
    """Decode a file with FFmpeg, passing over packets that it refuses.

    Returns the channel that varies most, at 16 kHz, and the seconds of all frames.
    """
    seconds, parts = 0.0, []
    with av.open(str(path)) as file:
        for packet in file.demux(audio=0):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                seconds += frame.samples / frame.sample_rate
                parts.append(frame)
    channels = []
    for _, run in groupby(parts, lambda x: (x.sample_rate, x.layout.nb_channels)):
        resampler = av.AudioResampler("fltp", rate=RATE)
        converted = [part for frame in [*run, None] for part in resampler.resample(frame)]
        samples = np.concatenate([part.to_ndarray() for part in converted], axis=1)
        channels.append(samples[np.argmax(samples.var(axis=1))])
    return np.concatenate(channels), seconds


def delays(samples: NDArray[np.float32], onset: float) -> list[float]:
    """Find by how many seconds each half of the music is late in decoded samples.

    Codecs add some hundredths of a second, and do so again where files are joined.
    """
    found = []
    music_samples = music(RATE)[0]
    n_half, reach = len(music_samples) // 2, round(MAX_DELAY * RATE)
    padded = np.pad(samples, (reach, len(music_samples)))
    for start in (0, n_half):
        first = round(onset * RATE) + start
        heard = padded[first : first + n_half + 2 * reach]
        similar = correlate(heard, music_samples[start : start + n_half], "valid", method="fft")
        lag = int(np.abs(similar).argmax()) - reach
        is_there = np.square(heard[reach:-reach]).any() and abs(lag) < reach
        found.append(lag / RATE if is_there else 0.0)
    return found


def probe(paths: Sequence[Path], checkout: Path) -> Iterator[dict[str, Any]]:
    """Read and transcribe files with the library of a checkout, one after another."""
    command = [sys.executable, "-c", PROBE, *map(str, paths)]
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)


def expected(recording: Recording, samples: NDArray[np.float32], seconds: float) -> NoteList:
    """Return the notes of the music in a file, at the times at which FFmpeg decodes them."""
    late = np.array(delays(samples, recording.onset))
    notes = reference().slice(0.0, min(SECONDS, seconds - recording.onset))
    shift = recording.onset + late[(notes.onset >= SECONDS / 2).astype(int)]
    return NoteList(
        (notes.onset + shift).clip(min=0.0), notes.offset + shift, notes.pitch, notes.velocity
    )


def score(recording: Recording, music_notes: NoteList, found: dict[str, Any]) -> float | None:
    """Onset F-measure of what was transcribed while the music plays."""
    if "notes" not in found:
        return None
    columns = [np.array(column) for column in found["notes"]]
    start = recording.onset - MAX_DELAY
    during = (columns[0] > start) & (columns[0] < recording.onset + SECONDS + MAX_DELAY)
    notes = NoteList(*(column[during] for column in columns))
    return evaluate_notes(music_notes, notes)["F-measure_no_offset"]


def table(checkouts: dict[str, Path], reported: Path | None) -> Table:
    """Compare what several checkouts read and hear; `reported` has the files of users."""
    columns = ["recording", "FFmpeg reads"]
    for name in checkouts:
        columns += [f"{name}: seconds", f"{name}: F"]
    return Table("robustness_recordings", "Unusual recordings", columns, _rows(checkouts, reported))


def _rows(checkouts: dict[str, Path], reported: Path | None) -> Iterator[list[str]]:
    av.logging.set_level(av.logging.PANIC)
    chosen = [*(reports(reported) if reported else ()), *recordings()]
    with tempfile.TemporaryDirectory(prefix="recordings ") as folder:
        paths = [Path(folder, recording.name) for recording in chosen]
        for recording, path in zip(chosen, paths, strict=True):
            recording.make(path)
        results = (probe(paths, checkout) for checkout in checkouts.values())
        for recording, path, *found in zip(chosen, paths, *results, strict=True):
            samples, seconds = decode(path)
            music_notes = expected(recording, samples, seconds)
            row = [recording.name, f"{seconds:.2f}"]
            for result in found:
                f = score(recording, music_notes, result)
                row.append(f"{result['seconds']:.2f}" if "seconds" in result else "error")
                row.append("" if f is None else f"{f:.3f}")
            yield row
