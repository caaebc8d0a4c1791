from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_files import tone

from harmnmf import Audio, AudioError, ParameterError, read_audio, stream_audio, write_audio


def test_audio_attributes():
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
        (np.array([0.0, 1e300]), 8000, "infinity"),
        (np.zeros(3), 0, "sample rate"),
        (np.zeros(3), 44100.5, "sample rate"),
        (np.zeros(3), float("nan"), "sample rate"),
        (np.zeros(3), "44100", "sample rate"),
        (np.zeros(3), None, "sample rate"),
        (np.zeros(3), [44100], "sample rate"),
        (np.zeros(3, np.int32), 8000, "divide them by 2147483648"),
    ],
)
def test_invalid_audio(samples, sample_rate, message):
    with pytest.raises(AudioError, match=message):
        Audio(samples, sample_rate)


@pytest.mark.parametrize("kind", [float, np.float32, np.int64, np.array])
def test_whole_rates_of_any_type(kind, noise):
    assert type(Audio(np.zeros(3), kind(44100)).sample_rate) is int
    assert type(noise.resample(kind(22050)).sample_rate) is int
    assert type(read_audio(noise, sample_rate=kind(22050)).sample_rate) is int


@pytest.mark.parametrize(("scale", "advice"), [(2**15, "32768"), (2**31, "2147483648")])
def test_floats_that_are_scaled_like_integers(tmp_path, noise, scale, advice):
    audio = Audio(noise.samples * scale, 44100)
    write_audio(tmp_path / "a.wav", audio)
    for source, name in ((audio, "the audio"), (tmp_path / "a.wav", r"a\.wav")):
        with pytest.warns(UserWarning, match=rf"{name}: .* like integers; divide them by {advice}"):
            assert len(list(stream_audio(source, block_duration=0.5))) == 4


@pytest.mark.parametrize("sample_rate", [3000, 22050, 192000])
def test_resample_keeps_a_tone(sample_rate):
    resampled = Audio(tone(440, sample_rate=44100), 44100).resample(sample_rate)
    expected = tone(440, sample_rate=sample_rate)
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
        ("a.flac", "PCM_24", 1e-6),
    ],
)
def test_read_lossless_formats(tmp_path, noise, name, subtype, tolerance):
    soundfile.write(tmp_path / name, noise.samples.T, 44100, subtype=subtype)
    audio = read_audio(tmp_path / name, mono=False)
    assert audio.sample_rate == 44100
    np.testing.assert_allclose(audio.samples, noise.samples, atol=tolerance)


@pytest.fixture(params=["samples", "file"])
def source(request, tmp_path, noise):
    """Noise, as samples and as a file."""
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
    [block] = stream_audio(source, mono=False, block_duration=1e308)
    assert block.shape == noise.samples.shape
    for offset in (3.0, 1e308):
        with pytest.raises(AudioError, match="no samples in the part"):
            read_audio(source, offset=offset)


@pytest.mark.parametrize(
    "options",
    [
        *({"offset": value} for value in (-1, float("nan"))),
        *({"duration": value} for value in (0, float("nan"))),
        *({"sample_rate": value} for value in (10, 22050.5)),
        *({"block_duration": value} for value in (0, float("nan"), float("inf"))),
    ],
    ids=str,
)
def test_invalid_parameters(source, options):
    read = stream_audio if "block_duration" in options else read_audio
    with pytest.raises(ParameterError):
        list(read(source, **options))


@settings(max_examples=40, deadline=None)
@given(
    n_samples=st.integers(1, 30000),
    file_rate=st.sampled_from([8000, 22050, 44100, 96000]),
    sample_rate=st.sampled_from([None, 11025, 22050, 48000]),
    block_duration=st.floats(0.01, 2.0),
)
def test_stream_equals_read(tmp_path_factory, n_samples, file_rate, sample_rate, block_duration):
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


def test_memory_of_a_stream(tmp_path):
    n_samples = 3_000_000
    soundfile.write(tmp_path / "a.flac", np.zeros(n_samples), 44100)
    tracemalloc.start()
    n_read = sum(map(len, stream_audio(tmp_path / "a.flac", block_duration=1.0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_read == n_samples
    assert peak < 2_000_000


def test_damaged_files(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 441000), 44100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"truncated or damaged: [45]\.\d s of 10\.0 s were read"):
        assert 3.5 < read_audio(path).duration < 5.5
    path.write_bytes(content[:100])
    with pytest.raises(AudioError, match=r"a\.flac: is corrupt and cannot be decoded"):
        read_audio(path)
