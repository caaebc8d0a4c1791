"""`harmnmf enhance` from end to end."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from harmnmf import Audio, read_audio, write_audio
from harmnmf.cli.main import main
from harmnmf.enhancement.deep_prior import PriorFit
from harmnmf.enhancement.enhancer import Enhancer
from harmnmf.enhancement.models.registry import build_model, save_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_audio("noisy.wav", Audio(rng.normal(0, 0.1, (2, 2000)), 8000))
    return tmp_path


def enhance(*arguments):
    return run(*arguments, "--model", "deep-prior", "--steps", "2")


def run(*arguments, **options):
    return CliRunner().invoke(main, ["enhance", *map(str, arguments)], **options)


@pytest.fixture
def network(folder):
    torch.manual_seed(0)
    save_model("model.npz", "harmonic-light", build_model("harmonic-light", n_blocks=1), {})
    return Enhancer.load("model.npz", device="cpu")


def test_a_recording_is_enhanced(folder):
    result = enhance("noisy.wav")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("noisy_enhanced.wav: 0.2 s in ")
    assert result.stderr == ""
    enhanced = read_audio("noisy_enhanced.wav", mono=False)
    assert (enhanced.sample_rate, enhanced.samples.shape) == (8000, (2, 2000))
    assert 0 < np.abs(enhanced.samples - read_audio("noisy.wav", mono=False).samples).max() < 1
    assert enhance("noisy.wav", "-o", "new/one.flac").exit_code == 0
    assert sorted(path.name for path in folder.rglob("*.*")) == [
        *("noisy.wav", "noisy_enhanced.wav", "one.flac")
    ]


def test_results_depend_on_seed_and_convolution(folder):
    variants = [[], ["--seed", 1], ["--convolution", "plain"], ["--convolution", "dilated"]]
    for i, options in enumerate(variants):
        assert enhance("noisy.wav", "-o", f"{i}.wav", *options).exit_code == 0
    results = [read_audio(f"{i}.wav").samples for i in range(4)]
    assert all(np.abs(a - b).max() > 1e-5 for i, a in enumerate(results) for b in results[:i])


def test_nothing_is_replaced_unless_asked(folder):
    assert enhance("noisy.wav").exit_code == 0
    before = os.stat("noisy_enhanced.wav").st_mtime_ns
    result = enhance("noisy.wav")
    assert result.exit_code == 1
    assert "noisy_enhanced.wav: exists already" in result.stderr
    assert os.stat("noisy_enhanced.wav").st_mtime_ns == before
    assert enhance("noisy.wav", "--overwrite").exit_code == 0
    assert enhance("noisy.wav", "-o", "noisy.wav").exit_code == 1


def test_one_bad_file_does_not_stop_the_others(folder):
    (folder / "text.wav").write_text("Dear diary,\n")
    result = enhance("text.wav", "missing.wav", "noisy.wav", "-o", "out")
    assert result.exit_code == 1
    assert "text.wav: is not audio" in result.stderr
    assert "missing.wav" in result.stderr
    assert "2 of 3 recordings failed" in result.stderr
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "manifest.jsonl",
        "noisy_enhanced.wav",
    ]


def test_outputs_are_planned(folder):
    write_audio("other.wav", read_audio("noisy.wav"))
    assert enhance("noisy.wav", "other.wav", "-o", "one.wav").exit_code == 2
    result = enhance("noisy.wav", "-o", "notes.mid")
    assert result.exit_code == 1
    assert "notes.mid: is neither a folder nor of a format of audio" in result.stderr
    (folder / "a").mkdir()
    write_audio("a/noisy.wav", read_audio("noisy.wav"))
    result = enhance("noisy.wav", "a/noisy.wav", "-o", "out")
    assert result.exit_code == 1
    assert "would be written for both" in result.stderr


def test_what_is_interrupted_goes_on(folder, monkeypatch):
    """Ctrl-C leaves a checkpoint and says where; the same command ends the work."""
    assert enhance("noisy.wav", "-o", "whole.wav").exit_code == 0
    step, n_steps = PriorFit.step, 0

    def interrupted(self):
        nonlocal n_steps
        n_steps += 1
        if n_steps == 2:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(PriorFit, "step", interrupted)
    result = enhance("noisy.wav")
    assert result.exit_code == 130
    name = "noisy_enhanced.wav.checkpoint.safetensors"
    assert result.stderr.splitlines() == [
        f"{name}: the same command goes on from here",
        "harmnmf: interrupted",
    ]
    assert (folder / name).exists()
    assert not (folder / "noisy_enhanced.wav").exists()
    # Other parameters are other work.
    result = enhance("noisy.wav", "--seed", "1")
    assert result.exit_code == 1
    assert f"{name}: a checkpoint of another recording" in result.stderr
    # Of four steps, one was made.
    n_steps = 2
    assert enhance("noisy.wav").exit_code == 0
    assert n_steps == 5
    np.testing.assert_array_equal(
        read_audio("noisy_enhanced.wav").samples, read_audio("whole.wav").samples
    )
    assert not (folder / name).exists()


def test_work_outlives_an_output_that_cannot_be_written(folder, monkeypatch):
    with monkeypatch.context() as patch:

        def full(path, audio):
            raise OSError("No space left on device")

        patch.setattr("harmnmf.signal.audio.write_audio", full)
        assert enhance("noisy.wav").exit_code == 1
    monkeypatch.setattr(PriorFit, "step", None)
    assert enhance("noisy.wav").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["noisy.wav", "noisy_enhanced.wav"]


def test_a_trained_network_enhances(folder, network):
    result = run("noisy.wav", "--model", "model.npz", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("noisy_enhanced.wav: 0.2 s in ")
    assert result.stderr == ""
    noisy, enhanced = (
        read_audio(f"{name}.wav", mono=False) for name in ("noisy", "noisy_enhanced")
    )
    assert enhanced.sample_rate == 8000
    expected = network(noisy.samples, 8000)
    np.testing.assert_array_equal(enhanced.samples, expected)
    result = run("noisy.wav", "--model", "model.npz", "-o", "dry.wav", "--dry", 1)
    np.testing.assert_array_equal(read_audio("dry.wav", mono=False).samples, noisy.samples)
    result = run("noisy.wav", "--model", "model.npz", "-o", "limited.wav", "--atten-lim", 0)
    limited = read_audio("limited.wav", mono=False).samples
    assert np.sum(limited**2) > np.sum(expected**2)


def test_the_default_is_a_trained_network(folder):
    # It takes the first quarter of a second to know that this is noise.
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    write_audio("noisy.wav", Audio(noise, 8000))
    result = run("noisy.wav", "--device", "cpu")
    assert result.exit_code == 0, result.output
    noisy, enhanced = (read_audio(path).samples for path in ("noisy.wav", "noisy_enhanced.wav"))
    # There is nothing but noise.
    assert np.linalg.norm(enhanced) < 0.3 * np.linalg.norm(noisy)


def test_pictures(folder, network):
    for options in (["--model", "model.npz"], ["--model", "deep-prior", "--steps", 1]):
        result = run("noisy.wav", "--plot", *options, "-o", "new", "--overwrite")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("new/noisy_enhanced.wav, new/noisy_enhanced.png: ")
        assert (folder / "new/noisy_enhanced.png").stat().st_size > 10_000
    (folder / "new/noisy_enhanced.png").write_text("precious")
    result = run("noisy.wav", "--plot", "--model", "model.npz", "-o", "new")
    assert "exists already" in result.stderr


def test_options_of_another_model_are_refused(folder, network):
    for options in (["--steps", 500], ["--seed", 1], ["--convolution", "plain"]):
        result = run("noisy.wav", "--model", "model.npz", *options)
        assert result.exit_code == 2
        assert f"--model model.npz has no {options[0]}" in result.stderr
    for options in (["--dry", 0.5], ["--atten-lim", 10], ["--stdin", "--stdout"]):
        result = run("noisy.wav", "--model", "deep-prior", *options)
        assert result.exit_code == 2
        assert f"--model deep-prior has no {options[0]}" in result.stderr
    assert run("noisy.wav", "--model", "model.npz", "--dry", 2).exit_code == 2
    assert run("--model", "model.npz").exit_code == 2
    result = run("noisy.wav", "--model", "no-such-model")
    assert result.exit_code == 1
    assert "no-such-model: no such model" in result.stderr


def test_raw_samples_are_streamed(folder, network):
    options = ["--model", "model.npz", "--stdin", "--stdout", "--device", "cpu"]
    noisy = np.random.default_rng(0).normal(0, 3000, 5000).round().astype("<i2")
    result = run(*options, input=noisy.tobytes() + b"\x00")
    assert result.exit_code == 0
    assert result.stderr == "latency: 31.9 ms\n"
    expected = network(noisy / 32768, 16000) * 32768
    samples = np.frombuffer(result.stdout_bytes, "<i2")
    assert len(samples) == 5000
    assert np.abs(samples - expected).max() < 0.6
    assert run(*options, input=b"").stdout_bytes == b""
    for wrong in (["noisy.wav"], ["-o", "a.wav"], ["--plot"], ["--rate", 8000]):
        assert run(*options, *wrong).exit_code == 2
    assert run("--model", "model.npz", "--stdin").exit_code == 2


@pytest.fixture
def singer(folder):
    torch.manual_seed(0)
    model = build_model("spectrogram-fusion")
    save_model("singer.npz", "spectrogram-fusion", model, {"task": "singing"})
    return Enhancer.load("singer.npz", device="cpu")


def test_singing_gives_two_parts(folder, singer):
    result = run("noisy.wav", "--model", "singer.npz", "--plot", "-o", "parts")
    assert result.exit_code == 0, result.output
    names = ["noisy_voice.wav", "noisy_accompaniment.wav", "noisy_voice.png"]
    assert result.stdout.startswith(", ".join(f"parts/{name}" for name in names))
    noisy, voice, accompaniment = (
        read_audio(path, mono=False).samples
        for path in ("noisy.wav", "parts/noisy_voice.wav", "parts/noisy_accompaniment.wav")
    )
    np.testing.assert_allclose(voice, singer(noisy, 8000), atol=1e-6)
    np.testing.assert_allclose(voice + accompaniment, noisy, atol=1e-6)
    assert run("noisy.wav", "--model", "singer.npz", "-o", "solo.flac").exit_code == 0
    result = run("noisy.wav", "--model", "singer.npz", "-o", "solo.ogg")
    assert (result.exit_code, "solo.ogg: write the voice as .wav" in result.stderr) == (1, True)
    assert {"solo.flac", "solo_accompaniment.flac"} < {path.name for path in folder.iterdir()}


def test_weights_for_singing_are_not_shipped(folder):
    result = run("noisy.wav", "--model", "singing")
    assert result.exit_code == 1
    assert "harmnmf train spectrogram-fusion" in result.stderr
