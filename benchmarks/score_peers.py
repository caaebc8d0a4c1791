"""Other programs that find beats in notes, or make scores of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import librosa
import numpy as np
import pretty_midi
from numpy.typing import NDArray

from harmnmf import NoteList, write_midi

MUSESCORES = ("mscore3", "musescore3", "mscore", "musescore")
TIME_LIMIT = 120  # seconds for one import
SAMPLE_RATE, HOP_LENGTH = 22050, 512  # librosa's own


def librosa_beats(notes: NoteList) -> NDArray[np.float64]:
    """Find beats by librosa's tracker; the onset strength is the sum of the notes' velocities."""
    frames = np.rint(notes.onset * SAMPLE_RATE / HOP_LENGTH).astype(int)
    strength = np.zeros(frames.max() + 50)
    np.add.at(strength, frames, notes.velocity)
    _, beats = librosa.beat.beat_track(
        onset_envelope=strength, sr=SAMPLE_RATE, hop_length=HOP_LENGTH, units="time"
    )
    return np.asarray(beats)


def pretty_midi_beats(notes: NoteList) -> NDArray[np.float64]:
    """Find beats at pretty_midi's estimates of a constant tempo and of the first beat."""
    midi = _to_pretty_midi(notes, 120.0)
    midi = _to_pretty_midi(notes, midi.estimate_tempo())
    return np.asarray(midi.get_beats(midi.estimate_beat_start()))


def _to_pretty_midi(notes: NoteList, tempo: float) -> pretty_midi.PrettyMIDI:
    midi = pretty_midi.PrettyMIDI(initial_tempo=tempo)
    piano = pretty_midi.Instrument(program=0)
    columns = (notes.velocity, notes.pitch, notes.onset, notes.offset)
    piano.notes = [pretty_midi.Note(*values) for values in zip(*columns, strict=True)]
    midi.instruments.append(piano)
    return midi


def musescore() -> str | None:
    """Find MuseScore on the path."""
    return next(filter(None, map(shutil.which, MUSESCORES)), None)


def import_by_musescore(program: str, notes: NoteList, output: Path) -> bool:
    """Write the MusicXML that MuseScore makes of a MIDI file of notes; False if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "notes.mid")
        write_midi(path, notes)
        command = [program, "-o", os.fspath(output), os.fspath(path)]
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": folder}
        try:
            subprocess.run(
                command, env=environment, capture_output=True, timeout=TIME_LIMIT, check=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
    return output.exists()
