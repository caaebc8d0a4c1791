"""Names of keys."""

from __future__ import annotations

import re

from harmnmf.errors import ParameterError

from .score import Key

__all__ = ["key_name", "parse_key"]

_TONICS = "FCGDAEB"  # in ascending fifths
_MINOR = 3  # fifths that the key signature of a minor key is below that of its parallel major
_NAME = re.compile(
    r"(?P<tonic>[A-Ga-g])[ -]?(?P<accidental>#|♯|s|b|♭|sharp|flat)?[ -]?"
    r"(?P<mode>maj|major|m|min|minor)?"
)


def key_name(key: Key) -> str:
    """Name a key by its tonic and mode.

    Parameters
    ----------
    key : Key
        Key.

    Returns
    -------
    str
        Such as "Eb major".

    Examples
    --------
    >>> key_name(Key(0, -3)), key_name(Key(0, 6, "minor"))
    ('Eb major', 'D# minor')
    """
    tonic = key.fifths + (_MINOR if key.mode == "minor" else 0) + 1
    sharps, letter = divmod(tonic, 7)
    return f"{_TONICS[letter]}{'#' * sharps}{'b' * -sharps} {key.mode}"


def parse_key(text: str) -> Key:
    """Convert the name of a key to a key from the first bar on.

    Parameters
    ----------
    text : str
        Tonic and mode: "Eb major", "f# minor", "B flat minor", "Am"; without a mode it is major.

    Returns
    -------
    Key
        Key from bar 0 on.

    Raises
    ------
    ParameterError
        If it is no such name, or the key signature would have more than 7 sharps or flats.

    Examples
    --------
    >>> parse_key("Eb major").fifths, parse_key("F#m").fifths
    (-3, 3)
    """
    match = _NAME.fullmatch(text.strip())
    if match is None:
        raise ParameterError(f"{text!r} is not a key; write one as 'Eb major' or 'F# minor'")
    mode = "minor" if match["mode"] in ("m", "min", "minor") else "major"
    sharps = {None: 0, "b": -1, "♭": -1, "flat": -1}.get(match["accidental"], 1)
    fifths = _TONICS.index(match["tonic"].upper()) - 1 + 7 * sharps
    fifths -= _MINOR if mode == "minor" else 0
    if not -7 <= fifths <= 7:
        kind, other = ("sharps", fifths - 12) if fifths > 0 else ("flats", fifths + 12)
        raise ParameterError(
            f"{text!r} would have a key signature of {abs(fifths)} {kind}; write "
            f"{key_name(Key(0, other, mode))}"
        )
    return Key(0, fifths, mode)
