"""Files with the notes of recordings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmnmf.errors import HarmnmfError
from harmnmf.notes.suffixes import EVENT_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES
from harmnmf.signal.audio_folders import list_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harmnmf.notes.note_list import NoteList

_SUFFIXES = (*MIDI_SUFFIXES, *TABLE_SUFFIXES, *EVENT_SUFFIXES)  # MIDI files are preferred


def pair_notes(recordings: Iterable[Path], notes: Path) -> tuple[dict[Path, Path], list[str]]:
    """Find the notes of each recording in a file or a folder.

    In a folder, ``a/x.mid`` has the notes of ``x.wav`` in any folder ``a``, and so has ``x.mid``.
    Returns the pairs, and errors about recordings without notes. Raises HarmnmfError if there is no
    such file or folder, and click.UsageError if a file is named for several recordings.
    """
    recordings = list(recordings)
    if not notes.exists():
        raise HarmnmfError(f"{notes}: no such file or folder")
    if not notes.is_dir():
        if len(recordings) > 1:
            raise click.UsageError(
                f"--notes {notes}: is one file, but there are {len(recordings)} recordings; name a "
                "folder with a file for each"
            )
        return dict.fromkeys(recordings, notes), []
    contents = list_folder(notes, _SUFFIXES)
    pairs: dict[Path, Path] = {}
    errors = list(contents.errors)
    for recording in recordings:
        path = _best_match(recording, contents.found, notes)
        if path is None:
            errors.append(
                f"{recording}: there are no notes for it in {notes}, such as {recording.stem}.mid"
            )
        elif path in pairs.values():
            other = next(file for file, used in pairs.items() if used == path)
            errors.append(
                f"{recording}: {path} has the name of its notes and of those of {other}; separate "
                "them one by one"
            )
        else:
            pairs[recording] = path
    return pairs, errors


def _best_match(recording: Path, files: Iterable[Path], folder: Path) -> Path | None:
    """Find the file that has the name of a recording, and most of its folders."""
    *folders, name = recording.absolute().parts
    fitting = []
    for file in files:
        above = file.relative_to(folder).parent.parts
        if file.stem in (name, recording.stem) and above == tuple(
            folders[len(folders) - len(above) :]
        ):
            order = (len(above), file.stem == name, -_SUFFIXES.index(file.suffix.lower()))
            fitting.append((order, file))
    return max(fitting)[1] if fitting else None


def on_keyboard(path: Path, notes: NoteList) -> tuple[NoteList, NDArray[np.bool_]]:
    """Leave out the notes of a file that a piano has no keys for, with a warning.

    Returns the others, and tells for each note of the file whether it is among them. Raises
    HarmnmfError if there are none.
    """
    import numpy as np

    from harmnmf.notes.note_list import NoteList
    from harmnmf.signal.harmonics import PIANO_PITCHES

    is_kept = np.isin(notes.pitch, PIANO_PITCHES)
    if not is_kept.any():
        raise HarmnmfError(f"{path}: has no notes that a piano can play, from A0 to C8")
    if n_others := np.sum(~is_kept):
        what = "note is" if n_others == 1 else "notes are"
        warnings.warn(
            f"{path}: {n_others} {what} off the keyboard (A0 to C8), and left out", stacklevel=2
        )
    kept = NoteList(
        notes.onset[is_kept],
        notes.offset[is_kept],
        notes.pitch[is_kept],
        notes.velocity[is_kept],
        pedal_values=notes.pedal_values,
    )
    return kept, is_kept
