"""Read notes together with the tracks of a MIDI file that they are in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import FormatError

from .files import read_file, read_notes
from .midi import PlayedNotes, played_notes
from .midi_events import TRACK_NAME, MidiEvents, read_events
from .note_list import NoteList
from .suffixes import MIDI_SUFFIXES

__all__ = ["TrackNotes", "read_tracks"]


class TrackNotes(NamedTuple):
    """Notes and their tracks.

    Parameters
    ----------
    notes : NoteList
        Notes and pedal.
    track : ndarray of int, shape (n_notes,)
        Index in `names` of the track of each note.
    names : tuple of str
        Name of each track that has notes, in the order of the file; "" if it has none.
    """

    notes: NoteList
    track: NDArray[np.int64]
    names: tuple[str, ...]


def read_tracks(path: str | Path) -> TrackNotes:
    """Read notes, with key offsets, and the tracks that they are in.

    If a single track of a MIDI file has all notes, as in files of type 0, and they are on several
    channels, each channel counts as a track: ``Channel 1``. A table of notes, or events, are one
    track without a name.

    Parameters
    ----------
    path : str or Path
        MIDI file, table or events, as in :func:`harmnmf.notes.files.read_notes`.

    Returns
    -------
    TrackNotes
        The notes of ``read_notes(path, offset="key")``, in the same order, with their tracks.

    Raises
    ------
    FormatError
        As in `read_notes`.

    Warns
    -----
    UserWarning
        As in `read_notes`.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import write_midi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_midi(Path(folder, "song.mid"), NoteList([0.5], [1.0], [60], [70]))
    ...     read_tracks(Path(folder, "song.mid")).names
    ('',)
    """
    path = Path(path)
    if path.suffix.lower() not in MIDI_SUFFIXES:
        notes = read_notes(path, offset="key")
        return TrackNotes(notes, np.zeros(len(notes), np.int64), ("",) if len(notes) else ())
    try:
        midi = read_events(read_file(path))
        played = played_notes(midi)
    except ValueError as error:
        raise FormatError(f"{path}: cannot be read as MIDI ({error})") from error
    if played.remarks:
        warnings.warn(f"{path}: {'; '.join(played.remarks)}", stacklevel=2)
    return _tracks(midi, played)


def _tracks(midi: MidiEvents, played: PlayedNotes) -> TrackNotes:
    tracks, index = np.unique(played.track, return_inverse=True)
    channels, of_channel = np.unique(played.channel, return_inverse=True)
    if len(tracks) == 1 and len(channels) > 1:
        names = [f"Channel {channel + 1}" for channel in channels.tolist()]
        return TrackNotes(played.notes, of_channel, tuple(names))
    # Reversed, so that the first name of a track counts.
    names_of = {e.track: _text(e.content) for e in reversed(midi.meta) if e.kind == TRACK_NAME}
    found = tuple(names_of.get(track, "") for track in tracks.tolist())
    return TrackNotes(played.notes, index, found)


def _text(content: bytes) -> str:
    """Decode a name: in UTF-8, or else in Latin-1, which older programs write."""
    try:
        return content.decode().strip("\0 ")
    except UnicodeDecodeError:
        return content.decode("latin-1").strip("\0 ")
