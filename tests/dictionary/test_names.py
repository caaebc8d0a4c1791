from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harmnmf import AudioError
from harmnmf.dictionary.names import check_names
from harmnmf.dictionary.pitch import HeardNote

KEYS = (24, 36, 48, 60, 72, 84, 105)
GRID = np.arange(210, 1100) / 10


def sound(pitch, *, share=0.9, height=1.5):
    """Notes that sound at a pitch, as they are heard."""
    saliences = np.where(np.abs(GRID - pitch) < 0.3, height, 0.1)
    return HeardNote(pitch, share, GRID, saliences)


def folder(pitches, names=None):
    names = KEYS if names is None else names
    paths = [Path("piano", f"{n}.wav") for n in range(len(pitches))]
    heard = {path: sound(pitch) for path, pitch in zip(paths, pitches, strict=True)}
    return dict(zip(paths, names, strict=True)), heard


@pytest.mark.parametrize("tuning", [-0.45, 0.0, 0.4])
def test_names_that_fit_and_the_tuning(tuning):
    # Octaves are stretched.
    named, heard = folder([key + tuning + (key - 60) / 60 for key in KEYS])
    pitches, measured = check_names(named, heard, fix=None)
    assert list(pitches.values()) == list(KEYS)
    assert measured == pytest.approx(tuning, abs=0.01)


@pytest.mark.parametrize("shift", [-24, -12, -1, 1, 12, 20])
def test_all_names_off_by_the_same(shift):
    named, heard = folder([key + 0.1 for key in KEYS], [key - shift for key in KEYS])
    where = "below" if shift > 0 else "above"
    with pytest.raises(AudioError, match=rf"^piano: .* 7 of 7 notes are {abs(shift)} .* {where}"):
        check_names(named, heard, fix=None)
    with pytest.warns(UserWarning, match="as they sound"):
        pitches, tuning = check_names(named, heard, fix=True)
    assert list(pitches.values()) == list(KEYS)
    assert tuning == pytest.approx(0.1)


def test_one_wrong_name_among_others():
    named, heard = folder(KEYS, [24, 36, 48, 72, 72, 84, 105])
    with pytest.raises(AudioError, match=r"piano/3\.wav: C5 sounds like C4; rename .*--fix-names"):
        check_names(named, heard, fix=None)
    with pytest.warns(UserWarning, match=r"3\.wav: C5 sounds like C4"):
        assert list(check_names(named, heard, fix=True)[0].values()) == list(KEYS)
    kept, tuning = check_names(named, heard, fix=False)
    assert (list(kept.values()), tuning) == ([24, 36, 48, 72, 72, 84, 105], 0)


def test_many_wrong_names_are_counted():
    named, heard = folder(KEYS, [24, 36, 48, 67, 63, 74, 65])
    with pytest.raises(AudioError, match="; 1 more; rename") as error:
        check_names(named, heard, fix=None)
    assert str(error.value).count("sounds like") == 3


def test_files_without_names_take_the_pitch_of_a_piano_in_tune():
    named, heard = folder([key + 0.45 for key in KEYS], [24, 36, None, 60, 72, 84, None])
    pitches, _ = check_names(named, heard, fix=True)
    assert list(pitches.values()) == list(KEYS)


def test_a_pitch_of_similar_salience_is_not_wrong():
    path = Path("060.wav")
    note = sound(48)
    note.saliences[np.abs(GRID - 60) < 0.3] = 1.3
    assert check_names({path: 60}, {path: note}, fix=None)[0] == {path: 60}


@pytest.mark.parametrize("key", [21, 24, 105, 108])
def test_the_ends_of_the_keyboard_alone_do_not_tell_the_tuning(key):
    path = Path("note.wav")
    assert check_names({path: key}, {path: sound(key + 0.9)}, fix=None) == ({path: key}, 0)


def test_sounds_without_a_clear_pitch():
    path = Path("060.wav")
    heard = {path: sound(80.0, share=0.1, height=0.4)}
    with pytest.raises(AudioError, match=r"060\.wav: does not sound like C4"):
        check_names({path: 60}, heard, fix=True)
    with pytest.raises(AudioError, match=r"060\.wav: its pitch is not clear"):
        check_names({path: None}, heard, fix=True)
    assert check_names({path: 60}, heard, fix=False)[0] == {path: 60}
    # The highest notes are short and soft.
    assert check_names({path: 106}, heard, fix=None)[0] == {path: 106}
