from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import deep_prior
from harmnmf import Audio, write_audio
from harmnmf.enhancement import DeepPrior


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for n, (folder, suffix) in enumerate(
        [
            ("speech/voicebank_demand_dev/clean", "wav"),
            ("speech/voicebank_demand_dev/noisy", "wav"),
            ("speech/clean/12", "ogg"),
            ("piano/real/ENSTDkCl", "flac"),
        ]
    ):
        (tmp_path / folder).mkdir(parents=True)
        samples = rng.normal(0, 0.1, 16000) * np.linspace(0, 1, 16000) * (1 + n)
        write_audio(tmp_path / folder / f"a.{suffix}", Audio(samples, 16000))
    return tmp_path


def test_sounds_are_the_loudest_parts_with_noise_as_loud_as_asked(data, monkeypatch):
    monkeypatch.setattr(deep_prior, "N_PAIRS", 1)
    monkeypatch.setattr(deep_prior, "N_CLEAN", 1)
    sounds = list(deep_prior.sounds(data, 0.25))
    groups = ["speech, white noise at 0 dB", "speech, white noise at 10 dB"]
    groups += [group.replace("speech", "piano") for group in groups]
    assert [sound.group for sound in sounds] == ["VoiceBank+DEMAND", *groups]
    for sound, snr in zip(sounds[1:], (0, 10, 0, 10), strict=True):
        energy = np.mean(sound.clean**2) / np.mean((sound.noisy - sound.clean) ** 2)
        assert 10 * np.log10(energy) == pytest.approx(snr, abs=1e-3)
    assert all(len(sound.clean) == 4000 for sound in sounds)
    assert deep_prior.loudest(np.r_[np.zeros(9000), np.ones(9000)], 0.5) == slice(9000, 17000)


def test_all_is_measured_once(data, monkeypatch, tmp_path):
    monkeypatch.setattr(deep_prior, "N_PAIRS", 1)
    monkeypatch.setattr(deep_prior, "N_CLEAN", 1)
    monkeypatch.setattr(deep_prior, "STEPS", (0, 1, 2))
    monkeypatch.setattr(deep_prior, "DeepPrior", partial(DeepPrior, n_channels=(2,)))
    monkeypatch.setattr(deep_prior, "wb_pesq", lambda *_: 2.0)
    monkeypatch.setattr(deep_prior.torch, "set_num_threads", lambda n: None)
    arguments = ["--data", data, "--run", tmp_path / "run", "--duration", "0.2", "--device", "cpu"]
    outputs = []
    for _ in range(2):
        result = CliRunner().invoke(deep_prior.main, [*map(str, arguments), "--figures", tmp_path])
        assert result.exception is None
        outputs.append(result.output)
        monkeypatch.setattr(deep_prior, "measure", None)
    assert outputs[0] == outputs[1]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in result.output.splitlines()]
    rows = {tuple(row[:2]): row[2:] for row in rows if len(row) == 11}
    assert rows["VoiceBank+DEMAND", "plain"][5:] == ["2.00", "2.00", "2.00", "0"]
    piano = rows["piano, white noise at 10 dB", "harmonic"]
    assert piano[0] == "1"
    assert float(piano[1]) == pytest.approx(10, abs=0.5)
    assert piano[5:] == [""] * 4
    assert len(rows) == 2 + 5 * 3
    assert (tmp_path / "deep_prior.png").stat().st_size > 10_000
