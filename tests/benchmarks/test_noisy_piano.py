from __future__ import annotations

import numpy as np
import pytest

from benchmarks.noisy_piano import recorded_noise, white_noise, with_noise
from harmnmf import Audio, NoteList, write_audio

NOTES = NoteList([0.1], [0.5], [60], [80])


def test_noise_is_added_ten_decibels_below_before_enhancement():
    sound = Audio(np.random.default_rng(1).normal(0, 0.1, 16000), 16000)
    noisy, notes = with_noise(white_noise())(sound, NOTES)
    added = noisy.samples - sound.samples
    ratio = 10 * np.log10(np.mean(sound.samples**2) / np.mean(added**2))
    assert ratio == pytest.approx(10, abs=0.01)
    assert notes is NOTES
    enhanced, _ = with_noise(white_noise(), lambda x: Audio(0.5 * x.samples, 16000))(sound, NOTES)
    np.testing.assert_allclose(enhanced.samples, 0.5 * noisy.samples)


def test_recorded_noise_is_one_file_after_another_and_repeats(tmp_path):
    for i, level in enumerate((0.1, 0.2)):
        write_audio(tmp_path / f"{i}.wav", Audio(np.full(50, level), 16000))
    noise = recorded_noise(sorted(tmp_path.iterdir()), 16000)
    np.testing.assert_allclose(noise(120), 0.1, atol=1e-4)
    np.testing.assert_allclose(noise(30), 0.2, atol=1e-4)
