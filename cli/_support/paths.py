"""Outputs of a command, planned before any work."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from harmnmf.errors import HarmnmfError
from harmnmf.signal.audio_folders import AUDIO_SUFFIXES

from .recordings import AUDIO, InputKind, Recordings, find_recordings, stem

# A new output with one of these suffixes is a file; any other is a folder, as "Sonata Op.27 No.2".
FILE_SUFFIXES = (
    *(".mid", ".midi", ".kar", ".musicxml", ".mxl", ".xml", ".mscz", ".mscx", ".abc", ".mei"),
    *(".ly", ".krn", ".gp", ".gp5", ".gpx", ".sib", ".mus", ".musx", ".dorico"),
    *(".csv", ".tsv", ".tab", ".txt", ".md", ".log", ".json", ".jsonl", ".jams", ".yaml", ".yml"),
    *(".npz", ".npy", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".safetensors", ".onnx"),
    *(".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".ps", ".eps", ".html", ".htm"),
    *(".doc", ".docx", ".xls", ".xlsx", ".odt", ".ods", ".zip", ".gz", ".tar", ".7z"),
    *AUDIO_SUFFIXES,
)


@dataclass(frozen=True)
class Plan:
    """Recordings to process, with the outputs of each: files, or folders."""

    outputs: dict[Path, list[Path]]
    folder: Path | None = None  # the one that holds all outputs, if one was named
    is_single: bool = False  # one recording was named, and not a folder or pattern
    are_folders: bool = False  # the outputs
    errors: list[str] = field(default_factory=list)  # arguments that name no recordings
    remarks: list[str] = field(default_factory=list)  # what else is not done
    noun: str = AUDIO.noun  # one of the recordings, in messages
    # Other files that are read with a recording.
    companions: dict[Path, tuple[Path, ...]] = field(default_factory=dict)


def file_suffix(output: str | os.PathLike[str] | None) -> str | None:
    """Suffix of the file that ``--output FILE|DIR`` names (.mid for .midi); None for a folder."""
    name = "" if output is None else os.fspath(output)
    suffix = os.path.splitext(name)[1].lower()
    if os.path.isdir(name) or suffix not in FILE_SUFFIXES:
        return None
    return suffix.replace(".midi", ".mid")


def plan_outputs(
    arguments: Sequence[str],
    output: str | os.PathLike[str] | None,
    endings: Sequence[str],
    suffixes: Collection[str],
    kind: InputKind = AUDIO,
) -> Plan:
    """Plan the outputs of the recordings, or other files of one kind, that arguments name.

    `endings` gives the end of each output's name, such as ".mid" or "_voice.wav", or "_parts/" if
    it is a folder. A file `output` replaces the first, and the others are named after it;
    `suffixes` lists those that it may have.

    >>> plan = plan_outputs(["song.mp3"], "a.flac", ["_voice.wav", "_rest.wav"], [".flac"])
    >>> [path.name for path in plan.outputs[Path("song.mp3")]]
    ['a.flac', 'a_rest.flac']
    """
    _check_names(arguments, output)
    suffix = file_suffix(output)
    if suffix not in (None, *suffixes):
        expected = ", ".join(suffixes)
        raise click.UsageError(
            f"{output}: is neither a folder nor a file named {expected}; for a new folder of that "
            f"name, add {os.sep}"
        )
    found = find_recordings(arguments, endings, kind)
    recordings = found.recordings
    if output is not None and suffix is not None:
        if (total := len(recordings) + len(found.errors)) > 1:
            raise click.UsageError(
                f"{output}: is one file, but there are {total} {kind.noun}s; name a folder"
            )
        folder = None
        outputs = dict.fromkeys(recordings, _named_after(Path(output), endings))
    else:
        folder = None if output is None else Path(output)
        outputs = {
            file: [base.with_name(base.name + ending.rstrip("/")) for ending in endings]
            for file, base in _distinct_bases(recordings, folder, kind).items()
        }
    is_single = len(arguments) == 1 and list(recordings) == [Path(arguments[0])]
    are_folders = endings[0].endswith("/")
    return Plan(outputs, folder, is_single, are_folders, found.errors, found.remarks, kind.noun)


def _check_names(arguments: Sequence[str], output: str | os.PathLike[str] | None) -> None:
    if "" in arguments:
        raise click.UsageError("a name is empty; name files, folders or patterns")
    if "-" in arguments:
        raise click.UsageError("-: standard input is not read here; save the recording as a file")
    if output is not None and os.fspath(output) in ("", "-"):
        raise click.UsageError("--output: name a file or a folder; standard output is not written")


def _distinct_bases(
    recordings: Recordings, folder: Path | None, kind: InputKind
) -> dict[Path, Path]:
    """Output paths without their endings.

    Recordings of one name get the names of the folders that they are in; then those that differ
    in their suffixes keep these, as in ``song.wav.mid``.
    """
    places = recordings if folder is None else _distinct_places(recordings)
    whole: set[Path] = set()
    while True:
        bases = {
            file: file.with_name(file.name if file in whole else stem(file.name, kind))
            if folder is None
            else folder / place.with_name(place.name if file in whole else stem(place.name, kind))
            for file, place in places.items()
        }
        clashing = _clashing(bases) - whole
        if not clashing:
            return bases
        whole |= clashing


def _distinct_places(recordings: Recordings) -> Recordings:
    """Lengthen relative paths that are equal, by the names of the folders above."""
    places = dict(recordings)
    while True:
        longer = {}
        for file in _clashing(places):
            parts = Path(os.path.abspath(file)).parts[1:]
            longer[file] = Path(*parts[-len(places[file].parts) - 1 :])
        if longer.items() <= places.items():
            return places
        places |= longer


def _clashing(paths: Recordings) -> set[Path]:
    """Find recordings whose paths are equal, or would be where case does not count."""
    groups = defaultdict(set)
    fold = _fold(paths)
    for file, path in paths.items():
        groups[fold(str(path))].add(file)
    return {file for group in groups.values() if len(group) > 1 for file in group}


def _fold(paths: Recordings) -> Callable[[str], str]:
    # Recordings that differ in case only show that case counts on this disk.
    names = {os.path.abspath(file).casefold() for file in paths}
    return str.casefold if len(names) == len(paths) else str


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


def check_folder(folder: Path, name: Path) -> None:
    """Raise HarmnmfError about `name` if a folder cannot hold outputs; it may be missing."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    if not os.path.isdir(existing):
        raise HarmnmfError(f"{name}: {existing} is not a folder; choose another place")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise HarmnmfError(f"{name}: the folder {existing} is not writable; choose another place")


def holds_files(folder: Path) -> bool:
    """Tell whether there is such a folder, and it has files that are not hidden."""
    return folder.is_dir() and any(not name.startswith(".") for name in os.listdir(folder))


def check_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise HarmnmfError if a folder cannot be written, or has files and these must stay."""
    for path in (folder.parent, folder):
        check_folder(path, folder)
    if holds_files(folder) and not overwrite:
        raise HarmnmfError(f"{folder}: exists already; choose another place, or use --overwrite")


def check_output(path: Path, *, overwrite: bool, folder_may_be_missing: bool = False) -> None:
    """Raise HarmnmfError if a file cannot be written, or exists and must not be replaced."""
    folder = path.parent
    if not folder_may_be_missing and not os.path.exists(folder):
        raise HarmnmfError(f"{path}: there is no folder {folder}; create it first")
    check_folder(folder, path)
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        reason = error.strerror
        raise HarmnmfError(f"{path}: cannot be written ({reason}); choose another name") from error
    if stat.S_ISDIR(kind):
        raise HarmnmfError(f"{path}: is a folder; name a file to write")
    if not overwrite:
        raise HarmnmfError(f"{path}: exists already; choose another name, or use --overwrite")
