"""`harmnmf deep-prior` from end to end."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from harmnmf import Audio, read_audio, write_audio
from harmnmf.cli.main import main
from harmnmf.enhancement.deep_prior import DeepPrior, PriorFit

CHECKPOINT = "noisy_enhanced.wav.checkpoint.safetensors"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 2000))
    write_audio("noisy.wav", Audio(noise, 8000))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["deep-prior", "--steps", "2", *map(str, arguments)])


def test_a_recording_is_enhanced(folder):
    result = run("noisy.wav", "--plot", "--seed", 1, "--convolution", "plain", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("noisy_enhanced.wav, noisy_enhanced.png: 0.2 s in ")
    assert result.stderr == ""
    prior = DeepPrior("plain", n_steps=2, seed=1, device="cpu")
    expected = prior(read_audio("noisy.wav", mono=False))
    enhanced = read_audio("noisy_enhanced.wav", mono=False)
    assert enhanced.sample_rate == 8000
    np.testing.assert_array_equal(enhanced.samples, expected.samples)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("noisy.wav", "noisy_enhanced.png", "noisy_enhanced.wav")
    ]


def test_an_interrupted_fit_is_resumed(folder, monkeypatch):
    assert run("noisy.wav", "-o", "whole.flac").exit_code == 0
    step, n_steps = PriorFit.step, 0

    def interrupted(self):
        nonlocal n_steps
        n_steps += 1
        if n_steps == 2:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(PriorFit, "step", interrupted)
    result = run("noisy.wav")
    assert result.exit_code == 130
    assert result.stderr.splitlines() == [
        f"{CHECKPOINT}: run the same command again to resume",
        "harmnmf: interrupted",
    ]
    assert (folder / CHECKPOINT).exists()
    assert not (folder / "noisy_enhanced.wav").exists()
    result = run("noisy.wav", "--seed", "1")
    assert result.exit_code == 1
    assert f"{CHECKPOINT}: a checkpoint of another recording" in result.stderr
    # One of four steps is done.
    n_steps = 2
    assert run("noisy.wav").exit_code == 0
    assert n_steps == 5
    np.testing.assert_allclose(
        read_audio("noisy_enhanced.wav").samples, read_audio("whole.flac").samples, atol=1e-4
    )
    assert not (folder / CHECKPOINT).exists()


def test_the_checkpoint_survives_an_output_that_cannot_be_written(folder, monkeypatch):
    with monkeypatch.context() as patch:

        def full(path, audio, **options):
            raise OSError("No space left on device")

        patch.setattr("harmnmf.signal.writing.write_audio", full)
        assert run("noisy.wav").exit_code == 1
    monkeypatch.setattr(PriorFit, "step", None)
    assert run("noisy.wav").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["noisy.wav", "noisy_enhanced.wav"]
