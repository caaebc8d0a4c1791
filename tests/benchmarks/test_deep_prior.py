from __future__ import annotations

import numpy as np
import pytest

from benchmarks.deep_prior import loudest, sounds, summarise
from harmnmf import Audio, write_audio


def test_sounds_are_the_loudest_parts_at_the_given_snr(tmp_path):
    rng = np.random.default_rng(0)
    for i, path in enumerate(
        [
            "speech/voicebank_demand_dev/clean/a.wav",
            "speech/voicebank_demand_dev/noisy/a.wav",
            "speech/clean/12/a.ogg",
            "piano/real/ENSTDkCl/a.flac",
        ]
    ):
        samples = rng.normal(0, 0.1, 16000) * np.linspace(0, 1, 16000) * (1 + i)
        (tmp_path / path).parent.mkdir(parents=True)
        write_audio(tmp_path / path, Audio(samples, 16000))
    found = list(sounds(tmp_path, 0.25, n_pairs=1, n_clean=1))
    groups = ["speech, white noise at 0 dB", "speech, white noise at 10 dB"]
    groups += [group.replace("speech", "piano") for group in groups]
    assert [sound.group for sound in found] == ["VoiceBank+DEMAND", *groups]
    for sound, snr in zip(found[1:], (0, 10, 0, 10), strict=True):
        energy = np.mean(sound.clean**2) / np.mean((sound.noisy - sound.clean) ** 2)
        assert 10 * np.log10(energy) == pytest.approx(snr, abs=1e-3)
    assert all(len(sound.clean) == 4000 for sound in found)
    assert loudest(np.r_[np.zeros(9000), np.ones(9000)], 0.5) == slice(9000, 17000)


def test_the_best_step_is_that_of_the_highest_mean():
    pieces = [
        {"SI-SDR": [0.0, 1.0, 9.0, *[2.0] * 7], "WB-PESQ": []},
        {"SI-SDR": [4.0] * 10, "WB-PESQ": []},
    ]
    [row] = summarise({"piano": {"plain": pieces}})
    assert row == ["piano", "plain", "2", "2.00", "3.00", "6.50", "100", *[""] * 4]
