"""`harmnmf enhance` from end to end."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from harmnmf import Audio, read_audio, write_audio
from harmnmf.cli.main import main
from harmnmf.enhancement import Enhancer
from harmnmf.enhancement.models.registry import build_model, save_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files of small networks, for speech and for singing."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    light = build_model("harmonic-light", n_blocks=1)
    save_model(folder / "speech.safetensors", "harmonic-light", light, {})
    save_model(folder / "singing.safetensors", "harmonic-light", light, {"task": "singing"})
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 2000))
    write_audio("noisy.wav", Audio(noise, 8000))
    return tmp_path


@pytest.fixture
def run(folder, models):
    def run(*arguments, model="speech", **options):
        name = models / f"{model}.safetensors"
        arguments = ["enhance", "--model", name, "--device", "cpu", *arguments]
        return CliRunner().invoke(main, [*map(str, arguments)], **options)

    return run


def samples(path):
    return read_audio(path, mono=False).samples


def test_a_network_enhances_a_recording(folder, run, models):
    result = run("noisy.wav", "--plot")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("noisy_enhanced.wav, noisy_enhanced.png: 0.2 s in ")
    assert result.stderr == ""
    assert (folder / "noisy_enhanced.png").stat().st_size > 10_000
    enhance = Enhancer.load(models / "speech.safetensors", device="cpu")
    expected = enhance(read_audio("noisy.wav", mono=False))
    assert read_audio("noisy_enhanced.wav").sample_rate == 8000
    np.testing.assert_array_equal(samples("noisy_enhanced.wav"), expected.samples)
    assert run("noisy.wav", "-o", "dry.wav", "--dry", 1).exit_code == 0
    np.testing.assert_array_equal(samples("dry.wav"), samples("noisy.wav"))
    assert run("noisy.wav", "-o", "limited.wav", "--atten-lim", 0).exit_code == 0
    np.testing.assert_allclose(samples("limited.wav"), samples("noisy.wav"), atol=1e-6)
    assert run("noisy.wav", "-o", "limited.wav", "--atten-lim", 3, "--overwrite").exit_code == 0
    assert np.sum(samples("limited.wav") ** 2) > np.sum(expected.samples**2)


@pytest.mark.parametrize("suffix", [".mp3", ".oga", ".opus", ".aif", ".aifc", ".caf", ".w64"])
def test_output_formats(folder, run, suffix):
    result = run("noisy.wav", "-o", f"a{suffix}")
    assert result.exit_code == 0, result.output
    info = soundfile.info(f"a{suffix}")
    assert (info.samplerate, info.channels, info.frames) == (8000, 2, 2000)


@pytest.mark.parametrize(
    ("n_bits", "arguments", "expected"),
    [
        (16, [], "PCM_16"),
        (24, [], "PCM_24"),
        (24, ["--subtype", "16"], "PCM_16"),
        (16, ["--subtype", "float"], "FLOAT"),
        (16, ["--subtype", "pcm_24"], "PCM_24"),
    ],
)
def test_the_output_has_the_bits_of_the_input(folder, run, n_bits, arguments, expected):
    write_audio("bits.wav", read_audio("noisy.wav", mono=False), subtype=f"PCM_{n_bits}")
    assert run("bits.wav", "--dry", 1, *arguments).exit_code == 0
    assert soundfile.info("bits_enhanced.wav").subtype == expected
    if expected != "PCM_16" or n_bits == 16:
        np.testing.assert_array_equal(samples("bits_enhanced.wav"), samples("bits.wav"))


def test_loud_outputs_are_scaled_with_a_warning(folder, run):
    write_audio("loud.wav", Audio(8 * samples("noisy.wav"), 8000))
    result = run("loud.wav", "-o", "loud.flac", "--dry", 1)
    assert result.exit_code == 0
    assert "harmnmf: warning: loud.flac: peaks of +" in result.stderr
    peak = np.abs(samples("loud.wav")).max()
    np.testing.assert_allclose(samples("loud.flac"), samples("loud.wav") / peak, atol=1e-6)


def test_opposite_channels_are_plotted(folder, run):
    noisy = samples("noisy.wav")[0]
    for name, channels in (("mono", noisy), ("opposite", np.stack([noisy, -noisy]))):
        write_audio(f"{name}.wav", Audio(channels, 8000))
        (folder / name).mkdir()
        (folder / f"{name}.wav").rename(folder / name / "a.wav")
        assert run(f"{name}/a.wav", "--dry", 1, "--plot").exit_code == 0
    pictures = [(folder / name / "a_enhanced.png").read_bytes() for name in ("mono", "opposite")]
    assert pictures[0] == pictures[1]


def test_the_default_network_removes_noise(folder):
    # It needs the first quarter of a second to recognise noise.
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    write_audio("noisy.wav", Audio(noise, 8000))
    result = CliRunner().invoke(main, ["enhance", "noisy.wav", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert np.linalg.norm(samples("noisy_enhanced.wav")) < 0.3 * np.linalg.norm(noise)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ([], 2, "Missing argument"),
        (["noisy.wav", "-o", "notes.mid"], 2, "notes.mid: is neither a folder nor a file"),
        (["noisy.wav", "-o", "a.m4a"], 2, "a.m4a: is neither a folder nor a file named .wav, .fl"),
        (["noisy.wav", "-o", "a.flac", "--subtype", "float"], 2, "choose PCM_24 or PCM_16, or"),
        (["noisy.wav", "-o", "a.mp3", "--subtype", "16"], 2, "MP3 cannot hold PCM_16; choose none"),
        (["noisy.wav", "--subtype", "20"], 2, "'20' is not 16, 24, 32 or float"),
        (["six.wav", "-o", "a.mp3"], 1, "a.mp3: MP3 holds at most 2 channels, not 6; use .wav"),
        (["fast.wav", "-o", "a.opus"], 1, "Opus holds only sample rates of 8000, "),
        (["--stdin", "noisy.wav"], 2, "--stdin takes no AUDIO"),
        (["noisy.wav", "--model", "no-such-model"], 1, "no-such-model: no such model"),
        (["noisy.wav", "--model", "singing"], 1, "harmnmf train spectrogram-fusion"),
    ],
)
def test_errors(folder, arguments, exit_code, message):
    write_audio("six.wav", Audio(np.zeros((6, 99)), 48000))
    write_audio("fast.wav", Audio(np.zeros(99), 44100))
    result = CliRunner().invoke(main, ["enhance", *arguments])
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert {path.suffix for path in folder.iterdir()} == {".wav"}


def test_raw_samples_are_streamed(run, models):
    noisy = np.random.default_rng(0).normal(0, 3000, 5000).round().astype("<i2")
    result = run("--stdin", input=noisy.tobytes() + b"\x00")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "latency: 31.9 ms",
        "harmnmf: warning: --stdin: the input ends within a frame of 2 bytes: its last byte was "
        "left out",
    ]
    enhance = Enhancer.load(models / "speech.safetensors", device="cpu")
    expected = enhance(noisy / 32768, 16000) * 32768
    streamed = np.frombuffer(result.stdout_bytes, "<i2")
    assert len(streamed) == 5000
    assert np.abs(streamed - expected).max() < 0.6


def test_raw_samples_beyond_full_scale(run):
    square = np.sign(np.sin(np.arange(5000) / 10)) * 32767
    result = run("--stdin", "--dry", "0.6", "--quiet", input=square.astype("<i2").tobytes())
    assert result.exit_code == 0
    assert re.fullmatch(
        r"harmnmf: warning: \d+ samples beyond full scale were clipped\n", result.stderr
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no samples in the input"),
        (b"1", "no samples"),
        (b"RIFF" + bytes(96), "an audio file, not raw samples"),
    ],
)
def test_no_raw_samples(run, data, message):
    result = run("--stdin", input=data)
    assert result.exit_code == 1
    assert result.stdout_bytes == b""
    assert message in result.stderr


def test_singing_gives_voice_and_accompaniment(folder, run, models):
    result = run("noisy.wav", "--plot", "-o", "parts", model="singing")
    assert result.exit_code == 0, result.output
    names = ["noisy_voice.wav", "noisy_accompaniment.wav", "noisy_voice.png"]
    assert result.stdout.startswith(", ".join(f"parts/{name}" for name in names))
    noisy, voice = samples("noisy.wav"), samples("parts/noisy_voice.wav")
    singer = Enhancer.load(models / "singing.safetensors", device="cpu")
    np.testing.assert_allclose(voice, singer(noisy, 8000), atol=1e-6)
    np.testing.assert_allclose(voice + samples(f"parts/{names[1]}"), noisy, atol=1e-6)
    assert run("noisy.wav", "-o", "solo.flac", model="singing").exit_code == 0
    assert {"solo.flac", "solo_accompaniment.flac"} < {path.name for path in folder.iterdir()}
    result = run("noisy.wav", "-o", "solo.ogg", model="singing")
    assert result.exit_code == 2
    assert ".wav, .flac" in result.stderr


def test_the_accompaniment_of_a_voice_that_was_scaled(folder, run):
    write_audio("loud.wav", Audio(8 * samples("noisy.wav"), 8000))
    result = run("loud.wav", "-o", "voice.flac", "--dry", 0.9, model="singing")
    assert result.exit_code == 0
    loud, voice, rest = map(samples, ("loud.wav", "voice.flac", "voice_accompaniment.flac"))
    gain = float(re.search(r"voice.flac: .* scaled by (\S+);", result.stderr)[1])
    np.testing.assert_allclose(voice / gain + rest, loud, atol=0.01)
