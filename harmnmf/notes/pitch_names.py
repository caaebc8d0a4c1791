"""Names of pitches: C4 is MIDI number 60, middle C, as in MIDI files and on most pianos' labels."""

from __future__ import annotations

import operator
import re
from os import PathLike
from pathlib import Path

from harmnmf.errors import AudioError, ParameterError

__all__ = ["parse_pitch", "pitch_from_name", "pitch_name"]

_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1}
_NOTE = r"([A-Ga-g])([#♯sb♭]?)(-?\d)"


def pitch_name(pitch: int) -> str:
    """Name a pitch.

    Parameters
    ----------
    pitch : int
        MIDI number.

    Returns
    -------
    str
        Letter, sharp and octave.

    Examples
    --------
    >>> [pitch_name(pitch) for pitch in (21, 60, 61)]
    ['A0', 'C4', 'C#4']
    """
    octave, step = divmod(operator.index(pitch), 12)
    return f"{_NAMES[step]}{octave - 1}"


def parse_pitch(text: str) -> int:
    """Read a pitch that is written as a name or as a MIDI number.

    Parameters
    ----------
    text : str
        ``C4``, ``Bb3``, ``F#5`` or ``Fs5``, in either case; or a number from 0 to 127.

    Returns
    -------
    int
        MIDI number.

    Raises
    ------
    ParameterError
        If the text is neither, or the pitch is not one of MIDI.

    Examples
    --------
    >>> parse_pitch("Bb3"), parse_pitch("60")
    (58, 60)
    """
    match = re.fullmatch(_NOTE, text.strip())
    if match:
        pitch = _pitch(*match.groups())
    else:
        pitch = int(text) if re.fullmatch(r"\s*\d{1,3}\s*", text) else -1
    if not 0 <= pitch <= 127:
        raise ParameterError(
            f"{text!r} is not a pitch; write a note's name (C4, F#5, Bb3) or a MIDI number (60)"
        )
    return pitch


def pitch_from_name(path: str | PathLike[str]) -> int:
    """Tell the pitch of a recorded note from the name of its file.

    Parameters
    ----------
    path : path-like
        The name, without its suffix, begins with a MIDI number from 0 to 127 (``060_loud.wav``)
        or holds a note's name (``Piano.ff.Bb3.wav``; C4 is 60, sharps are # or s; of several
        names the last).

    Returns
    -------
    int
        MIDI number.

    Raises
    ------
    AudioError
        If the name tells no pitch, or two (``01_C4.wav``).

    Examples
    --------
    >>> [pitch_from_name(name) for name in ("060_loud.wav", "Piano.ff.Bb3.aiff", "Cs4.flac")]
    [60, 58, 61]
    """
    stem = Path(path).stem
    number = re.match(r"\d{1,3}(?!\d)", stem)
    notes = re.findall(rf"(?<![A-Za-z]){_NOTE}(?!\d)", stem)
    told = {int(number[0])} if number else set()
    told |= {_pitch(*note) for note in notes[-1:]}
    told = {pitch for pitch in told if 0 <= pitch <= 127}
    if len(told) == 1:
        return told.pop()
    found = f"two pitches ({min(told)} and {max(told)})" if told else "no pitch"
    raise AudioError(
        f"{path}: its name tells {found}; begin it with the MIDI number (060_loud.wav) "
        "or include the note's name (C4.wav)"
    )


def _pitch(letter: str, accidental: str, octave: str) -> int:
    return 12 * (int(octave) + 1) + _NAMES.index(letter.upper()) + _ACCIDENTALS[accidental]
