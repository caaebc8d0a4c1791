"""`harmnmf render`: notes to audio."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, batch_options, process_each
from harmnmf.cli._support.notes import on_keyboard
from harmnmf.cli._support.paths import plan_outputs
from harmnmf.cli._support.recordings import InputKind
from harmnmf.cli._support.subtype import Subtype, check_subtype
from harmnmf.errors import HarmnmfError
from harmnmf.notes.suffixes import EVENT_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES

if TYPE_CHECKING:
    from harmnmf.notes.note_list import NoteList
    from harmnmf.synthesis.sampled_piano import SampledPiano

# The recording that was transcribed is often song.wav.
_ENDING = "_rendered.wav"
_NOTES = InputKind("file", "MIDI", MIDI_SUFFIXES, (*TABLE_SUFFIXES, *EVENT_SUFFIXES))
_LONGEST = 4  # hours, which take 4 GB of memory
_BLOCK = 2**20  # samples


@click.command()
@click.argument("notes", nargs=-1, required=True, type=click.Path(readable=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="FILE|DIR",
    help=f"Output folder, or audio file for a single input.  "
    f"[default: song{_ENDING} beside song.mid]",
)
@click.option(
    "--piano",
    default="default",
    show_default=True,
    metavar="NAME|DIR",
    help="Piano: default, a Steinway that is shipped, or a folder of isolated notes named "
    "<MIDI number>_<layer>.wav, .flac or .ogg, such as 060_ff.wav. The order of the layers of a "
    "key is that of their names (pp, mf, ff; v030, v096) or, if these tell none, of their levels.",
)
@click.option(
    "--subtype",
    type=Subtype(),
    metavar="16|24|32|float",
    help="Bits of the samples in WAV, FLAC, AIFF, ...  [default: 16]",
)
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    notes: tuple[str, ...],
    output: str | None,
    piano: str,
    subtype: str | None,
    batch: Batch,
) -> None:
    """Play notes on a sampled piano, into an audio file.

    NOTES: MIDI files (.mid, .midi, .rmi, .kar), tables of notes (.csv, .tsv, .txt), events of
    `harmnmf listen` (.jsonl), folders with MIDI files, or patterns like 'takes/*.mid'. All tracks
    of a MIDI file are played on the piano, with its sustain pedal; notes off the keyboard (A0 to
    C8) are left out, with a warning. The output is mono at 16 kHz: a WAV file, or what `-o FILE`
    names: .wav, .flac, .mp3, .ogg, .opus, .aiff, ... Times are those of the notes.

    The level depends on the velocities only, so that files that are rendered apart can be mixed. If
    peaks exceed full scale, the whole file is made softer, with a warning; float WAV files keep
    them. Existing files are not replaced without --overwrite.

    \b
    Examples:
      harmnmf render song.mid
      harmnmf render song.csv -o song.mp3
      harmnmf render takes/ -o sounds/ -j 2
      harmnmf render song.mid --piano my_piano/ --subtype float
    """  # noqa: D301 (click needs the backspace itself)
    from harmnmf.signal.formats import OUTPUT_SUFFIXES

    plan = plan_outputs(notes, output, [_ENDING], OUTPUT_SUFFIXES, _NOTES)
    check_subtype(output, subtype)
    process_each(ctx, plan, Rendering(piano, subtype), batch, duration=None)


@dataclass(frozen=True)
class Rendering:
    """Rendering of the notes in a file."""

    piano: str
    subtype: str | None

    def prepare(self) -> None:
        """Load the piano."""
        _load_piano(self.piano)

    def __call__(self, task: Task, progress: Progress) -> str:
        """Render a file's notes and write its output."""
        from harmnmf.signal.audio import SAMPLE_RATE
        from harmnmf.signal.formats import FORMATS, check_format
        from harmnmf.signal.writing import write_blocks

        path = task.outputs[0]
        subtype = self.subtype
        if subtype is None and "PCM_16" in FORMATS[path.suffix.lower()].subtypes:
            subtype = "PCM_16"
        check_format(path, SAMPLE_RATE, 1, subtype)
        notes = _read_playable(task.source)
        samples = _load_piano(self.piano).render(notes)
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = (samples[start : start + _BLOCK] for start in range(0, len(samples), _BLOCK))
        write_blocks(path, blocks, SAMPLE_RATE, subtype=subtype, n_samples=len(samples))
        return f"{len(notes)} note{'s' * (len(notes) != 1)}, {len(samples) / SAMPLE_RATE:.1f} s"


@lru_cache(maxsize=1)
def _load_piano(source: str) -> SampledPiano:
    from harmnmf.synthesis.sampled_piano import SampledPiano

    return SampledPiano.load(source)


def _read_playable(path: Path) -> NoteList:
    """Read the notes of a file that a piano can play."""
    from harmnmf.notes.files import read_notes

    # Tables have the ends of the sounds, but no pedal.
    notes = read_notes(path, offset="pedal" if path.suffix.lower() in TABLE_SUFFIXES else "key")
    if not len(notes):
        raise HarmnmfError(f"{path}: has no notes to play")
    played, _ = on_keyboard(path, notes)
    played = played.without_overlaps()
    hours = played.pedalled().offset.max() / 3600
    if hours > _LONGEST:
        raise HarmnmfError(
            f"{path}: its notes last {hours:.1f} hours, above the limit of {_LONGEST}; divide the "
            "file, or check its times"
        )
    return played
