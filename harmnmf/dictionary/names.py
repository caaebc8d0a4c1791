"""Check the names of isolated notes against their sound."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harmnmf.errors import AudioError
from harmnmf.notes.pitch_names import pitch_name
from harmnmf.signal.harmonics import PIANO_PITCHES

from .pitch import HeardNote
from .tuning import TUNED_KEYS

__all__ = ["check_names"]

# Semitones between the pitch of a name and that of the sound. Outside these keys octaves are
# stretched, and the inharmonicity of strings varies.
_DIFFERENT, _DIFFERENT_AT_ENDS = 0.75, 1.5
_MIDDLE = range(33, 97)
# Highest key whose notes always have a pitch, at any velocity.
_HIGHEST_HEARD = 96
_N_NAMED = 3  # files in a message


def check_names(
    named: Mapping[Path, int | None], heard: Mapping[Path, HeardNote], *, fix: bool | None
) -> tuple[dict[Path, int], float]:
    """Compare the pitches in the names of the notes of one piano with those that are heard.

    Parameters
    ----------
    named : mapping
        MIDI number in the name of each file, or None.
    heard : mapping
        What is heard in each file.
    fix : bool or None
        What to do where a name is wrong: take the pitch that is heard (True), take that of the
        name (False), or raise an error (None).

    Returns
    -------
    pitches : dict
        MIDI number of each file.
    tuning : float
        Semitones, from -0.5 to 0.5, by which the piano is sharp.

    Raises
    ------
    AudioError
        If a file has no clear pitch, or a name is wrong and `fix` is None.

    Warns
    -----
    UserWarning
        If names were corrected.
    """
    shift, tuning = _common_shift(named, heard)
    pitches = {}
    for path, note in heard.items():
        name = named[path]
        if name is None:
            if not note.is_clear:
                raise AudioError(f"{path}: its pitch is not clear; name it, for example C4.wav")
            pitches[path] = round(note.pitch - tuning)
        elif fix is False:
            pitches[path] = name
        elif not note.is_clear and name <= _HIGHEST_HEARD and note.differs_from(name + shift):
            raise AudioError(
                f"{path}: does not sound like {_name(name)}, nor clearly like another note; record "
                "it again, leave it out, or pass --keep-names (fix_names=False)"
            )
        elif _is_wrong(note, name + shift + tuning):
            pitches[path] = round(note.pitch - tuning)
        else:
            pitches[path] = min(max(name + shift, 0), 127)
    wrong = [path for path, pitch in pitches.items() if named[path] not in (None, pitch)]
    if wrong:
        message = _message(wrong, named, pitches, shift)
        if not fix:
            raise AudioError(
                f"{message}; rename them, or pass --fix-names (fix_names=True) to learn them as "
                "they sound, or --keep-names (fix_names=False) as they are named"
            )
        warnings.warn(f"{message}; they are learned as they sound", stacklevel=3)
    return pitches, tuning


def _common_shift(
    named: Mapping[Path, int | None], heard: Mapping[Path, HeardNote]
) -> tuple[int, float]:
    """Semitones by which most names are too low, and the tuning, from the clear notes."""
    clear = {
        path: note.pitch
        for path, note in heard.items()
        if note.is_clear and not _is_ambiguous(note, named[path])
    }
    # The ends of the keyboard do not tell the tuning.
    middle = {path: x for path, x in clear.items() if round(x) in TUNED_KEYS}
    pitches = middle or clear
    if not pitches:
        return 0, 0.0
    differences = np.array(
        [x - (round(x) if (name := named[path]) is None else name) for path, x in pitches.items()]
    )
    counts = Counter(np.rint(differences).astype(int).tolist())
    common, n_notes = max(counts.items(), key=lambda item: (item[1], -abs(item[0])))
    if 2 * n_notes <= len(differences):
        common = 0
    near = differences[np.abs(differences - common) < _DIFFERENT]
    deviation = float(np.median(near)) if len(near) else 0.0
    if not middle:
        deviation = round(deviation) if abs(deviation) > _DIFFERENT_AT_ENDS else 0
    return round(deviation), deviation - round(deviation)


def _is_ambiguous(note: HeardNote, name: int | None) -> bool:
    """Tell whether a note sounds like another key, and like that of its name as well."""
    return (
        name is not None
        and abs(note.pitch - name) > _DIFFERENT_AT_ENDS
        and not note.differs_from(name)
    )


def _is_wrong(note: HeardNote, expected: float) -> bool:
    different = _DIFFERENT if round(expected) in _MIDDLE else _DIFFERENT_AT_ENDS
    return note.is_clear and note.differs_from(expected, different)


def _message(
    wrong: Sequence[Path],
    named: Mapping[Path, int | None],
    pitches: Mapping[Path, int],
    shift: int,
) -> str:
    """Say which names are wrong, in one line."""

    def pair(path: Path) -> str:
        name = named[path]
        assert name is not None
        return f"{_name(name)} sounds like {_name(pitches[path])}"

    if shift and len(wrong) > 1:
        c4 = ", where middle C is C4" if abs(shift) == 12 else ""
        semitones = f"{abs(shift)} semitone{'s' if abs(shift) > 1 else ''}"
        where = "below" if shift > 0 else "above"
        return (
            f"{wrong[0].parent}: the names of {len(wrong)} of {len(pitches)} notes are {semitones} "
            f"{where} the sound{c4} ({wrong[0].name}: {pair(wrong[0])})"
        )
    first, *others = wrong
    more = [f"{path.name}: {pair(path)}" for path in others[: _N_NAMED - 1]]
    if len(others) >= _N_NAMED:
        more.append(f"{len(others) - _N_NAMED + 1} more")
    return "; ".join([f"{first}: {pair(first)}", *more])


def _name(pitch: int) -> str:
    return pitch_name(pitch) if pitch in PIANO_PITCHES else f"MIDI number {pitch}"
