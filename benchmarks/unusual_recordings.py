"""What is read and heard of recordings in unusual files, for `robustness`.

The seconds that FFmpeg decodes are the reference for those that are read. F-measures compare
transcriptions with the notes in the part of the music that FFmpeg decodes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from harmnmf import NoteList, evaluate_notes

from .report import Table
from .unusual_audio import SECONDS, Recording, recordings, reference

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


def ffmpeg_seconds(path: Path) -> float:
    """Decode a file with FFmpeg, passing over packets that it refuses, and count its seconds."""
    seconds = 0.0
    with av.open(str(path)) as file:
        for packet in file.demux(audio=0):
            try:
                seconds += sum(frame.samples / frame.sample_rate for frame in packet.decode())
            except av.error.InvalidDataError:
                continue
    return seconds


def probe(paths: Sequence[Path], checkout: Path) -> Iterator[dict[str, Any]]:
    """Read and transcribe files with the library of a checkout, one after another."""
    command = [sys.executable, "-c", PROBE, *map(str, paths)]
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)


def score(recording: Recording, seconds: float, found: dict[str, Any]) -> float | None:
    """Onset F-measure of what was transcribed of the music in a file of so many seconds."""
    if "notes" not in found:
        return None
    end = min(SECONDS, seconds - recording.onset)
    onset, offset, pitch, velocity = map(np.array, found["notes"])
    heard = (onset > recording.onset - 0.1) & (onset < recording.onset + end)
    notes = NoteList(
        (onset[heard] - recording.onset).clip(min=0.0),
        offset[heard] - recording.onset,
        pitch[heard],
        velocity[heard],
    )
    return evaluate_notes(reference().slice(0.0, end), notes)["F-measure_no_offset"]


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
            seconds = ffmpeg_seconds(path)
            row = [recording.name, f"{seconds:.2f}"]
            for result in found:
                f = score(recording, seconds, result)
                row.append(f"{result['seconds']:.2f}" if "seconds" in result else "error")
                row.append("" if f is None else f"{f:.3f}")
            yield row
