"""`harmnmf learn`: a dictionary from recordings of isolated notes, or of music and its notes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import harmnmf
from harmnmf.cli._support.paths import check_output
from harmnmf.errors import HarmnmfError
from harmnmf.signal.audio_folders import audio_files

if TYPE_CHECKING:
    from harmnmf.dictionary.timbre_dictionary import TimbreDictionary


@click.command()
@click.argument("audio", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    help="Dictionary to write.",
)
@click.option(
    "--midi",
    "scores",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Notes of a recording of music: MIDI, or a table as `harmnmf transcribe` writes it. Given "
    "once for each recording, in the same order. They must be aligned with it, as those of a "
    "Disklavier are; only a constant offset of up to 0.1 s is made up for.",
)
@click.option(
    "--solver",
    type=click.Choice(["multiplicative", "bayesian", "decibel"]),
    default="multiplicative",
    show_default=True,
    help="How to factorise, with --midi.",
)
@click.option(
    "--dictionary",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="What to begin with, with --midi: of a key that is hardly played it keeps the most.",
)
@click.option("--about", metavar="TEXT", help="What it is, licence and attribution: kept in it.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.pass_context
def command(
    context: click.Context,
    audio: tuple[Path, ...],
    output: Path,
    scores: tuple[Path, ...],
    solver: str,
    dictionary: str,
    about: str | None,
    overwrite: bool,
) -> None:
    """Learn a dictionary of a piano from AUDIO: single notes, or music whose notes are known.

    Single notes: AUDIO are files, and folders of files. The name of each tells its pitch: it
    begins with the MIDI number (060_loud.wav) or holds the note's name (Piano.ff.Bb3.aiff, where
    C4 is middle C). Each folder that holds notes is one instrument, of the same weight as the
    others, and so are all files named by themselves. Record some keys of every octave, soft and
    loud: the keys between them are interpolated.

    Music: AUDIO are files, with one --midi for each. A few minutes that use most of the keyboard
    are enough.
    """
    if output.suffix.lower() != ".safetensors":
        raise click.BadParameter(
            f"{output}: a dictionary's name ends in .safetensors", param_hint="'--output'"
        )
    if scores and len(scores) != len(audio):
        recordings = "1 recording needs" if len(audio) == 1 else f"{len(audio)} recordings need"
        raise click.BadParameter(f"{recordings} as many, not {len(scores)}", param_hint="'--midi'")
    for name in ("solver", "dictionary"):
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and not scores:
            raise click.UsageError(f"--{name} is for music: give its notes with --midi")
    check_output(output, overwrite=overwrite)
    metadata = {"name": output.stem, "harmnmf": harmnmf.__version__}
    if about:
        metadata["about"] = about
    if scores:
        learned = _from_music(audio, scores, solver, dictionary, metadata)
        sources, source = learned.metadata["recordings"], "recording"
        for name, part in sources.items():
            click.echo(f"{name}: {1000 * part['offset']:+.0f} ms against its notes")
    else:
        learned = _from_notes(audio, metadata)
        sources, source = learned.metadata["instruments"], "instrument"
    learned.save(output)
    n_notes = sum(part["notes"] for part in sources.values())
    keys = {key for part in sources.values() for key in part["keys"]}
    counts = ((n_notes, "note"), (len(keys), "key"), (len(sources), source))
    notes_of, keys_of, from_ = (f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts)
    click.echo(f"{output}: learned from {notes_of} of {keys_of}, {from_}")


def _from_notes(audio: tuple[Path, ...], metadata: dict[str, Any]) -> TimbreDictionary:
    instruments = _instruments(audio)

    from harmnmf.dictionary.from_notes import learn_from_notes

    with _progress("Notes", sum(map(len, instruments.values()))) as progress:
        return learn_from_notes(instruments, metadata=metadata, progress=progress)


def _from_music(
    audio: tuple[Path, ...],
    scores: tuple[Path, ...],
    solver: str,
    dictionary: str,
    metadata: dict[str, Any],
) -> TimbreDictionary:
    for path in (*audio, *scores):
        if not path.is_file():
            raise HarmnmfError(f"{path}: no such file")

    from harmnmf.dictionary.from_score import learn_from_score

    with _progress("Recordings", len(audio)) as progress:
        return learn_from_score(
            zip(audio, scores, strict=True),
            dictionary=dictionary,
            solver=solver,
            metadata=metadata,
            progress=progress,
        )


def _instruments(arguments: tuple[Path, ...]) -> dict[str, list[Path]]:
    """Sort the notes by instrument, each note once, under names that are no one's paths."""
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


@contextmanager
def _progress(label: str, n_files: int) -> Iterator[Callable[[object], None] | None]:
    """Show on a terminal how many files are read; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=n_files, label=label, file=sys.stderr) as bar:
        yield lambda _: bar.update(1)
