"""Write scores, with their performances, to JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harmnmf.score.bars import TICKS
from harmnmf.score.score import Performance, Score
from harmnmf.storage.files import atomic_path

from .notation import spelled_pitch

__all__ = ["write_score_json"]

_FORMAT = "harmnmf-score"
_VERSION = 1


def write_score_json(path: str | Path, score: Score) -> None:
    """Write all of a score, and of the performance it was found in, to a JSON file.

    The file holds one object:

    - ``format`` is ``"harmnmf-score"`` and ``version`` is 1; ``title`` is the title, and
      ``ticks_per_quarter`` the unit of positions and durations.
    - ``bars``: a list of objects with ``number`` (0 for a pickup), ``position`` and ``duration`` in
      ticks, and ``time_signature``, such as ``"3/4"``.
    - ``keys``: objects with ``bar``, the index in ``bars`` from which the key signature holds,
      ``fifths``, its sharps or negative flats, and ``mode``.
    - ``notes``: objects with ``position`` and ``duration`` in ticks, ``pitch`` as a MIDI number,
      its spelled ``name`` (``C#4``, ``Bb3``) and place on the line of ``fifths``, ``staff`` (1 for
      the right hand), ``voice`` and ``ornament`` (empty, or ``"grace"``, ``"arpeggio"`` or
      ``"trill"``).

    If there is a performance, then also:

    - ``beats``: objects with ``position`` in ticks, ``time`` in seconds, and ``downbeat``, whether
      a bar begins there.
    - ``played``: objects with ``onset`` and ``offset`` (the release of the key) in seconds,
      ``pitch``, ``velocity``, and ``note``, the index in ``notes`` of what was written for it.
    - ``pedal``: objects with ``time`` in seconds and ``value``, the position of the sustain pedal
      from then on, from 0 to 127.

    Times are rounded to a microsecond.

    Parameters
    ----------
    path : str or Path
        File to write or replace.
    score : Score
        Score.

    Raises
    ------
    HarmnmfError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from harmnmf.score.bars import Bars
    >>> from harmnmf.score.score import Key, ScoreNotes
    >>> columns = [np.array([value]) for value in (0, 1920, 61, 1, 1, -5)]
    >>> notes = ScoreNotes(*columns, ornament=np.array([""]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_score_json(Path(folder, "a.json"), Score(notes, Bars([[4, 4]]), (Key(0, 0),)))
    ...     content = json.loads(Path(folder, "a.json").read_text(encoding="utf-8"))
    >>> content["notes"][0]["name"], content["bars"][0]["time_signature"]
    ('Db4', '4/4')
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "title": score.title,
        "ticks_per_quarter": TICKS,
        "bars": _bars(score),
        "keys": [vars(key) for key in score.keys],
        "notes": _notes(score),
        **({} if score.performance is None else _performance(score.performance)),
    }
    text = json.dumps(content, indent=1)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _bars(score: Score) -> list[dict[str, Any]]:
    starts = score.bars.starts.tolist()
    return [
        {
            "number": index + (not score.bars.pickup),
            "position": starts[index],
            "duration": starts[index + 1] - starts[index],
            "time_signature": f"{upper}/{lower}",
        }
        for index, (upper, lower) in enumerate(score.bars.time_signatures.tolist())
    ]


def _notes(score: Score) -> list[dict[str, Any]]:
    columns = [column.tolist() for column in vars(score.notes).values()]
    return [
        {
            "position": onset,
            "duration": duration,
            "pitch": pitch,
            "name": _name(pitch, fifths),
            "fifths": fifths,
            "staff": staff,
            "voice": voice,
            "ornament": ornament,
        }
        for onset, duration, pitch, staff, voice, fifths, ornament in zip(*columns, strict=True)
    ]


def _name(pitch: int, fifths: int) -> str:
    step, sharps, octave = spelled_pitch(pitch, fifths)
    return f"{step}{'#' * sharps}{'b' * -sharps}{octave}"


def _performance(performance: Performance) -> dict[str, Any]:
    notes, grid = performance.notes, performance.grid
    beats = zip(
        grid.bars.beats().tolist(), grid.time.tolist(), grid.bars.downbeats().tolist(), strict=True
    )
    played = zip(
        *(notes.onset.tolist(), notes.offset.tolist(), notes.pitch.tolist()),
        *(notes.velocity.tolist(), performance.written.tolist()),
        strict=True,
    )
    return {
        "beats": [
            {"position": position, "time": round(time, 6), "downbeat": downbeat}
            for position, time, downbeat in beats
        ],
        "played": [
            {
                "onset": round(onset, 6),
                "offset": round(offset, 6),
                "pitch": pitch,
                "velocity": velocity,
                "note": note,
            }
            for onset, offset, pitch, velocity, note in played
        ],
        "pedal": [
            {"time": round(time, 6), "value": int(value)}
            for time, value in notes.pedal_values.tolist()
        ],
    }
