"""Pitch names in scientific notation: middle C is C4, MIDI number 60."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

import pretty_midi

from harmnmf.errors import AudioError, ParameterError

__all__ = ["parse_pitch", "pitch_from_name", "pitch_name"]

_NAME = r"[A-Ga-g][#♯sb♭]?-?\d"
_ACCIDENTALS = str.maketrans("♯s♭", "##b")


def pitch_name(pitch: int) -> str:
    """Convert a MIDI number to a pitch name, with sharps.

    Parameters
    ----------
    pitch : int
        MIDI number.

    Returns
    -------
    str
        Pitch name, such as ``C#4``.

    Examples
    --------
    >>> [pitch_name(pitch) for pitch in (21, 60, 61)]
    ['A0', 'C4', 'C#4']
    """
    return str(pretty_midi.note_number_to_name(pitch))


def parse_pitch(text: str) -> int:
    """Convert a pitch name or a MIDI number in text to a MIDI number.

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
        If the text is neither, or the pitch is out of the MIDI range.

    Examples
    --------
    >>> parse_pitch("Bb3"), parse_pitch("60")
    (58, 60)
    """
    name = text.strip()
    pitch = -1
    if re.fullmatch(_NAME, name):
        pitch = _midi_number(name)
    elif re.fullmatch(r"\d{1,3}", name):
        pitch = int(name)
    if not 0 <= pitch <= 127:
        raise ParameterError(
            f"{text!r} is not a pitch; write a note's name (C4, F#5, Bb3) or a MIDI number (60)"
        )
    return pitch


def pitch_from_name(path: str | PathLike[str]) -> int:
    """Infer the pitch of a recorded note from its file name.

    Parameters
    ----------
    path : path-like
        The file name, without suffix, begins with a MIDI number from 0 to 127 (``060_loud.wav``)
        or contains a pitch name (``Piano.ff.Bb3.wav``; C4 is 60, sharps are # or s; the last name
        counts).

    Returns
    -------
    int
        MIDI number.

    Raises
    ------
    AudioError
        If the file name contains no pitch, or two that differ (``01_C4.wav``).

    Examples
    --------
    >>> [pitch_from_name(name) for name in ("060_loud.wav", "Piano.ff.Bb3.aiff", "Cs4.flac")]
    [60, 58, 61]
    """
    stem = Path(path).stem
    number = re.match(r"\d{1,3}(?!\d)", stem)
    names = re.findall(rf"(?<![A-Za-z]){_NAME}(?!\d)", stem)
    pitches = {int(number[0])} if number else set()
    pitches |= {_midi_number(name) for name in names[-1:]}
    pitches = {pitch for pitch in pitches if 0 <= pitch <= 127}
    if len(pitches) == 1:
        return pitches.pop()
    found = f"two pitches ({min(pitches)} and {max(pitches)})" if pitches else "no pitch"
    raise AudioError(
        f"{path}: its name has {found}; begin it with the MIDI number (060_loud.wav) "
        "or include the note's name (C4.wav)"
    )


def _midi_number(name: str) -> int:
    return int(pretty_midi.note_name_to_number(name.translate(_ACCIDENTALS)))
