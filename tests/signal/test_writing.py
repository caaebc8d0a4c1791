from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from sound_files import tone

from harmnmf import Audio, AudioError, HarmnmfError, read_audio, write_audio, write_blocks
from harmnmf.signal.formats import OUTPUT_SUFFIXES, check_format, matching_subtype
from harmnmf.signal.writing import write_parts, write_sounds

LOSSY = (".mp3", ".ogg", ".oga", ".opus")


@pytest.mark.parametrize("suffix", OUTPUT_SUFFIXES)
def test_every_format_keeps_rate_channels_and_length(tmp_path, suffix):
    for rate in (16000, 48000):
        stereo = Audio(np.stack([tone(440, 0.7, rate), tone(550, 0.7, rate)]), rate)
        write_audio(tmp_path / f"a{suffix}", stereo)
        written, written_rate = soundfile.read(tmp_path / f"a{suffix}")
        assert (written_rate, written.T.shape) == (rate, stereo.samples.shape)
        middle = slice(rate // 10, -rate // 10)
        tolerance = 0.05 if suffix in LOSSY else 1e-6
        difference = (written.T - stereo.samples)[:, middle]
        assert np.sqrt(np.mean(difference**2)) < tolerance


@pytest.mark.parametrize("suffix", [s for s in OUTPUT_SUFFIXES if s not in LOSSY])
@pytest.mark.parametrize("n_bits", [16, 24])
def test_integers_are_kept_exactly(tmp_path, suffix, n_bits):
    full_scale = 2 ** (n_bits - 1)
    integers = np.random.default_rng(0).integers(-full_scale, full_scale, 5000)
    audio = Audio(np.float32(integers / full_scale), 8000)
    write_audio(tmp_path / f"a{suffix}", audio, subtype=f"PCM_{n_bits}")
    assert soundfile.info(tmp_path / f"a{suffix}").subtype == f"PCM_{n_bits}"
    np.testing.assert_array_equal(read_audio(tmp_path / f"a{suffix}").samples, audio.samples)


def test_full_scale(tmp_path):
    for subtype, step in (("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-31)):
        write_audio(tmp_path / "a.wav", Audio(np.array([1.0, -1.0]), 8000), subtype=subtype)
        samples, _ = soundfile.read(tmp_path / "a.wav")
        np.testing.assert_allclose(samples, [1, -1], atol=step)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".aiff"])
def test_peaks_beyond_full_scale_are_scaled_with_a_warning(tmp_path, suffix):
    loud = np.concatenate([tone(440), 2.5 * tone(440), tone(440)]).astype(np.float32)
    subtype = None if suffix == ".mp3" else "PCM_16"
    path = tmp_path / f"a{suffix}"
    with pytest.warns(UserWarning, match=rf"a{suffix}: peaks of \+1\.9 dB .* scaled by 0\.8;"):
        gain = write_blocks(path, np.array_split(loud, 7), 16000, subtype=subtype)
    assert gain == pytest.approx(1 / loud.max())
    np.testing.assert_allclose(
        soundfile.read(path)[0], gain * loud, atol=0.05 if suffix == ".mp3" else 2**-15
    )


def test_floats_keep_their_peaks(tmp_path, recwarn):
    loud = 3 * tone(440).astype(np.float32)
    for suffix in (".wav", ".aiff", ".caf"):
        assert write_blocks(tmp_path / f"a{suffix}", [loud], 16000) == 1
        np.testing.assert_array_equal(read_audio(tmp_path / f"a{suffix}").samples, loud)
    assert not recwarn


def test_memory_of_integers(tmp_path):
    blocks = (np.full(100_000, 1.5, np.float32) for _ in range(50))
    tracemalloc.start()
    with pytest.warns(UserWarning, match="scaled by 0.667"):
        write_blocks(tmp_path / "a.flac", blocks, 44100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]


def test_long_blocks_of_vorbis(tmp_path):
    write_audio(tmp_path / "a.ogg", Audio(np.zeros((2, 2**21)), 48000))
    assert soundfile.info(tmp_path / "a.ogg").frames == 2**21


@pytest.mark.parametrize(
    ("name", "rate", "n_channels", "subtype", "message"),
    [
        ("a.m4a", 44100, 2, None, r"\.m4a cannot be written; use \.wav, \.flac or \.mp3"),
        ("a", 44100, 2, None, "a file without suffix cannot be written"),
        ("a.opus", 44100, 2, None, "Opus holds only .* 48000 Hz, not 44100 Hz; use"),
        ("a.mp3", 96000, 2, None, "MP3 holds only"),
        ("a.mp3", 48000, 6, None, "MP3 holds at most 2 channels, not 6; use .wav"),
        ("a.flac", 48000, 9, None, "FLAC holds at most 8 channels"),
        ("a.flac", 700_000, 1, None, "FLAC holds sample rates up to 655350 Hz"),
        ("a.ogg", 384_000, 1, None, "Ogg Vorbis holds sample rates up to 200000 Hz"),
        ("a.ogg", 48000, 256, None, "Ogg Vorbis holds at most 255 channels"),
        ("a.flac", 48000, 1, "FLOAT", "FLAC cannot hold FLOAT; choose PCM_24 or PCM_16"),
        ("a.mp3", 48000, 1, "PCM_16", "MP3 cannot hold PCM_16; choose none"),
        ("a.wav", 48000, 1, "PCM_99", "WAV cannot hold PCM_99; choose FLOAT or"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path, name, rate, n_channels, subtype, message):
    with pytest.raises(AudioError, match=message):
        check_format(tmp_path / name, rate, n_channels, subtype)
    with pytest.raises(AudioError, match=message):
        write_audio(tmp_path / name, Audio(np.zeros((n_channels, 10)), rate), subtype=subtype)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "container", "subtype", "expected"),
    [
        ("a.wav", "WAV", "PCM_U8", "PCM_16"),
        ("a.wav", "WAV", "PCM_16", "PCM_16"),
        ("a.wav", "WAV", "ULAW", "PCM_16"),
        ("a.flac", "FLAC", "PCM_24", "PCM_24"),
        ("a.wav", "WAV", "PCM_32", "FLOAT"),
        ("a.wav", "WAV", "DOUBLE", "FLOAT"),
        ("a.ogg", "OGG", "VORBIS", "FLOAT"),
    ],
)
def test_the_subtype_of_a_recording(tmp_path, source, container, subtype, expected):
    soundfile.write(tmp_path / source, np.zeros(99), 8000, subtype, format=container)
    assert matching_subtype("b.wav", tmp_path / source) == expected
    flac = expected if expected.startswith("PCM") else "PCM_24"
    assert matching_subtype("b.flac", tmp_path / source) == flac
    assert matching_subtype("b.mp3", tmp_path / source) == "MPEG_LAYER_III"
    (tmp_path / "a.m4a").write_bytes(b"not a format of libsndfile")
    assert matching_subtype("b.wav", tmp_path / "a.m4a") == "FLOAT"


@pytest.mark.parametrize("rate", [8000.0, np.float32(8000), np.int64(8000)])
def test_whole_rates_of_any_type(tmp_path, rate):
    write_blocks(tmp_path / "a.wav", [np.zeros(10)], rate)
    assert soundfile.info(tmp_path / "a.wav").samplerate == 8000
    for invalid in (8000.5, "8000", None):
        with pytest.raises(AudioError, match="sample rate"):
            write_blocks(tmp_path / "b.wav", [np.zeros(10)], invalid)
    assert not (tmp_path / "b.wav").exists()


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


def test_files_that_become_larger_than_4_gb(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Path, "stat", lambda *_, **__: SimpleNamespace(st_size=2**32, st_mode=0o100644)
    )
    with pytest.raises(AudioError, match=r"a\.wav: holds no more than 4 GB; use \.w64"):
        write_blocks(tmp_path / "a.wav", np.zeros((9, 1000)), 8000)
    monkeypatch.undo()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "blocks",
    [[], [np.zeros(9), np.full(9, np.nan)], [np.zeros(9), np.zeros((2, 9))]],
    ids=["nothing", "NaN", "other channels"],
)
def test_invalid_blocks_leave_no_file(tmp_path, blocks):
    with pytest.raises(AudioError):
        write_blocks(tmp_path / "a.wav", blocks, 8000)
    assert list(tmp_path.iterdir()) == []


def test_write_failures_leave_no_file(tmp_path, noise):
    with pytest.raises(HarmnmfError, match="missing: cannot write to this folder"):
        write_audio(tmp_path / "missing" / "a.wav", noise)
    assert not any(tmp_path.iterdir())


def parts_of(samples, n_blocks=5):
    """Blocks of three parts that add up to samples."""
    for block in np.array_split(samples, n_blocks, axis=-1):
        yield {"left": 0.5 * block, "rest": 0.25 * block, "right": 0.25 * block}


@pytest.mark.parametrize(
    ("suffix", "subtype", "step"),
    [(".wav", None, 1e-7), (".wav", "PCM_16", 2**-15), (".flac", "PCM_24", 2**-23)],
)
def test_parts_add_up(tmp_path, suffix, subtype, step):
    whole = np.random.default_rng(0).uniform(-1, 1, (2, 30_000)).astype(np.float32)
    blocks = parts_of(whole)
    assert write_parts(tmp_path / "a", blocks, 44_100, suffix=suffix, subtype=subtype) == 1
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"{name}{suffix}" for name in ("left", "rest", "right")]
    parts = [read_audio(tmp_path / "a" / name, mono=False) for name in names]
    assert {part.sample_rate for part in parts} == {44_100}
    np.testing.assert_allclose(sum(part.samples for part in parts), whole, atol=2 * step)


def test_parts_are_scaled_alike(tmp_path):
    whole = 4 * tone(440).astype(np.float32)
    message = r"a: peaks of \+6\.0 dB .* all files were scaled by 0\.5; WAV files of floats keep"
    with pytest.warns(UserWarning, match=message):
        gain = write_parts(tmp_path / "a", parts_of(2 * whole), 16000, subtype="PCM_16")
    assert gain == pytest.approx(1 / whole.max(), rel=1e-6)
    parts = [read_audio(path).samples for path in (tmp_path / "a").iterdir()]
    np.testing.assert_allclose(sum(parts), gain * 2 * whole, atol=2**-14)


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_a_failure_leaves_no_parts(tmp_path, subtype):
    def blocks():
        yield from parts_of(tone(440))
        raise HarmnmfError("no more")

    with pytest.raises(HarmnmfError, match="no more"):
        write_parts(tmp_path / "a", blocks(), 16000, subtype=subtype)
    wrong = [{"a": np.zeros(9), "b": np.zeros((2, 9))}]
    with pytest.raises(AudioError, match=f"{tmp_path}/a/b.wav: .* number of channels"):
        write_parts(tmp_path / "a", wrong, 16000, subtype=subtype)
    for empty in ([], [{}]):
        with pytest.raises(AudioError, match="a: there are no samples to write"):
            write_parts(tmp_path / "a", empty, 16000, subtype=subtype)
    with pytest.raises(AudioError, match="FLAC holds at most 8 channels"):
        write_parts(tmp_path / "a", [{"a": np.zeros((9, 4))}], 16000, suffix=".flac")
    assert not any(tmp_path.iterdir())


def test_silence_between_sounds_is_kept(tmp_path):
    loud = np.ones(300_000, np.float32)
    blocks = [{"a": level * loud} for level in (0, 1, 0, 0, 0.5, 0)]
    assert write_parts(tmp_path / "a", blocks, 44_100, suffix=".flac") == 1
    expected = np.concatenate([block["a"] for block in blocks])
    written = read_audio(tmp_path / "a" / "a.flac").samples
    np.testing.assert_allclose(written, expected, atol=2**-23)


def test_memory_of_parts(tmp_path):
    def blocks():
        for _ in range(30):
            yield {f"{i}": np.full(20_000, 0.1 * i, np.float32) for i in range(20)}

    tracemalloc.start()
    with pytest.warns(UserWarning, match="all files were scaled"):
        write_parts(tmp_path / "a", blocks(), 44100, suffix=".flac")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000  # of 48 million bytes
    assert len(list((tmp_path / "a").iterdir())) == 20


def test_sounds(tmp_path, recwarn):
    sounds = [("1_C4", Audio(tone(262, 0.5), 16000)), ("2_D4", Audio(np.ones((2, 9)), 8000))]
    assert write_sounds(tmp_path / "a", iter(sounds)) == 2
    assert not recwarn
    for name, audio in sounds:
        written = read_audio(tmp_path / "a" / f"{name}.wav", mono=False)
        assert written.sample_rate == audio.sample_rate
        np.testing.assert_array_equal(written.samples, np.atleast_2d(audio.samples))
    loud = [("3_E4", Audio(np.array([2.0, 1.0]), 8000))]
    with pytest.warns(UserWarning, match=r"a/3_E4\.flac: peaks of \+6\.0 dB .* the whole file was"):
        write_sounds(tmp_path / "a", loud, suffix=".flac")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["1_C4.wav", "2_D4.wav", "3_E4.flac"]

    def failing():
        yield sounds[0]
        raise HarmnmfError("no more")

    with pytest.raises(HarmnmfError, match="no more"):
        write_sounds(tmp_path / "b", failing())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
