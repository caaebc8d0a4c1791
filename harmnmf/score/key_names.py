"""Names of keys, such as "Eb major" and "F# minor"."""

from __future__ import annotations

import re

from harmnmf.errors import ParameterError

from .score import Key

__all__ = ["key_name", "parse_key"]

_LETTERS = "FCGDAEB"  # the line of fifths; F is at -1
_MINOR = 3  # a minor key has the signature of the major key three fifths flatter
_NAME = re.compile(
    r"([A-Ga-g])[ -]?(#|♯|sharp|b|♭|flat)?[ :-]?(major|maj|minor|min|m)?", re.IGNORECASE
)
_SIGNATURE = re.compile(r"([+-]?\d+)|(\d+) ?(sharps?|flats?|#|♯|b|♭)", re.IGNORECASE)
_HELP = "write a name ('Eb major', 'F# minor', 'Am') or a number of sharps, negative for flats (-3)"


def key_name(key: Key) -> str:
    """Name a key, as :func:`parse_key` reads it.

    Parameters
    ----------
    key : Key
        Key.

    Returns
    -------
    str
        Tonic and mode, such as ``Eb major``.

    Examples
    --------
    >>> key_name(Key(bar=0, fifths=-3)), key_name(Key(bar=0, fifths=3, mode="minor"))
    ('Eb major', 'F# minor')
    """
    place = key.fifths + (_MINOR if key.mode == "minor" else 0) + 1
    accidentals = place // 7
    return f"{_LETTERS[place % 7]}{'#' * accidentals}{'b' * -accidentals} {key.mode}"


def parse_key(text: str) -> Key:
    """Convert the name of a key, or of a key signature, to a key from the first bar on.

    Parameters
    ----------
    text : str
        Tonic and mode (``Eb major``, ``c minor``, ``F#m``, ``B flat minor``, ``Ab``), or the key
        signature as a number of sharps, negative for flats (``-3``, ``2 sharps``), which is taken
        for a major key.

    Returns
    -------
    Key
        Key of bar 0.

    Raises
    ------
    ParameterError
        If the text is neither, the mode of a small letter is not told (``c``), or the key has more
        than seven sharps or flats.

    Examples
    --------
    >>> parse_key("c minor")
    Key(bar=0, fifths=-3, mode='minor')
    >>> parse_key("2 sharps").fifths, parse_key("Bb").fifths
    (2, -2)
    """
    name = " ".join(text.split())
    if match := _SIGNATURE.fullmatch(name):
        fifths = int(match[1] or match[2]) * (-1 if (match[3] or "#")[0] in "fFbB♭" else 1)
        if abs(fifths) > 7:
            raise ParameterError(f"key {text!r}: a signature has up to 7 sharps or flats; {_HELP}")
        return Key(0, fifths)
    match = _NAME.fullmatch(name)
    if not match:
        raise ParameterError(f"{text!r} is not a key; {_HELP}")
    letter, accidental, mode = match.groups()
    if mode is None and letter.islower():
        raise ParameterError(
            f"key {text!r} may be major or minor; write '{text} major' or '{text} minor'"
        )
    # "M" alone is major, "m" minor.
    is_minor = mode is not None and (mode == "m" or mode.lower().startswith("mi"))
    shift = {"#": 7, "♯": 7, "s": 7, "b": -7, "♭": -7, "f": -7}[(accidental or "#").lower()[0]]
    fifths = _LETTERS.index(letter.upper()) - 1 + (shift if accidental else 0)
    fifths -= _MINOR if is_minor else 0
    mode = "minor" if is_minor else "major"
    if abs(fifths) > 7:
        other = key_name(Key(0, fifths - 12 if fifths > 0 else fifths + 12, mode))
        raise ParameterError(f"key {text!r} needs more than 7 sharps or flats; write {other!r}")
    return Key(0, fifths, mode)
