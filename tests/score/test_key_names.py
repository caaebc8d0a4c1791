from __future__ import annotations

import pytest

from harmnmf import Key, ParameterError
from harmnmf.score.key_names import key_name, parse_key


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("fifths", range(-7, 8))
def test_names_of_keys_are_read_back(fifths, mode):
    key = Key(0, fifths, mode)
    assert parse_key(key_name(key)) == key


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("C", "C major"), ("a minor", "A minor"), ("Am", "A minor"), ("B flat minor", "Bb minor"),
        ("F♯ min", "F# minor"), ("e-flat maj", "Eb major"), (" bb ", "Bb major"), ("Bm", "B minor"),
    ],
)  # fmt: skip
def test_other_ways_to_write_a_key(text, name):
    assert key_name(parse_key(text)) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a key"), ("H", "is not a key"), ("C dorian", "write one as 'Eb major'"),
        ("G# major", "8 sharps; write Ab major"), ("Fb", "8 flats; write E major"),
        ("Gb minor", "9 flats; write F# minor"),
    ],
)  # fmt: skip
def test_no_keys(text, message):
    with pytest.raises(ParameterError, match=message):
        parse_key(text)
