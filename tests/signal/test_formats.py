"""Reading of compressed audio and videos: whole, in part, joined, cut off and damaged."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import warnings
from functools import cache

import av
import numpy as np
import pytest
import soundfile
from encoded_files import decode, encode

from harmnmf import Audio, AudioError, audio_info, read_audio, stream_audio
from harmnmf.signal.audio_folders import AUDIO_SUFFIXES, audio_files

SECONDS = 6.0
# Name, codec, container, sample rate, channels, and whether decoders remove the encoder's delay.
FORMATS = [
    ("a.mp3", "libmp3lame", "mp3", 44100, 1, True),
    ("stereo.mp3", "libmp3lame", "mp3", 22050, 2, True),
    ("a.m4a", "aac", "ipod", 44100, 1, True),
    ("surround.m4a", "aac", "ipod", 48000, 6, True),
    ("seven_one.m4a", "aac", "ipod", 48000, 8, True),
    ("alac.m4a", "alac", "ipod", 44100, 2, True),
    ("a.aac", "aac", "adts", 44100, 1, False),
    ("a.mov", "aac", "mov", 48000, 2, True),
    ("a.3gp", "libopencore_amrnb", "3gp", 8000, 1, False),
    ("a.opus", "libopus", "ogg", 48000, 1, True),
    ("a.ogg", "vorbis", "ogg", 44100, 2, True),
    ("flac.oga", "flac", "ogg", 44100, 1, True),
    ("a.webm", "libopus", "webm", 48000, 2, True),
    ("a.mka", "flac", "matroska", 44100, 1, True),
    ("a.mkv", "aac", "matroska", 44100, 1, False),
    ("a.wma", "wmav2", "asf", 44100, 1, False),
    ("a.ac3", "ac3", "ac3", 48000, 2, False),
    ("a.mp2", "mp2", "mp2", 44100, 1, False),
    ("a.ts", "aac", "mpegts", 44100, 1, False),
    ("alac.caf", "alac", "caf", 44100, 1, True),
    ("mp3.avi", "libmp3lame", "avi", 44100, 1, False),
    ("mp3.wav", "libmp3lame", "wav", 44100, 1, False),
]
NAMES = [name for name, *_ in FORMATS]
# libsndfile reads these.
PLAIN = ["plain.wav", "plain.flac", "plain.aiff", "plain.w64", "plain.caf", "plain.au"]


@cache
def music(rate, n_channels=1):
    """Notes that begin every 0.37 s, each with another pitch; shape (n_samples, n_channels)."""
    t = np.arange(round(SECONDS * rate)) / rate
    number = np.floor(t / 0.37)
    since = t - 0.37 * number
    hz = 220 * 2 ** ((number * 7 % 12) / 12)
    samples = 0.4 * np.sin(2 * np.pi * hz * since) * np.exp(-5 * since)
    return np.stack([samples * 0.9**channel for channel in range(n_channels)], axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file of each format."""
    folder = tmp_path_factory.mktemp("formats")
    for name, codec, container, rate, n_channels, _ in FORMATS:
        encode(folder / name, music(rate, n_channels), rate, codec, container)
    for name in PLAIN:
        soundfile.write(folder / name, music(44100, 2), 44100, subtype="PCM_16")
    return folder


def read_quietly(path, **options):
    """Read with no warning allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_audio(path, mono=False, **options)


def delay(samples, expected):
    """Number of samples by which some are late."""
    n = 1 << (len(samples) + len(expected)).bit_length()
    product = np.fft.rfft(samples, n) * np.conj(np.fft.rfft(expected, n))
    lag = int(np.fft.irfft(product, n).argmax())
    return lag if lag < n // 2 else lag - n


@pytest.mark.parametrize(("name", "rate", "n_channels", "has_no_delay"), [
    (name, rate, n_channels, has_no_delay)
    for name, _, _, rate, n_channels, has_no_delay in FORMATS
])  # fmt: skip
def test_formats_are_read_as_ffmpeg_reads_them(folder, name, rate, n_channels, has_no_delay):
    audio = read_quietly(folder / name)
    assert (audio.sample_rate, audio.n_channels) == (rate, n_channels)
    assert audio.duration == pytest.approx(SECONDS, abs=0.06)
    if n_channels < 8:  # PyAV makes no arrays of more
        expected, _ = decode(folder / name)
        np.testing.assert_array_equal(audio.samples, expected.T)
    if has_no_delay:
        assert delay(audio.samples[0], music(rate)[:, 0]) == 0
    info = audio_info(folder / name)
    assert (info.sample_rate, info.n_channels) == (rate, n_channels)
    assert info.duration == pytest.approx(SECONDS, rel=0.1)


@pytest.mark.parametrize("name", [*NAMES, *PLAIN])
def test_a_part_equals_that_of_the_whole(folder, name):
    whole = read_quietly(folder / name)
    rate = whole.sample_rate
    for offset, duration in ((0.013, 0.5), (1.7, 0.25), (4.321, 0.5), (5.5, None)):
        part = read_quietly(folder / name, offset=offset, duration=duration).samples
        expected = whole.samples[:, round(offset * rate) :]
        if duration is not None:
            expected = expected[:, : round(duration * rate)]
        np.testing.assert_array_equal(part, expected)
        blocks = list(
            stream_audio(
                folder / name, mono=False, offset=offset, duration=duration, block_duration=0.1
            )
        )
        assert {block.shape[1] for block in blocks[:-1]} == {round(0.1 * rate)}
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), expected)
    with pytest.raises(AudioError, match="no samples in the part"):
        read_audio(folder / name, offset=99)


@pytest.mark.parametrize("codec", ["alac", "aac"])
def test_a_part_far_from_the_beginning(tmp_path, codec):
    path = encode(tmp_path / "a.m4a", np.tile(music(16000), (13, 1)), 16000, codec, "ipod")
    whole = read_quietly(path).samples
    for offset, duration in ((61.2345, 0.5), (75.1, None)):
        part = read_quietly(path, offset=offset, duration=duration).samples
        expected = whole[:, round(offset * 16000) :][:, : part.shape[1]]
        assert part.shape[1] == (8000 if duration else whole.shape[1] - round(offset * 16000))
        # AAC fills bands with noise that depends on what has been decoded.
        np.testing.assert_allclose(part, expected, atol=0.0 if codec == "alac" else 0.02)
        assert np.corrcoef(part[0], expected[0])[0, 1] > 0.999


def test_the_content_decides_not_the_name(folder, tmp_path):
    for number, name in enumerate([*NAMES, *PLAIN]):
        suffix = (".wav", ".mp3", ".flac", ".m4a", ".txt")[number % 5]
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes((folder / name).read_bytes())
        np.testing.assert_array_equal(
            read_quietly(path).samples, read_quietly(folder / name).samples
        )


@pytest.mark.parametrize("name", ["a.mp3", "a.aac", "plain.flac", "plain.wav"])
@pytest.mark.parametrize("size", [1000, 1_200_000])
def test_tags_at_the_beginning(folder, tmp_path, name, size):
    digits = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\3\0\0" + digits + bytes(size)
    (tmp_path / "a").write_bytes(tag + (folder / name).read_bytes())
    np.testing.assert_array_equal(
        read_quietly(tmp_path / "a").samples, read_quietly(folder / name).samples
    )


@pytest.mark.parametrize(
    "name",
    ["a.mp3", "a.aac", "a.opus", "a.ogg", "flac.oga", "a.ac3", "a.mp2", "a.ts", "plain.flac",
     "mp3.avi"],
)  # fmt: skip
def test_joined_files_are_read_to_the_end(folder, tmp_path, name):
    content = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(3 * content)
    one = read_quietly(folder / name)
    audio = read_quietly(tmp_path / name)
    assert audio.duration == pytest.approx(3 * one.duration, abs=0.15)
    late = read_quietly(tmp_path / name, offset=2 * SECONDS + 1, duration=2.0)
    rate = audio.sample_rate
    np.testing.assert_array_equal(
        late.samples, audio.samples[:, round(13 * rate) : round(13 * rate) + 2 * rate]
    )


def test_joined_files_of_other_rates_and_channels(tmp_path):
    paths = [
        encode(tmp_path / f"{rate}.mp3", music(rate, n_channels), rate, "libmp3lame", "mp3")
        for rate, n_channels in ((44100, 2), (22050, 1), (32000, 2))
    ]
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(path.read_bytes() for path in paths))
    audio = read_quietly(joined)
    assert (audio.sample_rate, audio.n_channels) == (44100, 2)
    assert audio.duration == pytest.approx(3 * SECONDS, abs=0.2)
    # The parts follow each other, at the level and pitch that they have.
    expected = np.concatenate([music(44100)[:, 0]] * 3)
    for start in (0, 6, 12):
        part = slice(44100 * start + 8000, 44100 * start + 200_000)
        samples = audio.samples[0, part]
        assert np.std(samples) == pytest.approx(np.std(expected[part]), rel=0.1)


@pytest.mark.parametrize(
    ("codec", "layouts"),
    [
        ("vorbis", [(44100, 2), (22050, 2), (44100, 2)]),
        ("vorbis", [(22050, 2), (44100, 2)]),
        ("libopus", [(48000, 1), (48000, 2)]),
        ("flac", [(44100, 1), (16000, 2)]),
    ],
)
def test_chained_ogg_of_other_rates_and_channels(tmp_path, codec, layouts):
    parts = [
        encode(tmp_path / "part.ogg", music(*layout), layout[0], codec, "ogg").read_bytes()
        for layout in layouts
    ]
    (tmp_path / "a.ogg").write_bytes(b"".join(parts))
    audio = read_quietly(tmp_path / "a.ogg")
    rate = audio.sample_rate
    assert (rate, audio.n_channels) == layouts[0]
    assert audio.duration == pytest.approx(SECONDS * len(parts), abs=0.06)
    for number in range(len(parts)):
        part = audio.samples[0, round(SECONDS * number * rate) :][: 5 * rate]
        assert delay(part, music(rate)[: 5 * rate, 0]) == pytest.approx(0, abs=0.03 * rate)


@pytest.mark.parametrize("name", ["a.m4a", "plain.wav", "plain.aiff", "a.mov"])
def test_a_file_behind_the_end_of_another_is_named(folder, tmp_path, name):
    (tmp_path / name).write_bytes(2 * (folder / name).read_bytes())
    with pytest.warns(UserWarning, match=r"another recording follows.*6\.0 s were read; split it"):
        assert read_audio(tmp_path / name).duration == pytest.approx(SECONDS, abs=0.06)


def test_mp3_without_a_header_of_its_length(tmp_path):
    rate = 44100
    # Silence needs few bits, and music many, so that estimates from the first frames are wrong.
    for number, parts in enumerate(([0, 1], [1, 0])):
        samples = np.concatenate([part * music(rate) for part in parts])
        path = encode(
            tmp_path / f"{number}.mp3", samples, rate, "libmp3lame", "mp3", write_xing="0"
        )
        assert read_quietly(path).duration == pytest.approx(2 * SECONDS, abs=0.06)
        part = read_quietly(path, offset=9.0, duration=1.0)
        np.testing.assert_array_equal(
            part.samples, read_quietly(path).samples[:, 9 * rate : 10 * rate]
        )


CUT = [
    "a.mp3", "a.opus", "a.ogg", "flac.oga", "a.webm", "a.mka", "fast.m4a", "a.wma", "plain.wav",
    "plain.flac", "plain.aiff", "plain.w64", "plain.au",
]  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_a_truncated_file_is_named_with_the_seconds_that_were_read(folder, tmp_path, name):
    if name == "fast.m4a":  # the index comes first
        source = encode(
            tmp_path / "whole.m4a", music(44100), 44100, "aac", "ipod", movflags="+faststart"
        )
    else:
        source = folder / name
    content = source.read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=rf"{name}: is truncated.* \d\.\d s ") as caught:
        seconds = read_audio(tmp_path / name).duration
    assert 1.5 < seconds < 4.6
    assert f" {seconds:.1f} s" in str(caught[0].message)
    assert len(caught) == 1


def test_an_mp4_without_its_index(folder, tmp_path):
    content = (folder / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"a\.m4a: was never finished, or is cut off: its index"):
        read_audio(tmp_path / "a.m4a")


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.webm", "a.wma", "plain.flac", "a.opus"])
def test_damage_is_passed_over_and_named(folder, tmp_path, name):
    content = bytearray((folder / name).read_bytes())
    start, stop = len(content) * 3 // 10, len(content) * 4 // 10
    content[start:stop] = bytes(stop - start)
    (tmp_path / name).write_bytes(content)
    with pytest.warns(
        UserWarning, match=r"is truncated or damaged: \d\.\d s of \d\.\d s were read"
    ):
        seconds = read_audio(tmp_path / name).duration
    assert 1.5 < seconds < 5.7


def wav_header(path, **sizes):
    content = bytearray(path.read_bytes())
    for name, size in sizes.items():
        place = content.index(name.encode()) + 4
        content[place : place + 4] = struct.pack("<I", size % 2**32)
    path.write_bytes(content)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"RIFF": 0, "data": 0},
        {"RIFF": 36, "data": 0},
        {"RIFF": -1, "data": -1},
        {"RIFF": 0x7FFFFFFF, "data": 0x7FFFF000},
        {"RIFF": 0x80000024, "data": 0x80000000},
        {"RIFF": 30036, "data": 30000},
    ],
    ids=["zero", "zero data", "largest", "arecord", "2 GB", "early"],
)
def test_wav_that_was_never_finished(tmp_path, sizes, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, music(16000, 2), 16000, subtype=subtype)
    expected = read_quietly(path).samples
    wav_header(path, **sizes)
    np.testing.assert_array_equal(read_quietly(path).samples, expected)
    np.testing.assert_array_equal(
        read_quietly(path, offset=2.0, duration=1.0).samples, expected[:, 32000:48000]
    )


@pytest.mark.parametrize(
    "chunk", [b"LIST\x08\0\0\0INFOabcd", b"id3 \x04\0\0\0abcd", b"TAG" + bytes(125)], ids=repr
)
def test_chunks_behind_the_samples_are_no_sound(tmp_path, chunk):
    path = tmp_path / "a.wav"
    soundfile.write(path, music(16000), 16000)
    expected = read_quietly(path).samples
    path.write_bytes(path.read_bytes() + chunk)
    np.testing.assert_array_equal(read_quietly(path).samples, expected)


def test_wav_that_is_longer_than_its_sizes_can_say(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((10, 2)), 48000)
    size = 2**32 + 4_000_000
    wav_header(path, RIFF=size + 36, data=size)  # modulo 2**32
    with open(path, "r+b") as file:
        file.truncate(size + 44)  # takes no space on the disk
    assert read_audio(path, offset=size / 4 / 48000 - 1).duration == pytest.approx(1.0)


PLAYLISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:7\n#EXTINF:6.0,\n{0}/a.ts\n#EXT-X-ENDLIST\n",
    "a.mp3": "#EXTM3U\n#EXT-X-TARGETDURATION:7\n#EXTINF:6.0,\nfile:{0}/a.ts\n#EXT-X-ENDLIST\n",
    "a.m3u": "{0}/a.mp3\n",
    "a.ffconcat": "ffconcat version 1.0\nfile {0}/a.mp3\n",
    "a.wav": "ffconcat version 1.0\nfile {0}/a.mp3\n",
    "a.sdp": "v=0\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "a.pls": "[playlist]\nFile1={0}/a.mp3\nNumberOfEntries=1\n",
    "a.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a.srt": "1\n00:00:01,000 --> 00:00:02,000\nwords\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_files_that_name_others_are_not_followed(folder, tmp_path, name):
    (tmp_path / name).write_text(PLAYLISTS[name].format(folder))
    with pytest.raises(AudioError, match="is not audio in a format that can be read"):
        read_audio(tmp_path / name)


def test_files_without_sound(folder, tmp_path):
    with av.open(str(tmp_path / "silent.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    (tmp_path / "a.m4p").write_bytes((folder / "a.m4a").read_bytes().replace(b"mp4a", b"drms"))
    for name, message in (
        ("silent.mp4", "has no sound, only a picture"),
        ("a.m4p", "is protected against copying"),
        ("https://example.org/a.mp3", "is an address on the web; download it"),
    ):
        path = name if "://" in name else str(tmp_path / name)
        with pytest.raises(AudioError, match=f"{re.escape(path)}: {message}"):
            read_audio(path)


def test_sound_of_a_video_that_is_longer(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        video = file.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = file.add_stream("pcm_s16le", rate=16000, layout="mono")
        packed = (music(16000) * 32767).astype(np.int16).reshape(1, -1)
        sound = av.AudioFrame.from_ndarray(packed, "s16", "mono")
        sound.sample_rate = 16000
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        for number in range(250):
            picture.pts = number
            for packet in video.encode(picture):
                file.mux(packet)
        for packet in [*video.encode(None), *audio.encode(sound), *audio.encode(None)]:
            file.mux(packet)
    assert read_quietly(tmp_path / "a.mkv").duration == SECONDS


def test_random_damage_raises_audio_errors_only(folder, tmp_path, capfd):
    rng = np.random.default_rng(0)
    for name in [*NAMES, *PLAIN]:
        for _ in range(4):
            content = bytearray((folder / name).read_bytes())
            for place in rng.integers(0, min(len(content), 5000), 10):
                content[place] = rng.integers(256)
            (tmp_path / name).write_bytes(content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    n_samples = sum(map(len, stream_audio(tmp_path / name, sample_rate=16000)))
                    assert n_samples < 100 * 16000
                except AudioError as error:
                    assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


def test_ffmpeg_is_loaded_for_files_that_need_it_only(folder):
    program = (
        "import sys; from harmnmf import read_audio; read_audio(sys.argv[1]); "
        "print('av' in sys.modules)"
    )
    for name, is_loaded in (("plain.wav", "False"), ("plain.flac", "False"), ("a.m4a", "True")):
        command = [sys.executable, "-c", program, str(folder / name)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (result.stdout.strip(), result.stderr) == (is_loaded, "")


def test_folders_hold_audio_of_all_these_names(tmp_path):
    for suffix in AUDIO_SUFFIXES:
        (tmp_path / f"a{suffix}").touch()
        (tmp_path / f"B{suffix.upper()}").touch()
    for name in ("cover.jpg", "notes.txt", "a.mid", "a.m3u", "a.pdf"):
        (tmp_path / name).touch()
    found = audio_files(tmp_path)
    assert len(found) == 2 * len(AUDIO_SUFFIXES)
    assert {".m4a", ".mp4", ".webm", ".3gp", ".wma", ".mka", ".opus"} < {
        path.suffix for path in found
    }


def test_mono_of_a_stereo_video(folder):
    mono = read_audio(folder / "a.mov")
    stereo = read_audio(folder / "a.mov", mono=False)
    np.testing.assert_allclose(mono.samples, stereo.samples.mean(axis=0), atol=1e-7)
    assert isinstance(mono, Audio)
