"""`harmnmf learn`: a timbre dictionary from isolated notes, or from music and its notes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import harmnmf
from harmnmf.cli._support.options import PATH, about_option, overwrite_option, quiet_option
from harmnmf.cli._support.paths import check_output
from harmnmf.cli._support.progress import ProgressBar
from harmnmf.errors import HarmnmfError
from harmnmf.signal.audio_folders import audio_files

if TYPE_CHECKING:
    from harmnmf.dictionary.timbre_dictionary import TimbreDictionary
    from harmnmf.signal.front_end import FrontEnd

_IN_TUNE = 8  # cents, which nobody needs to know


@click.command()
@click.argument("audio", nargs=-1, required=True, type=PATH)
@click.option(
    "-o", "--output", required=True, type=PATH, metavar="FILE.safetensors", help="Output file."
)
@click.option(
    "--midi",
    "scores",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Notes of a recording of music, as MIDI or as a .csv table of `harmnmf transcribe`. Give "
    "one --midi per recording, in the same order. The notes must be aligned with the audio up to a "
    "constant offset of at most 0.1 s.",
)
@click.option(
    "--solver",
    type=click.Choice(["multiplicative", "bayesian", "decibel"]),
    default="multiplicative",
    help="NMF solver, with --midi.",
)
@click.option(
    "--dictionary",
    metavar="NAME|FILE",
    help="Initial dictionary, with --midi; it fills in keys that are rarely played.  [default: "
    "default, or live with --live]",
)
@click.option(
    "--live",
    "is_live",
    is_flag=True,
    help="Learn a dictionary for `harmnmf listen`, with its shorter windows, instead of one for "
    "`harmnmf transcribe`.",
)
@click.option(
    "--fix-names/--keep-names",
    default=None,
    help="What to do with isolated notes that sound unlike their names (C4 for C5, or middle C "
    "called C3): learn them as they sound, or as they are named.  [default: stop, and name them]",
)
@about_option
@overwrite_option
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    audio: tuple[Path, ...],
    output: Path,
    scores: tuple[Path, ...],
    solver: str,
    dictionary: str | None,
    is_live: bool,
    fix_names: bool | None,
    about: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Learn a timbre dictionary of a piano from recordings.

    From isolated notes: AUDIO are files or folders of single notes. File names give the pitch: as
    a leading MIDI number (060_loud.wav) or as a note name (Piano.ff.Bb3.aiff; C4 is middle C).
    Each folder is one instrument; instruments have equal weight. A few keys per octave, soft and
    loud, are enough: missing keys are interpolated. A piano that is out of tune is brought to
    A4 = 440 Hz, as recordings are.

    From music: AUDIO are recordings, with one --midi for each. A few minutes that use most of the
    keyboard are enough. The notes that `harmnmf separate --by note` takes out of a recording can be
    learned as isolated notes (with --keep-names), but the recording itself gives the better
    dictionary.

    \b
    Examples:
      harmnmf learn notes/ -o piano.safetensors
      harmnmf learn take.wav --midi take.mid -o piano.safetensors
      harmnmf transcribe song.wav --dictionary piano.safetensors
      harmnmf learn notes/ --live -o mine.safetensors
      harmnmf listen --dictionary mine.safetensors
    """  # noqa: D301 (click needs the backspace itself)
    if output.suffix.lower() != ".safetensors":
        raise click.BadParameter(
            f"{output}: a dictionary's name ends in .safetensors", param_hint="'--output'"
        )
    if scores and len(scores) != len(audio):
        message = f"give one per recording: {len(audio)} expected, not {len(scores)}"
        raise click.BadParameter(message, param_hint="'--midi'")
    for name in ("solver", "dictionary"):
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and not scores:
            raise click.UsageError(f"--{name} needs --midi")
    if scores and fix_names is not None:
        raise click.UsageError("--fix-names and --keep-names are for notes, without --midi")
    check_output(output, overwrite=overwrite)
    metadata = {"name": output.stem, "harmnmf": harmnmf.__version__}
    if about:
        metadata["about"] = about
    front_end = _stream_front_end() if is_live else None
    if scores:
        for path in (*audio, *scores):
            if not path.is_file():
                raise HarmnmfError(f"{path}: no such file")

        from harmnmf.dictionary.from_score import learn_from_score

        initial = _initial_dictionary(dictionary, front_end)
        with ProgressBar("Recordings", len(audio), quiet=quiet) as bar:
            learned = learn_from_score(
                zip(audio, scores, strict=True),
                dictionary=initial,
                solver=solver,
                metadata=metadata,
                progress=bar.advance,
            )
        sources, source = learned.metadata["recordings"], "recording"
    else:
        instruments = _instruments(audio)

        from harmnmf.dictionary.from_notes import learn_from_notes

        with ProgressBar("Notes", sum(map(len, instruments.values())), quiet=quiet) as bar:
            learned = learn_from_notes(
                instruments,
                front_end=front_end,
                fix_names=fix_names,
                metadata=metadata,
                progress=bar.advance,
            )
        sources, source = learned.metadata["instruments"], "instrument"
    learned.save(output)
    if quiet:
        return
    if scores:
        for name, part in sources.items():
            click.echo(f"{name}: delayed by {1000 * part['offset']:+.0f} ms relative to its notes")
    for name, part in sources.items():
        if abs(part["tuning"]) > _IN_TUNE:
            click.echo(f"{name}: {part['tuning']:+d} cents from A4 = 440 Hz")
    n_notes = sum(part["notes"] for part in sources.values())
    keys = {key for part in sources.values() for key in part["keys"]}
    counts = ((n_notes, "note"), (len(keys), "key"), (len(sources), source))
    notes_of, keys_of, from_ = (f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts)
    click.echo(f"{output}: learned from {notes_of} of {keys_of}, {from_}")


def _stream_front_end() -> FrontEnd:
    from harmnmf.decoder.causal_network import stream_settings

    return stream_settings().front_end


def _initial_dictionary(name: str | None, front_end: FrontEnd | None) -> TimbreDictionary:
    """Load a dictionary; with a front end for streams, it must have the same."""
    from harmnmf.dictionary.timbre_dictionary import TimbreDictionary

    loaded = TimbreDictionary.load(name or ("default" if front_end is None else "live"))
    if front_end not in (None, loaded.front_end):
        raise HarmnmfError(
            f"{name}: is not a dictionary for streams; with --live, choose one that was learned "
            "with --live, or leave out --dictionary"
        )
    return loaded


def _instruments(arguments: tuple[Path, ...]) -> dict[str, list[Path]]:
    """Group files by instrument: each folder is one, and so are all files given by name."""
    loose: list[Path] = []
    folders: dict[Path, list[Path]] = {}
    seen: set[Path] = set()
    for argument in arguments:
        if not argument.exists():
            raise HarmnmfError(f"{argument}: no such file or folder")
        for path in audio_files(argument) if argument.is_dir() else [argument]:
            resolved = path.resolve()
            if resolved not in seen:
                seen.add(resolved)
                group = folders.setdefault(path.parent, []) if argument.is_dir() else loose
                group.append(path)
    groups = [(folder.resolve().name, paths) for folder, paths in folders.items()]
    if loose:
        groups.insert(0, (loose[0].resolve().parent.name, loose))
    instruments: dict[str, list[Path]] = {}
    for folder_name, paths in groups:
        name, n = folder_name, 1
        while name in instruments:
            n += 1
            name = f"{folder_name} ({n})"
        instruments[name] = paths
    return instruments
