"""Render a recording like the example: a MIDI performance on a sampled piano in a small room.

::

    python examples/render.py DATA_DIR OUTPUT_DIR

writes example.flac and reference.mid, the notes that sound in it, to OUTPUT_DIR. README.md lists
the material and describes how the committed files were made.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import soundfile
from scipy.signal import oaconvolve

from harmnmf import NoteList, SampledPiano, read_notes, write_midi
from harmnmf.signal.acoustics import room_response
from harmnmf.signal.audio import SAMPLE_RATE

PERFORMANCE = (
    "piano/performances_free/Scarlatti_Keyboard_Sonata_in_F_minor_K466_uthlSgmBYMc_cut.mid"
)
EXCERPT = (0.9, 22.265)  # seconds: from the first note to the arrival in A flat major
SHORTEST_NOTE = 0.02  # seconds
PIANO = "piano/notes/salamander"

SILENCE = 0.5  # seconds before the first note
REVERBERATION_TIME = 0.35  # seconds
REVERBERANT_DB = -12.0  # relative to the direct sound
PEAK_DB = -3.0
NOISE_DB = -65.0
SEED = 466


def read_performance(path: Path) -> NoteList:
    """Read the excerpt of a GiantMIDI-Piano file, with key offsets and the pedal."""
    notes = read_notes(path, offset="key").without_overlaps()
    columns = np.array([notes.onset, notes.offset, notes.pitch, notes.velocity])
    # Shorter notes are errors of the network that transcribed the performance.
    long_enough = notes.pedalled().offset - notes.onset > SHORTEST_NOTE
    excerpt = NoteList(*columns[:, long_enough], notes.pedal).slice(*EXCERPT)
    return excerpt.shift(SILENCE - excerpt.onset[0])


@click.command()
@click.argument("data_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(data_dir: Path, output_dir: Path) -> None:
    """Render example.flac and reference.mid to OUTPUT_DIR from the free piano data in DATA_DIR."""
    rng = np.random.default_rng(SEED)
    notes = read_performance(data_dir / PERFORMANCE)
    audio = SampledPiano.load(data_dir / PIANO).render(notes, rng=rng)
    room = room_response(
        rng,
        reverberation_time=(REVERBERATION_TIME, REVERBERATION_TIME),
        reverberant_db=(REVERBERANT_DB, REVERBERANT_DB),
    )
    audio = oaconvolve(audio, room)[: len(audio)]
    audio *= 10 ** (PEAK_DB / 20) / np.abs(audio).max()
    audio += 10 ** (NOISE_DB / 20) * rng.standard_normal(len(audio))
    # 24 bits would store eight bits of noise with each sample.
    soundfile.write(output_dir / "example.flac", audio, SAMPLE_RATE, subtype="PCM_16")

    # Offsets include the pedal: the transcription it was made from has better ends of sounds than
    # releases of keys.
    sounding = notes.pedalled()
    reference = NoteList(
        sounding.onset, sounding.offset, sounding.pitch, sounding.velocity, notes.pedal
    )
    write_midi(output_dir / "reference.mid", reference)
    click.echo(f"{len(notes)} notes, {len(audio) / SAMPLE_RATE:.1f} s")


if __name__ == "__main__":
    main()
