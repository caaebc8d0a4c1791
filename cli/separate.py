"""`harmnmf separate`: the sounds of hands, pitches or notes, out of piano recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harmnmf.batch.task import Progress, Task
from harmnmf.cli._support.batch import Batch, batch_options, named, process_each
from harmnmf.cli._support.notes import on_keyboard, pair_notes
from harmnmf.cli._support.options import PATH, device_option
from harmnmf.cli._support.parts import PartChoice, replacing_parts
from harmnmf.cli._support.paths import file_suffix, plan_outputs
from harmnmf.cli._support.recordings import AUDIO, PART_FOLDERS
from harmnmf.cli._support.subtype import check_subtype, subtype_option
from harmnmf.errors import HarmnmfError, ParameterError

if TYPE_CHECKING:
    from harmnmf.notes.note_list import NoteList
    from harmnmf.notes.tracks import TrackNotes
    from harmnmf.separation.groups import NoteGroups
    from harmnmf.separation.prepared import PreparedSeparation
    from harmnmf.separation.separator import Separator
    from harmnmf.signal.audio import Audio
    from harmnmf.transcription import Transcriber

_FORMATS = ("wav", "flac")
_HANDS = ("left", "right", "residual")
# With outputs of other runs, which are left out of folders.
_ONE_FILE = [f"{text}_{part}.wav" for text in ("", "_without") for part in _HANDS]
_RECORDINGS = replace(AUDIO, endings=(*AUDIO.endings, *_ONE_FILE))
_SELECTED = "selected"


class _Splits(click.ParamType):
    """Pitches that begin ranges, separated by commas, ascending."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Convert the text of an option to MIDI numbers."""
        from harmnmf.notes.pitch_names import parse_pitch
        from harmnmf.separation.groups import range_names

        try:
            splits = tuple(sorted({parse_pitch(part) for part in value.split(",")}))
            range_names(splits)
        except ParameterError as error:
            self.fail(str(error), param, ctx)
        return splits


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path(readable=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="DIR|FILE",
    help="Output folder; with --keep or --mute also a .wav or .flac file, for a single recording."
    "  [default: beside each recording]",
)
@click.option(
    "--by",
    type=click.Choice(list(PART_FOLDERS)),
    default="hand",
    help="Parts to write: left and right hand; each pitch that is played; ranges of pitches "
    "(--split); tracks of the MIDI file (--notes); or each note by itself.",
)
@click.option(
    "--notes",
    type=PATH,
    metavar="FILE|DIR",
    help="Notes that are played: a MIDI file, a table (.csv, .tsv, .txt) or events of `harmnmf "
    "listen` (.jsonl) that fit the recording in time; or a folder that has one of the same name "
    "for each recording.  [default: transcribed, as by `harmnmf transcribe`, and written with the "
    "parts]",
)
@click.option(
    "--split",
    "splits",
    type=_Splits(),
    default="C4",
    metavar="NOTES",
    help="With --by range: lowest note of each range but the first, separated by commas, such as "
    "C3,C5.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="Write one file with this part only, such as right; residual for what is not in the "
    "notes. Give it several times to keep several parts.",
)
@click.option(
    "--mute",
    multiple=True,
    metavar="NAME",
    help="Write one file with all but this part: --mute left to practise the left hand. Give it "
    "several times to mute several parts.",
)
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(_FORMATS),
    help="Format of the files.  [default: wav]",
)
@subtype_option
@click.option(
    "--dictionary",
    default="default",
    metavar="NAME|FILE",
    help="Timbre dictionary: a name from `harmnmf dictionary list`, or a file from "
    "`harmnmf learn`.",
)
@click.option(
    "--adapt/--no-adapt",
    default=True,
    help="Adapt the dictionary to the piano in the recording: better, and slower.",
)
@device_option
@batch_options
@click.pass_context
def command(
    ctx: click.Context,
    audio: tuple[str, ...],
    output: str | None,
    by: str,
    notes: Path | None,
    splits: tuple[int, ...],
    keep: tuple[str, ...],
    mute: tuple[str, ...],
    audio_format: str | None,
    subtype: str | None,
    dictionary: str,
    adapt: bool,
    device: str,
    batch: Batch,
) -> None:
    """Separate piano recordings into hands, pitches or single notes.

    AUDIO: audio files (WAV, FLAC, MP3, M4A, ...), videos, folders, or patterns like 'takes/*.wav'.
    The parts come out of the recording itself, with its sample rate and channels.

    song.wav gives the folder song_hands beside it, with left.wav, right.wav and residual.wav. The
    residual has the noise of hammers, pedal and room, and whatever is not in the notes. These files
    are as long as the recording, and add up to it; so do those in song_pitches (060_C4.wav, ...),
    song_ranges and song_tracks. With --by note, song_notes has the sound of each note alone, from
    its start: 0001_0012.345s_C4.wav begins at 12.345 seconds. With --keep or --mute there is one
    file, song_right.wav or song_without_left.wav.

    The better the notes, the better the parts: correct notes.mid, which is written with the parts,
    in a MIDI editor, and give it as --notes. It has a track for each hand, so that hands can be
    corrected, too: the tracks of a MIDI file that has two are the hands. In other files, hands are
    found from the notes. Notes may be up to 0.1 s early or late, if all are alike.

    If peaks exceed full scale, all parts of a recording are made softer alike, with a warning;
    float WAV files keep them. Existing folders and files are not replaced without --overwrite. With
    -o DIR, a log in DIR records what is done, and running the command again resumes.

    \b
    Examples:
      harmnmf separate song.wav
      harmnmf separate song.wav --mute left -o practice.wav
      harmnmf separate song.wav --notes song.mid --by pitch --format flac
      harmnmf separate song.wav --by range --split C3,C5 -o parts/
      harmnmf separate takes/ --notes takes/midi/ -o parts/ -j 2
    """  # noqa: D301 (click needs the backspace itself)
    source = ctx.get_parameter_source("splits")
    if by != "range" and source is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--split is for --by range")
    if by == "track" and notes is None:
        raise click.UsageError("--by track needs the tracks of a MIDI file; add --notes FILE")
    parts = PartChoice(keep, mute)
    labels = _labels(parts, by, splits)
    suffix = _suffix(output, audio_format, is_one_file=bool(parts.names))
    ending = PART_FOLDERS[by]
    if parts.names:
        ending = "_".join(["_without" if mute else "", *labels]) + suffix
    plan = plan_outputs(audio, output, [ending], [suffix], _RECORDINGS)
    check_subtype(f"part{suffix}", subtype)
    if notes is not None:
        pairs, errors = pair_notes(plan.outputs, notes)
        plan = replace(
            plan,
            outputs={source: plan.outputs[source] for source in pairs},
            companions={source: (path,) for source, path in pairs.items()},
            errors=[*plan.errors, *errors],
        )
    work = Separation(by, splits, parts, suffix, subtype, dictionary, adapt, device)
    process_each(ctx, plan, work, batch)


def _labels(parts: PartChoice, by: str, splits: tuple[int, ...]) -> list[str]:
    """Names of the parts that are kept or muted, for the name of a file.

    Raises click.UsageError if no recording can have one of them.
    """
    from harmnmf.separation.groups import range_names

    known = {"hand": ["left", "right"], "range": range_names(splits)}.get(by)
    if known is None:
        return [re.sub(r"[^\w.-]+", "_", name.replace("#", "s")) for name in parts.names]
    try:
        return parts.find(known)
    except HarmnmfError as error:
        raise click.UsageError(str(error)) from error


def _suffix(output: str | None, audio_format: str | None, *, is_one_file: bool) -> str:
    """Suffix of the files to write; click.UsageError if the options contradict."""
    named = file_suffix(output)
    if named is None:
        return f".{audio_format or _FORMATS[0]}"
    if not is_one_file:
        raise click.UsageError(
            f"{output}: there are several parts; name a folder, or one part with --keep or --mute"
        )
    if named.removeprefix(".") not in _FORMATS:
        raise click.UsageError(f"{output}: parts are written as .wav or .flac; name such a file")
    if audio_format not in (None, named.removeprefix(".")):
        raise click.UsageError(f"--format {audio_format} contradicts -o {output}")
    return named


@dataclass(frozen=True)
class Separation:
    """Separation of one recording."""

    by: str
    splits: tuple[int, ...]
    parts: PartChoice  # to write to one file; if it has no names, all parts to a folder
    suffix: str
    subtype: str | None
    dictionary: str
    adapt: bool
    device: str

    def prepare(self) -> None:
        """Load the dictionary."""
        _separator(self)

    def __call__(self, task: Task, progress: Progress) -> str:
        """Separate a recording and write its parts."""
        from harmnmf.notes.files import write_midi
        from harmnmf.separation.groups import RESIDUAL
        from harmnmf.signal.formats import check_format, matching_subtype
        from harmnmf.signal.reading import audio_info
        from harmnmf.signal.writing import write_blocks, write_parts, write_sounds

        (output,) = task.outputs
        is_one_file = bool(self.parts.names)
        info = audio_info(task.source)
        file = output if is_one_file else output / f"part{self.suffix}"
        subtype = self.subtype or matching_subtype(file, task.source)
        check_format(file, info.sample_rate, info.n_channels, subtype)
        stages = _stages(progress, info.duration, 2 if task.companions else 3)
        tracks = self._read_notes(task, info.duration, stages)
        notes = tracks.notes
        groups = self._group(tracks, task)
        with named(task.source):
            selected, is_rest = self.parts.select(groups)
        separation = _separator(self).prepare(task.source, notes, progress=next(stages))
        output.parent.mkdir(parents=True, exist_ok=True)
        writing = next(stages)
        n_samples = round(info.duration * info.sample_rate)
        if is_one_file:
            blocks = separation.parts({_SELECTED: selected}, progress=writing)
            write_blocks(
                output,
                (block[RESIDUAL if is_rest else _SELECTED] for block in blocks),
                info.sample_rate,
                subtype=subtype,
                n_samples=n_samples,
            )
            return f"{'without ' * is_rest}{len(selected)} of {_plural(len(notes), 'note')}"
        with replacing_parts(output):
            if self.by == "note":
                sounds = _sounds(separation, notes, writing)
                write_sounds(output, sounds, suffix=self.suffix, subtype=subtype)
            else:
                write_parts(
                    output,
                    separation.parts(groups, progress=writing),
                    info.sample_rate,
                    suffix=self.suffix,
                    subtype=subtype,
                    n_samples=n_samples,
                )
        if not task.companions:
            hands = {f"{name.capitalize()} hand": groups[name] for name in ("left", "right")}
            write_midi(output / "notes.mid", notes, tracks=hands if self.by == "hand" else None)
        return self._describe(groups, len(notes))

    def _read_notes(self, task: Task, duration: float, stages: Iterator[Progress]) -> TrackNotes:
        """Read the notes of a recording, or transcribe it; HarmnmfError if they do not fit."""
        import numpy as np

        from harmnmf.notes.tracks import TrackNotes, read_tracks

        if not task.companions:
            notes = _transcriber(self).transcribe(task.source, progress=next(stages))
            if not len(notes):
                raise HarmnmfError(f"{task.source}: no notes were found, so no parts are written")
            return TrackNotes(notes, np.zeros(len(notes), np.int64), ("",))
        (path,) = task.companions
        tracks = read_tracks(path)
        onset = tracks.notes.onset
        if not len(onset):
            raise HarmnmfError(f"{path}: has no notes, and so {task.source} has no parts")
        # The header of a recording may not say how long it is.
        if duration and onset[-1] >= duration:
            n_late = int((onset >= duration).sum())
            begin = "begins" if n_late == 1 else "begin"
            raise HarmnmfError(
                f"{path}: {n_late} of {_plural(len(onset), 'note')} {begin} after the end of "
                f"{task.source} at {duration:.1f} s, the last at {onset[-1]:.1f} s; give the notes "
                "of this recording"
            )
        notes, is_kept = on_keyboard(path, tracks.notes)
        used, track = np.unique(tracks.track[is_kept], return_inverse=True)
        return TrackNotes(notes, track, tuple(tracks.names[i] for i in used))

    def _group(self, tracks: TrackNotes, task: Task) -> NoteGroups:
        from harmnmf.separation import groups

        if self.by == "hand":
            return groups.group_by_hand(tracks.notes, tracks)
        if self.by == "note":
            return groups.group_by_note(tracks.notes)
        if self.by == "pitch":
            return groups.group_by_pitch(tracks.notes)
        if self.by == "range":
            return groups.group_by_range(tracks.notes, self.splits)
        if len(tracks.names) < 2:
            raise HarmnmfError(
                f"{task.companions[0]}: all notes are in one track; choose another --by"
            )
        return groups.group_by_track(tracks)

    def _describe(self, groups: NoteGroups, n_notes: int) -> str:
        if self.by == "note":
            return _plural(n_notes, "note")
        if self.by == "pitch":
            return f"{_plural(n_notes, 'note')} of {_plural(len(groups), 'pitch')}"
        return ", ".join(f"{name} {_plural(len(notes), 'note')}" for name, notes in groups.items())


def _stages(progress: Progress, duration: float, n_stages: int) -> Iterator[Progress]:
    """Divide the progress among stages that each report the seconds of audio done."""

    def report(done: float, seconds: float) -> None:
        progress((done + seconds) / n_stages)

    return (partial(report, stage * duration) for stage in range(n_stages))


def _sounds(
    separation: PreparedSeparation, notes: NoteList, progress: Progress
) -> Iterator[tuple[str, Audio]]:
    """Yield the sound of each note, and a name that has the time at which it begins."""
    from harmnmf.separation.groups import note_name

    sounds = separation.all_notes(progress=progress)
    for i, (pitch, (start, sound)) in enumerate(zip(notes.pitch.tolist(), sounds, strict=True)):
        yield note_name(i, len(notes), start, pitch), sound


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 'es' if noun.endswith('ch') else 's'}"


@lru_cache(maxsize=1)
def _separator(work: Separation) -> Separator:
    from harmnmf.separation.separator import Separator

    return Separator(work.dictionary, adapt=work.adapt, device=work.device)


@lru_cache(maxsize=1)
def _transcriber(work: Separation) -> Transcriber:
    from harmnmf.transcription import Transcriber

    return Transcriber(work.dictionary, device=work.device)
