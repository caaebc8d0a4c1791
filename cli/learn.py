"""`harmnmf learn`: a dictionary from recordings of isolated notes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

import harmnmf
from harmnmf.errors import HarmnmfError

from .paths import audio_files, check_output


@click.command()
@click.argument("notes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Dictionary to write.",
)
@click.option("--about", metavar="TEXT", help="What it is, licence and attribution: kept in it.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
def command(notes: tuple[Path, ...], output: Path, about: str | None, overwrite: bool) -> None:
    """Learn a dictionary from NOTES, recordings of single notes: files, and folders of files.

    The name of each file tells its pitch: it begins with the MIDI number (060_loud.wav) or holds
    the note's name (Piano.ff.Bb3.aiff, where C4 is middle C). Each folder that holds notes is one
    instrument, of the same weight as the others, and so are all files named by themselves. Record
    some keys of every octave, soft and loud: the keys between them are interpolated.
    """
    if output.suffix.lower() != ".npz":
        raise click.BadParameter(
            f"{output}: a dictionary's name ends in .npz", param_hint="'--output'"
        )
    check_output(output, overwrite=overwrite)
    instruments = _instruments(notes)
    n_notes = sum(map(len, instruments.values()))

    from harmnmf.learning import learn_from_notes

    metadata = {"name": output.stem, "harmnmf": harmnmf.__version__}
    if about:
        metadata["about"] = about
    with _progress(n_notes) as progress:
        dictionary = learn_from_notes(instruments, metadata=metadata, progress=progress)
    dictionary.save(output)
    keys = {key for source in dictionary.metadata["instruments"].values() for key in source["keys"]}
    counts = ((n_notes, "note"), (len(keys), "key"), (len(instruments), "instrument"))
    notes_of, keys_of, from_ = (f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts)
    click.echo(f"{output}: learned from {notes_of} of {keys_of}, {from_}")


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
def _progress(n_notes: int) -> Iterator[Callable[[Path], None] | None]:
    """Show on a terminal how many notes are done; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=n_notes, label="Notes", file=sys.stderr) as bar:
        yield lambda path: bar.update(1)
