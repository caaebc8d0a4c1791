"""Recordings to read and outputs to write, planned before any work."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import click

from harmnmf.errors import HarmnmfError
from harmnmf.signal.audio_folders import AUDIO_SUFFIXES, audio_files

# A new output with one of these suffixes is a file; any other is a folder.
FILE_SUFFIXES = (".mid", ".midi", ".csv", ".npz", ".png", *AUDIO_SUFFIXES)


def find_recordings(arguments: Iterable[str]) -> list[tuple[Path, Path]]:
    """Find the audio files that files, folders and glob patterns name.

    Each is listed once, with its relative path in a folder of outputs. Missing files are kept: they
    fail when they are read, without stopping the others.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for argument in arguments:
        # An existing file may have a name like a pattern.
        names = [] if Path(argument).exists() else sorted(glob.glob(argument, recursive=True))
        for path in map(Path, names or [argument]):
            for file in audio_files(path) if path.is_dir() else [path]:
                place = file.relative_to(path) if path.is_dir() else Path(file.name)
                found.setdefault(os.path.abspath(file), (file, place))
    return list(found.values())


def file_suffix(output: Path | None) -> str | None:
    """Suffix of the file that ``--output FILE|DIR`` names (.mid for .midi); None for a folder."""
    if output is None or output.is_dir() or output.suffix.lower() not in FILE_SUFFIXES:
        return None
    return output.suffix.lower().replace(".midi", ".mid")


def plan_outputs(
    arguments: Iterable[str], output: Path | None, endings: Sequence[str], suffixes: Collection[str]
) -> tuple[dict[Path, list[Path]], Path | None]:
    """Plan the outputs of recordings, and return them with the folder that all share, if any.

    `endings` gives the end of each output's name, such as ".mid" or "_voice.wav". A file `output`
    replaces the first, and the others are named after it; `suffixes` lists those that it may have.

    >>> plan, _ = plan_outputs(["song.mp3"], Path("a.flac"), ["_voice.wav", "_rest.wav"], [".flac"])
    >>> [path.name for path in plan[Path("song.mp3")]]
    ['a.flac', 'a_rest.flac']
    """
    recordings = find_recordings(arguments)
    suffix = file_suffix(output)
    if output is None or suffix is None:
        plan = {}
        for file, place in recordings:
            base = file if output is None else output / place
            plan[file] = [base.with_name(base.stem + ending) for ending in endings]
        return plan, output
    if suffix not in suffixes:
        expected = ", ".join(suffixes)
        raise click.UsageError(f"{output}: is neither a folder nor a file named {expected}")
    if len(recordings) > 1:
        raise click.UsageError(f"{output}: is one file, but there are {len(recordings)} recordings")
    outputs = _named_after(output, endings)
    return {file: outputs for file, _ in recordings}, None


def _named_after(file: Path, endings: Sequence[str]) -> list[Path]:
    """Replace the first ending by a file's own, and its tag and suffix in the others."""
    tag, _, suffix = endings[0].rpartition(".")
    outputs = [file]
    for ending in endings[1:]:
        other_tag, _, other_suffix = ending.rpartition(".")
        stem = file.stem if other_tag == tag else file.stem.removesuffix(tag) + other_tag
        same_format = other_suffix == suffix
        outputs.append(file.with_name(stem + (file.suffix if same_format else f".{other_suffix}")))
    return outputs


def check_output(path: Path, *, overwrite: bool, folder_may_be_missing: bool = False) -> None:
    """Raise HarmnmfError if a file cannot be written, or exists and must not be replaced."""
    folder = path.parent
    if folder_may_be_missing:
        folder = next(parent for parent in path.parents if parent.exists())
    if not folder.exists():
        raise HarmnmfError(f"{path}: there is no folder {folder}; create it first")
    if not folder.is_dir():
        raise HarmnmfError(f"{path}: {folder} is not a folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise HarmnmfError(f"{path}: cannot write to the folder {folder}; choose another place")
    if path.is_dir():
        raise HarmnmfError(f"{path}: is a folder; name a file to write")
    if path.exists() and not overwrite:
        raise HarmnmfError(f"{path}: exists already; choose another name, or use --overwrite")


def check_plan(
    plan: Mapping[Path, Sequence[Path]], *, overwrite: bool, own: Collection[str] = ()
) -> None:
    """Raise HarmnmfError if planned outputs collide, exist or cannot be written.

    Their folders will be created. Those whose real paths are in `own` may exist in any case.
    """
    origin: dict[str, Path] = {}
    for source, outputs in plan.items():
        for path in outputs:
            other = origin.setdefault(os.path.realpath(path), source)
            if other != source:
                raise HarmnmfError(f"{path}: would be written for both {other} and {source}")
    for source, outputs in plan.items():
        # A missing recording fails later, and its outputs are never written.
        for path in outputs if source.exists() else []:
            may_exist = overwrite or os.path.realpath(path) in own
            check_output(path, overwrite=may_exist, folder_may_be_missing=True)
