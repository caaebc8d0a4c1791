"""Sounds of single notes, and their cache."""

from dataclasses import replace

import numpy as np
import pytest

from harmnmf import (
    Audio,
    AudioError,
    FormatError,
    HarmnmfError,
    NoteList,
    NoteSounds,
    Separator,
    TimbreDictionary,
    write_audio,
)

# The notes are not those of all these sounds.
pytestmark = pytest.mark.filterwarnings("ignore:.*the notes may be those of another")
RATE = 16000


@pytest.fixture(scope="module")
def dictionary():
    return TimbreDictionary.load("default")


@pytest.fixture
def notes():
    return NoteList([0.2, 0.6, 0.6], [0.6, 1.2, 1.4], [57, 64, 76], [80, 80, 80])


@pytest.fixture
def recording(tmp_path, notes):
    samples = np.zeros((2, 2 * RATE), np.float32)
    t = np.arange(RATE) / RATE
    for number, (onset, hz) in enumerate(zip(notes.onset, notes.hz, strict=True)):
        start = round(onset * RATE)
        tone = np.exp(-3 * t) * np.sin(2 * np.pi * hz * t)
        samples[number % 2, start : start + RATE] += 0.2 * tone
    path = tmp_path / "song.flac"
    write_audio(path, Audio(samples, RATE))
    return path


def test_notes_are_those_of_the_separator(recording, notes, dictionary):
    sounds = NoteSounds(recording, notes, dictionary=dictionary)
    separation = Separator(dictionary).prepare(recording, notes)
    assert len(sounds) == 3
    for index in range(3):
        start, sound = separation.note(index)
        assert sounds.with_start(index)[0] == start <= notes.onset[index]
        np.testing.assert_array_equal(sounds[index].samples, sound.samples)
    np.testing.assert_array_equal(sounds[-1].samples, sounds[2].samples)
    with pytest.raises(IndexError):
        sounds[3]


def test_the_cache_gives_the_same_notes_without_analysing(recording, notes, dictionary, tmp_path):
    analysed = []
    options = {"cache": tmp_path / "song.sounds", "dictionary": dictionary}
    first = NoteSounds(recording, notes, progress=analysed.append, **options)
    assert analysed
    second = NoteSounds(recording, notes, progress=pytest.fail, **options)
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before.samples, after.samples)


@pytest.mark.parametrize("changed", ["notes", "recording", "adapt"])
def test_what_has_changed_is_analysed_again(changed, recording, notes, dictionary, tmp_path):
    options = {"cache": tmp_path / "song.sounds", "dictionary": dictionary}
    NoteSounds(recording, notes, **options)
    if changed == "notes":
        notes = NoteList(notes.onset, notes.offset, notes.pitch + 1, notes.velocity)
    elif changed == "recording":
        write_audio(recording, Audio(np.full((1, RATE), 0.1, np.float32), RATE))
    else:
        options["adapt"] = False
    expected = NoteSounds(recording, notes, **{**options, "cache": None})
    for found, sound in zip(NoteSounds(recording, notes, **options), expected, strict=True):
        np.testing.assert_array_equal(found.samples, sound.samples)


def test_samples_in_memory_are_told_apart(notes, dictionary, tmp_path):
    options = {"cache": tmp_path / "song.sounds", "dictionary": dictionary}
    rng = np.random.default_rng(0)
    for _ in range(2):
        audio = Audio(0.1 * rng.standard_normal(2 * RATE), RATE)
        cached = NoteSounds(audio, notes, **options)[0]
        alone = NoteSounds(audio, notes, dictionary=dictionary)[0]
        np.testing.assert_array_equal(cached.samples, alone.samples)


def test_another_file_is_not_replaced(recording, notes, dictionary, tmp_path):
    other = tmp_path / "piano.safetensors"
    dictionary.save(other)
    before = other.read_bytes()
    with pytest.raises(FormatError, match="note-sounds is needed"):
        NoteSounds(recording, notes, cache=other, dictionary=dictionary)
    assert other.read_bytes() == before


def test_files_that_cannot_be(recording, notes, dictionary, tmp_path):
    """Errors name the file, and come before the analysis; a missing folder is made."""
    cache = tmp_path / "new" / "song.sounds"
    with pytest.raises(AudioError, match=r"none\.wav"):
        NoteSounds(tmp_path / "none.wav", notes, cache=cache, dictionary=dictionary)
    options = {"dictionary": dictionary, "progress": pytest.fail}
    with pytest.raises(HarmnmfError, match=r"song\.flac: is a file"):
        NoteSounds(recording, notes, cache=recording / "song.sounds", **options)
    NoteSounds(recording, notes, cache=cache, dictionary=dictionary)
    assert cache.exists()


def test_another_dictionary_is_another_analysis(recording, notes, dictionary, tmp_path):
    """Even if only the tuning of its keys differs."""
    cache = tmp_path / "song.sounds"
    NoteSounds(recording, notes, cache=cache, dictionary=dictionary)
    sharper = replace(dictionary, tuning=np.linspace(0, 0.3, len(dictionary.pitches)))
    analysed = []
    NoteSounds(recording, notes, cache=cache, dictionary=sharper, progress=analysed.append)
    assert analysed
