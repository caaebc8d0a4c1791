from __future__ import annotations

import numpy as np
import pytest

from benchmarks.keyboard import (
    INTERVALS,
    PLACES,
    SPAN,
    Transcribed,
    count_keys,
    count_pairs,
    count_places,
    pairs,
    read_note,
    scales,
    ten_note_chords,
)
from harmnmf import Audio, NoteList, write_audio

RATE = 16000


def notes(*rows):
    """Notes of half a second from rows of onset and pitch."""
    onset, pitch = np.array(rows, float).reshape(-1, 2).T
    return NoteList(onset, onset + 0.5, pitch, np.full(len(rows), 64))


def test_scales_have_every_key_once():
    played = np.concatenate([scale.pitch for scale in scales()])
    assert played.tolist() == list(range(21, 109))
    assert count_keys([Transcribed(scale, scale) for scale in scales()]).sum() == 2 * 88


@pytest.mark.parametrize("semitones", INTERVALS.values())
def test_pairs_are_an_interval_apart(semitones):
    played = pairs(semitones)
    lower, upper = played.pitch[::2], played.pitch[1::2]
    assert (upper - lower == semitones).all()
    assert upper.max() <= 108
    n_pairs = len(played) // 2
    assert count_pairs([Transcribed(played, played)], semitones).tolist() == [n_pairs] * 3


def test_chords_have_ten_notes_of_two_hands():
    played = ten_note_chords()
    chords = played.pitch[np.lexsort((played.pitch, played.onset))].reshape(-1, 10)
    assert (np.diff(chords, axis=1) > 0).all()
    assert (chords[:, 4] - chords[:, 0] <= SPAN).all()
    assert (chords[:, 9] - chords[:, 5] <= SPAN).all()
    assert np.isin(chords, range(21, 109)).all()
    counts = count_places([Transcribed(played, played)], 10, 10)
    assert counts.tolist() == [[len(chords) * n for n in (1, 7, 1, 1)]] * 2


def test_extra_notes_count_for_the_key_struck_nearest_in_time():
    played, heard = notes((0, 60), (1, 61), (2, 62)), notes((0, 60), (1.2, 73), (1.9, 40))
    counts = count_keys([Transcribed(played, heard)] * 2)[:, 60:63]
    assert counts.tolist() == [[2, 2, 2], [2, 0, 0], [0, 2, 2]]


def test_places_of_small_chords():
    played = notes((0, 60), (0, 64), (1, 60), (1, 64), (1, 67), (2, 72))
    heard = notes((0, 60), (1, 60), (1, 67))
    pieces = [Transcribed(played, heard)]
    assert dict(zip(PLACES, count_places(pieces, 2, 2).T.tolist(), strict=True)) == {
        "lowest": [1, 1], "inner": [0, 0], "second highest": [0, 0], "highest": [1, 0],
    }  # fmt: skip
    assert count_places(pieces, 3, 3).tolist() == [[1, 0, 1, 1], [1, 0, 0, 1]]


def test_isolated_notes_begin_after_silence_and_fade(tmp_path):
    t = np.arange(4 * RATE) / RATE
    path = tmp_path / "069_mf.wav"
    write_audio(path, Audio(0.5 * np.sin(2 * np.pi * 440 * t), RATE))
    audio, note = read_note(path)
    assert note.pitch.tolist() == [69]
    assert note.onset[0] == pytest.approx(0.5, abs=0.001)
    assert audio.duration == pytest.approx(3.5)
    assert not audio.samples[: RATE // 2].any()
    assert abs(audio.samples[-10:]).max() < 0.001
