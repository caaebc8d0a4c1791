"""Names of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmnmf.errors import ParameterError
from harmnmf.score.key_names import key_name, parse_key
from harmnmf.score.score import Key


@given(st.integers(-7, 7), st.sampled_from(["major", "minor"]))
def test_parsing_a_name_gives_the_key(fifths, mode):
    key = Key(0, fifths, mode)
    assert parse_key(key_name(key)) == key


@pytest.mark.parametrize(
    ("text", "fifths", "mode"),
    [
        ("Eb major", -3, "major"),
        ("E flat minor", -6, "minor"),
        ("e-flat major", -3, "major"),
        ("c minor", -3, "minor"),
        ("F#m", 3, "minor"),
        ("C♯ min", 4, "minor"),
        ("Bb:maj", -2, "major"),
        ("B", 5, "major"),
        ("bb minor", -5, "minor"),
        ("CM", 0, "major"),
        ("-3", -3, "major"),
        ("+2", 2, "major"),
        ("3 flats", -3, "major"),
        ("1 sharp", 1, "major"),
        (" A  major ", 3, "major"),
    ],
)
def test_keys_are_parsed(text, fifths, mode):
    assert parse_key(text) == Key(0, fifths, mode)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a key"),
        ("H", "is not a key"),
        ("C dorian", "is not a key"),
        ("8", "up to 7 sharps"),
        ("9 flats", "up to 7 sharps"),
        ("c", "write 'c major' or 'c minor'"),
        ("G# major", "write 'Ab major'"),
        ("Db minor", "write 'C# minor'"),
    ],
)
def test_other_text_is_refused(text, message):
    with pytest.raises(ParameterError, match=message):
        parse_key(text)
