"""Write notes to JSON, with what is known about their recording."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harmnmf.errors import ParameterError
from harmnmf.storage.files import atomic_path

from .note_list import NoteList
from .pitch_names import pitch_name

__all__ = ["write_json"]


def write_json(
    path: str | Path, notes: NoteList, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write notes, the sustain pedal and metadata to a JSON file.

    The file holds one object: the metadata; ``notes``, a list of objects with ``onset`` and
    ``offset`` in seconds, ``pitch`` as a MIDI number, its ``name``, and ``velocity`` from 1 to 127;
    and ``pedal``, a list of objects with ``onset`` and ``offset`` in seconds. Times are rounded to
    a microsecond.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    notes : NoteList
        Notes.
    metadata : mapping, optional
        JSON values by their names, such as ``{"source": "song.wav"}``.

    Raises
    ------
    HarmnmfError
        If the file cannot be written.
    ParameterError
        If the metadata cannot be written as JSON, or has one of the names above.

    Examples
    --------
    >>> import tempfile
    >>> notes = NoteList([0.5], [1.0], [60], [70], pedal=[[0.4, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder, "song.json"), notes, {"source": "song.wav"})
    ...     content = json.loads(Path(folder, "song.json").read_text())
    >>> content["source"], content["notes"]
    ('song.wav', [{'onset': 0.5, 'offset': 1.0, 'pitch': 60, 'name': 'C4', 'velocity': 70}])
    >>> content["pedal"]
    [{'onset': 0.4, 'offset': 2.0}]
    """
    metadata = dict(metadata or {})
    content = {
        "notes": [
            {
                **_interval(onset, offset),
                "pitch": int(pitch),
                "name": pitch_name(int(pitch)),
                "velocity": int(velocity),
            }
            for onset, offset, pitch, velocity in zip(
                notes.onset, notes.offset, notes.pitch, notes.velocity, strict=True
            )
        ],
        "pedal": [_interval(*interval) for interval in notes.pedal],
    }
    if taken := metadata.keys() & content.keys():
        raise ParameterError(f"metadata may not have the name {sorted(taken)[0]!r}")
    try:
        text = json.dumps({**metadata, **content}, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"the metadata cannot be written as JSON ({error})") from error
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _interval(onset: float, offset: float) -> dict[str, float]:
    return {"onset": float(np.round(onset, 6)), "offset": float(np.round(offset, 6))}
