"""One piece of music in unusual files: all that FFmpeg decodes is read, and the notes are heard."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from benchmarks.unusual_audio import SECONDS, music, recordings, reference
from benchmarks.unusual_recordings import RATE, decode, delays, expected, probe, score
from harmnmf import read_audio

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files are written while they are open")

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDINGS = list(recordings())
UNHARMED = "24 bits.wav"


def test_names_are_different():
    assert len({Path(recording.name).stem for recording in RECORDINGS}) == len(RECORDINGS) >= 50


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_all_that_ffmpeg_decodes_is_read(recording, tmp_path):
    path = tmp_path / recording.name
    recording.make(path)
    with warnings.catch_warnings(record=True) as caught:
        audio = read_audio(path, mono=False)
    samples, seconds = decode(path)
    assert audio.duration == pytest.approx(seconds, abs=0.05)
    assert len(samples) / RATE == pytest.approx(seconds, abs=0.05)
    # What is missing is said, and nothing is said without a reason.
    said = [str(warning.message) for warning in caught]
    assert len(said) == (not recording.is_whole), said
    assert all(message.startswith(f"{path}: is ") for message in said)


def test_delays_are_found():
    onset, sound = 2.0, music(RATE)[0]
    first, second = np.split(sound, 2)
    samples = np.concatenate([np.zeros(round(2.03 * RATE)), first, np.zeros(320), second])
    np.testing.assert_allclose(delays(samples, onset), [0.03, 0.05], atol=1e-3)
    assert delays(samples[: round(onset * RATE)], onset) == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notes_are_those_of_an_unharmed_file(tmp_path):
    paths = [tmp_path / recording.name for recording in RECORDINGS]
    for recording, path in zip(RECORDINGS, paths, strict=True):
        recording.make(path)
    scores = {
        recording.name: score(recording, expected(recording, *decode(path)), found)
        for recording, path, found in zip(RECORDINGS, paths, probe(paths, ROOT), strict=True)
    }
    assert len(reference().slice(0, SECONDS)) > 50
    assert None not in scores.values()
    worse = {
        recording.name: scores[recording.name]
        for recording in RECORDINGS
        if recording.is_whole
        and recording.is_clean
        and scores[recording.name] < scores[UNHARMED] - 0.01
    }
    assert not worse
