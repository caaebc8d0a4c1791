from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import (
    Audio,
    AudioError,
    HarmnmfError,
    ParameterError,
    audio_info,
    read_audio,
    stream_audio,
    write_audio,
    write_blocks,
)


def tone(sample_rate, duration=1.0, frequency=440.0):
    return 0.5 * np.sin(
        2 * np.pi * frequency * np.arange(round(duration * sample_rate)) / sample_rate
    )


def test_audio_keeps_float32_and_measures_itself():
    audio = Audio(np.zeros((2, 48000)), 48000.0)
    assert audio.samples.dtype == np.float32
    assert isinstance(audio.sample_rate, int)
    assert (audio.duration, audio.n_channels) == (1.0, 2)
    assert Audio(np.zeros(3), 8000).n_channels == 1


@pytest.mark.parametrize(
    ("samples", "sample_rate", "message"),
    [
        (np.zeros(0), 8000, "shape"),
        (np.zeros((1, 2, 3)), 8000, "shape"),
        (np.zeros((44100, 2)), 44100, "transpose"),
        (np.zeros(3, np.int16), 8000, "int16"),
        (np.zeros(3, complex), 8000, "complex"),
        (np.array([0.0, np.nan]), 8000, "NaN"),
        (np.array([0.0, np.inf]), 8000, "infinity"),
        (np.array([0.0, 1e300]), 8000, "infinity"),
        (np.zeros(3), 0, "sample rate"),
        (np.zeros(3), -44100, "sample rate"),
        (np.zeros(3), 44100.5, "sample rate"),
        (np.zeros(3), float("nan"), "sample rate"),
    ],
)
def test_audio_refuses(samples, sample_rate, message):
    with pytest.raises(AudioError, match=message):
        Audio(samples, sample_rate)


def test_to_mono_averages(noise):
    mono = noise.to_mono()
    np.testing.assert_allclose(mono.samples, noise.samples.mean(axis=0), atol=1e-7)
    assert mono.to_mono() is mono


@pytest.mark.parametrize("sample_rate", [3000, 16000, 22050, 192000])
def test_resample_keeps_a_tone(sample_rate):
    resampled = Audio(tone(44100), 44100).resample(sample_rate)
    expected = tone(sample_rate)
    assert resampled.samples.shape == expected.shape
    middle = slice(sample_rate // 10, -sample_rate // 10)
    np.testing.assert_allclose(resampled.samples[middle], expected[middle], atol=1e-4)


def test_resample_bounds(noise):
    assert noise.resample(44100) is noise
    assert noise.resample(22050).samples.shape == (2, 44100)
    with pytest.raises(ParameterError, match="sample_rate"):
        noise.resample(10)
    with pytest.raises(AudioError, match="too short"):
        Audio(np.zeros(1), 192000).resample(8000)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 1e-2),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "DOUBLE", 0.0),
        ("a.aiff", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
    ],
)
def test_read_lossless_formats(tmp_path, noise, name, subtype, tolerance):
    soundfile.write(tmp_path / name, noise.samples.T, 44100, subtype=subtype)
    audio = read_audio(tmp_path / name, mono=False)
    assert audio.sample_rate == 44100
    np.testing.assert_allclose(audio.samples, noise.samples, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp3", {}), ("a.ogg", {}), ("a.opus", {"format": "OGG", "subtype": "OPUS"})],
)
def test_read_lossy_formats(tmp_path, name, options):
    soundfile.write(tmp_path / name, tone(48000), 48000, **options)
    audio = read_audio(str(tmp_path / name))
    assert audio.duration == pytest.approx(1.0, abs=0.1)
    middle = audio.samples[audio.sample_rate // 4 : -audio.sample_rate // 4]
    assert middle.std() == pytest.approx(tone(48000).std(), rel=0.1)


@pytest.mark.parametrize(("sample_rate", "n_channels"), [(3000, 1), (8000, 6), (192000, 2)])
def test_read_any_rate_and_channels(tmp_path, sample_rate, n_channels):
    samples = np.tile(tone(sample_rate)[:, None], n_channels)
    soundfile.write(tmp_path / "a.wav", samples, sample_rate)
    info = audio_info(tmp_path / "a.wav")
    assert (info.duration, info.sample_rate, info.n_channels) == (1.0, sample_rate, n_channels)
    audio = read_audio(tmp_path / "a.wav", sample_rate=22050)
    assert audio.samples.shape == (22050,)
    np.testing.assert_allclose(audio.samples[2000:-2000], tone(22050)[2000:-2000], atol=1e-3)


@pytest.fixture(params=["samples", "file"])
def source(request, tmp_path, noise):
    """The noise, and a file of it."""
    if request.param == "samples":
        return noise
    write_audio(tmp_path / "a.wav", noise)
    return tmp_path / "a.wav"


def test_read_a_part(source, noise):
    part = read_audio(source, mono=False, offset=0.5, duration=0.25)
    np.testing.assert_array_equal(part.samples, noise.samples[:, 22050:33075])
    rest = read_audio(source, mono=False, offset=1.5, duration=99)
    np.testing.assert_array_equal(rest.samples, noise.samples[:, 66150:])
    blocks = list(stream_audio(source, mono=False, block_duration=0.3))
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), noise.samples)
    with pytest.raises(AudioError, match="no samples in the part"):
        read_audio(source, offset=3.0)


@pytest.mark.parametrize(
    "options",
    [
        {"offset": -1},
        {"offset": float("nan")},
        {"duration": 0},
        {"duration": -1},
        {"duration": float("nan")},
        {"sample_rate": 10},
        {"sample_rate": 0},
        {"sample_rate": 22050.5},
    ],
)
def test_read_refuses_parameters(source, options):
    with pytest.raises(ParameterError):
        read_audio(source, **options)


@settings(max_examples=40, deadline=None)
@given(
    n_samples=st.integers(1, 30000),
    file_rate=st.sampled_from([8000, 22050, 44100, 96000]),
    sample_rate=st.sampled_from([None, 11025, 22050, 48000]),
    block_duration=st.floats(0.01, 2.0),
)
def test_a_stream_is_the_whole(tmp_path_factory, n_samples, file_rate, sample_rate, block_duration):
    path = tmp_path_factory.getbasetemp() / "stream.wav"
    rng = np.random.default_rng(n_samples)
    original = Audio(rng.uniform(-1, 1, (2, n_samples)), file_rate)
    write_audio(path, original)
    try:
        whole = read_audio(path, sample_rate=sample_rate)
    except AudioError:  # one sample may become none
        assert n_samples / file_rate * sample_rate < 1
        return
    for source in (path, original):
        blocks = list(stream_audio(source, sample_rate=sample_rate, block_duration=block_duration))
        assert all(block.dtype == np.float32 and block.ndim == 1 and len(block) for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), whole.samples)
    at_once = original.to_mono().resample(sample_rate or file_rate)
    np.testing.assert_allclose(whole.samples, at_once.samples, atol=1e-5)


@pytest.mark.parametrize("block_duration", [0, -1, float("nan"), float("inf")])
def test_stream_refuses_parameters(tmp_path, noise, block_duration):
    write_audio(tmp_path / "a.wav", noise)
    with pytest.raises(ParameterError, match="block_duration"):
        next(stream_audio(tmp_path / "a.wav", block_duration=block_duration))


def test_the_memory_of_a_stream_is_that_of_a_block(tmp_path):
    n_samples = 3_000_000
    soundfile.write(tmp_path / "a.flac", np.zeros(n_samples), 44100)
    tracemalloc.start()
    n_read = sum(map(len, stream_audio(tmp_path / "a.flac", block_duration=1.0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_read == n_samples
    assert peak < 2_000_000


def test_silence_is_audio(tmp_path):
    write_audio(tmp_path / "a.wav", Audio(np.zeros(100), 8000))
    assert not read_audio(tmp_path / "a.wav").samples.any()


def refused(path: Path) -> str:
    """The one message that all ways to read a file give."""
    messages = set()
    for read in (read_audio, lambda path: list(stream_audio(path))):
        with pytest.raises(AudioError) as caught:
            read(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_what_is_not_audio(tmp_path):
    assert "no such file" in refused(tmp_path / "missing.wav")
    assert "folder" in refused(tmp_path)
    path = tmp_path / "a.wav"
    path.touch()
    assert "empty" in refused(path)
    path.write_text("These are words and not a recording.\n" * 100)
    assert "convert it" in refused(path)
    path.rename(tmp_path / "a.raw")
    assert "convert it" in refused(tmp_path / "a.raw")


def test_audio_without_usable_samples(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0), 44100)
    assert "no samples" in refused(path)
    for value in (np.nan, np.inf):
        samples = np.zeros(100_000)
        samples[-1] = value
        soundfile.write(path, samples, 44100, subtype="FLOAT")
        assert "NaN or infinite" in refused(path)
    for sample_rate in (100, 2_000_000):
        soundfile.write(path, np.zeros(100), sample_rate)
        assert "sample rate" in refused(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_a_truncated_file_gives_what_it_has(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.uniform(-0.5, 0.5, 441000), 44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if suffix in ("flac", "mp3"):  # whose headers libsndfile believes
        with pytest.warns(UserWarning, match=r"truncated: it ends after [45]\.\d s of 10\.0 s"):
            audio = read_audio(path)
    else:
        audio = read_audio(path)
    assert 3.5 < audio.duration < 5.5


def test_bytes_that_cannot_be_decoded(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(44100), 44100)
    path.write_bytes(path.read_bytes()[:100])
    assert "corrupt" in refused(path) or "no samples" in refused(path)


def test_write_is_exact_and_replaces(tmp_path, noise):
    path = tmp_path / "a.wav"
    path.write_text("old")
    write_audio(path, noise)
    np.testing.assert_array_equal(read_audio(path, mono=False).samples, noise.samples)
    assert list(tmp_path.iterdir()) == [path]


def test_write_in_blocks(tmp_path, noise):
    rows = np.array_split(noise.samples, 7, axis=1)
    write_blocks(tmp_path / "blocks.flac", rows, noise.sample_rate)
    write_audio(tmp_path / "whole.flac", noise)
    # WAV of more than 4 GB is RF64.
    write_blocks(tmp_path / "long.wav", rows, noise.sample_rate, n_samples=2**30)
    write_blocks(tmp_path / "short.wav", rows, noise.sample_rate, n_samples=2**28)
    blocks, whole, *waves = (
        read_audio(tmp_path / name)
        for name in ("blocks.flac", "whole.flac", "long.wav", "short.wav")
    )
    np.testing.assert_array_equal(blocks.samples, whole.samples)
    for wave in waves:
        np.testing.assert_array_equal(wave.samples, noise.samples.mean(axis=0))
    forms = [soundfile.info(tmp_path / f"{name}.wav").format for name in ("long", "short")]
    assert forms == ["RF64", "WAV"]


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_files_that_become_larger_than_4_gb(tmp_path, monkeypatch, name):
    monkeypatch.setattr(
        Path, "stat", lambda *_, **__: SimpleNamespace(st_size=2**32, st_mode=0o100644)
    )
    with pytest.raises(AudioError, match=rf"{name}: holds no more than 4 GB; use \.w64"):
        write_blocks(tmp_path / name, np.zeros((9, 1000)), 8000)
    monkeypatch.undo()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "blocks",
    [[], [np.zeros(9), np.full(9, np.nan)], [np.zeros(9), np.zeros((2, 9))]],
    ids=["nothing", "NaN", "other channels"],
)
def test_blocks_that_fail_leave_nothing(tmp_path, blocks):
    with pytest.raises(AudioError):
        write_blocks(tmp_path / "a.wav", blocks, 8000)
    assert list(tmp_path.iterdir()) == []


def test_write_failures_leave_nothing(tmp_path, noise):
    for name in ("a.xyz", "a", "a.mp3"):
        with pytest.raises(AudioError, match=f"{name}: cannot write"):
            write_audio(tmp_path / name, Audio(np.zeros((6, 100)), 192000))
    with pytest.raises(HarmnmfError, match="missing: cannot write to this folder"):
        write_audio(tmp_path / "missing" / "a.wav", noise)
    assert not any(tmp_path.iterdir())


def test_a_length_that_is_not_said_is_0(tmp_path):
    path = tmp_path / "a.flac"
    write_audio(path, Audio(tone(8000), 8000))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert audio_info(path).duration == 0
    assert read_audio(path).duration == 1.0


def test_parts_as_long_as_numbers_can_be(tmp_path, noise):
    write_audio(tmp_path / "a.wav", noise)
    assert read_audio(tmp_path / "a.wav", duration=1e308).duration == 2.0
    assert len(list(stream_audio(tmp_path / "a.wav", block_duration=1e308))) == 1
    with pytest.raises(AudioError, match="no samples in the part"):
        read_audio(tmp_path / "a.wav", offset=1e308)
