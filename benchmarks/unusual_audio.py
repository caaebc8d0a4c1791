"""Recordings of one piece in the formats, states and arrangements in which people have them.

Each is the beginning of the example with known notes: in the containers and codecs of phones,
cameras and shops; damaged; under a wrong suffix; with opposite or missing channels; and with the
music late in the file. `benchmarks.robustness` reads and transcribes them all.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from harmnmf import NoteList, read_audio, read_notes

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples/example.flac"
SPEECH = ROOT / "tests/data/speech.flac"
SECONDS = 12.0  # as the files in the reports of users
RATE = 44_100
LATE = 190.0  # seconds; longer than what a transcription is calibrated on
SEED = 0

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """A file with the music.

    Parameters
    ----------
    name : str
        Name of the file; no two have the same stem.
    make : callable
        Writes the file to a path.
    onset : float, default=0.0
        Seconds at which the music begins.
    is_whole : bool, default=True
        Whether nothing is cut off or destroyed, which a warning has to say.
    is_clean : bool, default=True
        Whether the music sounds as in the original, so that the same notes can be expected.
    """

    name: str
    make: Callable[[Path], object]
    onset: float = 0.0
    is_whole: bool = True
    is_clean: bool = True


def music(rate: int = RATE) -> Samples:
    """Read the music, shape (2, n_samples): the right channel is half as loud as the left."""
    samples = read_audio(EXAMPLE, sample_rate=rate, duration=SECONDS).samples
    return np.stack([samples, 0.5 * samples])


@cache
def reference() -> NoteList:
    """Read the notes of the music."""
    return read_notes(ROOT / "examples/reference.mid").slice(0.0, SECONDS)


def encoded(
    samples: Samples, codec: str, container: str, *, rate: int = RATE, is_video: bool = False,
    options: dict[str, str] | None = None, stream_options: dict[str, str] | None = None,
) -> bytes:  # fmt: skip
    """Encode samples of shape (n_channels, n_samples), beside a black video if asked."""
    if codec == "vorbis":  # FFmpeg's own encoder is experimental
        file = io.BytesIO()
        soundfile.write(file, samples.T, rate, "VORBIS", format="OGG")
        return file.getvalue()
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=container, options=options or {}) as output,
    ):
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
        sound = output.add_stream(codec, rate=rate, layout=layout, options=stream_options or {})
        sound.bit_rate = 12_200 if "amr" in codec else 128_000
        if is_video:
            video = output.add_stream("mpeg4", rate=5)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for i in range(5 * samples.shape[1] // rate):
                picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
                picture.pts, picture.time_base = i, Fraction(1, 5)
                output.mux(video.encode(picture))
            output.mux(video.encode())
        for start in range(0, samples.shape[1], 4096):
            block = np.ascontiguousarray(samples[:, start : start + 4096])
            frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(sound.encode(frame))
        output.mux(sound.encode())
        output.close()
        return Path(file.name).read_bytes()


def recordings() -> Iterator[Recording]:
    """List the recordings."""
    yield from _formats()
    yield from _wrong_suffixes()
    yield from _damages()
    yield from _channels()
    yield from _placements()


def _formats() -> Iterator[Recording]:
    for suffix, codec, container, rate in (
        ("mp3", "libmp3lame", "mp3", 44_100), ("m4a", "aac", "ipod", 44_100),
        ("mp4", "aac", "mp4", 48_000), ("mov", "aac", "mov", 48_000),
        ("3gp", "aac", "3gp", 32_000), ("aac", "aac", "adts", 44_100),
        ("mkv", "ac3", "matroska", 48_000), ("mka", "flac", "matroska", 44_100),
        ("webm", "libopus", "webm", 48_000), ("opus", "libopus", "opus", 48_000),
        ("ogg", "vorbis", "ogg", 44_100), ("oga", "flac", "oga", 44_100),
        ("wma", "wmav2", "asf", 44_100), ("ac3", "ac3", "ac3", 48_000),
        ("mp2", "mp2", "mp2", 44_100), ("ts", "mp2", "mpegts", 48_000),
        ("avi", "libmp3lame", "avi", 44_100), ("wv", "wavpack", "wv", 44_100),
        ("tta", "tta", "tta", 44_100),
    ):  # fmt: skip
        yield _file(f"{codec} in {container}.{suffix}", codec, container, rate=rate)
    yield _file("alac in ipod.m4a", "alac", "ipod")
    yield _file("alac in caf.caf", "alac", "caf")
    yield _file("video in mp4.mp4", "aac", "mp4", is_video=True)
    yield _file("video in avi.avi", "libmp3lame", "avi", is_video=True)
    yield _file("streamed.mp4", "aac", "mp4", options={"movflags": "frag_keyframe+empty_moov"})
    yield replace(
        _file("old telephone.3gp", "libopencore_amrnb", "3gp", rate=8000, n_channels=1),
        is_clean=False,
    )
    for name, subtype in (
        ("24 bits.wav", "PCM_24"), ("float.wav", "FLOAT"), ("8 bits.wav", "PCM_U8"),
        ("24 bit.flac", "PCM_24"), ("16 bits.aiff", "PCM_16"), ("64 bit sizes.w64", "PCM_16"),
    ):  # fmt: skip
        yield Recording(name, partial(_write, music(), subtype=subtype))


def _wrong_suffixes() -> Iterator[Recording]:
    for name, codec, container in (
        ("m4a.wav", "aac", "ipod"), ("flac.mp3", "flac", "flac"), ("mp3.wav", "libmp3lame", "mp3"),
        ("opus.mp3", "libopus", "ogg"), ("wav.m4a", "pcm_s16le", "wav"),
        ("mp3 in wav.wav", "libmp3lame", "wav"),
    ):  # fmt: skip
        rate = 48_000 if codec == "libopus" else RATE
        yield _file(name, codec, container, rate=rate)


def _damages() -> Iterator[Recording]:
    mp3 = partial(encoded, codec="libmp3lame", container="mp3")
    slow_mp3 = partial(mp3, rate=22_050)
    bare_mp3 = partial(mp3, options={"write_xing": "0", "id3v2_version": "0"})
    tag = b"ID3\3\0\0\0\0\x0f\x76" + bytes(2038)
    vorbis = partial(encoded, codec="vorbis", container="ogg")
    opus = partial(encoded, codec="libopus", container="ogg", rate=48_000)
    aac = partial(encoded, codec="aac", container="adts")
    m4a = partial(encoded, codec="aac", container="ipod", options={"movflags": "+faststart"})
    flac = partial(encoded, codec="flac", container="flac")
    wav = partial(encoded, codec="pcm_s16le", container="wav")
    vbr = {"flags": "+qscale", "global_quality": "472"}

    yield Recording("constant rate without header.mp3", _whole(bare_mp3))
    yield Recording(
        "variable rate without header.mp3", _whole(partial(bare_mp3, stream_options=vbr))
    )
    # Encoders add silence, after which notes that sound seem to begin again.
    for name, first, second in (
        ("joined halves.mp3", mp3, mp3),
        ("joined from two rates.mp3", mp3, slow_mp3),
        ("joined from mono and stereo.mp3", lambda x: mp3(x[:1]), mp3),
        ("tag in the middle.mp3", bare_mp3, lambda x: tag + bare_mp3(x)),
        ("chained halves.ogg", vorbis, vorbis),
        ("joined streams.aac", aac, aac),
    ):
        yield Recording(name, _joined(first, second), is_clean=False)
    yield Recording("chained opus.opus", _joined(opus, opus))
    for size, name in ((0, "zero"), (2**32 - 1, "largest")):
        yield Recording(f"unfinished, size {name}.wav", partial(_unfinished, size=size))
    yield Recording("length unknown.flac", _unknown_length)
    yield Recording("half of mp3.mp3", _half(mp3), is_whole=False)
    yield Recording("half of vorbis.ogg", _half(vorbis), is_whole=False)
    yield Recording("half of aac.m4a", _half(m4a), is_whole=False)
    yield Recording("half of flac.flac", _half(flac), is_whole=False)
    yield Recording("half of wav.wav", _half(wav), is_whole=False)
    yield Recording("zeros in the middle.mp3", _zeros, is_whole=False)


def _channels() -> Iterator[Recording]:
    left, right = music()
    low = sosfiltfilt(butter(2, 400, fs=RATE, output="sos"), left).astype(np.float32)
    silence = np.zeros_like(left)
    rng = np.random.default_rng(SEED)
    noise = (0.01 * rng.standard_normal(len(left))).astype(np.float32)
    for name, *channels in (
        ("opposite channels.wav", left, -left),
        ("opposite channels, one quieter.wav", left, -0.8 * left),
        ("opposite lows.wav", left, left - 2 * low),
        ("one silent channel.wav", silence, left),
        ("one noisy channel.wav", left, noise),
        ("constant in one channel.wav", left, silence + 0.5),
        ("a millisecond apart.wav", left, np.roll(left, 44)),
        ("six channels.wav", left, right, silence, silence, 0.3 * left, 0.3 * right),
        ("four channels, two opposite.wav", left, -left, left, -left),
    ):
        yield Recording(name, partial(_write, np.stack(channels)))
    yield Recording(
        "opposite channels in aac.m4a",
        lambda path: path.write_bytes(encoded(np.stack([left, -left]), "aac", "ipod")),
    )


def _placements() -> Iterator[Recording]:
    rate = 16_000
    sound = music(rate)[0]
    rng = np.random.default_rng(SEED)
    n = round(LATE * rate)
    t = np.arange(n) / rate
    speech = np.resize(read_audio(SPEECH, sample_rate=rate).samples, n)
    speech *= 0.1 / np.sqrt(np.mean(speech**2))
    noise = rng.standard_normal(n)
    before = {
        "zeros": np.zeros(n),
        "noise": 1e-3 * noise,
        "hum": 0.01 * (np.sin(2 * np.pi * 50 * t) + 0.5 * np.sin(2 * np.pi * 150 * t)),
        "speech": speech,
        "applause": 0.05 * noise * (rng.random(n) < 0.02),
    }
    for name, part in before.items():
        samples = np.concatenate([part, sound])
        yield Recording(f"after {name}.flac", partial(_write, samples[None], rate=rate), onset=LATE)
    for name in ("zeros", "speech"):
        samples = np.concatenate([sound, before[name]])
        yield Recording(f"before {name}.flac", partial(_write, samples[None], rate=rate))
    yield Recording("quiet.wav", partial(_write, 10 ** (-40 / 20) * music(), subtype="FLOAT"))
    yield Recording("over full scale.wav", partial(_write, 30 * music(), subtype="FLOAT"))


def _file(
    name: str, codec: str, container: str, *, rate: int = RATE, n_channels: int = 2, **how: Any
) -> Recording:
    encode = partial(encoded, codec=codec, container=container, rate=rate, **how)
    return Recording(name, _whole(encode, n_channels))


def _write(samples: Samples, path: Path, *, rate: int = RATE, subtype: str = "PCM_16") -> None:
    soundfile.write(path, samples.T, rate, subtype)


def _rate(encode: Callable[..., bytes]) -> int:
    return encode.keywords.get("rate", RATE) if isinstance(encode, partial) else RATE


def _whole(encode: Callable[..., bytes], n_channels: int = 2) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(encode(music(_rate(encode))[:n_channels]))


def _joined(first: Callable[..., bytes], second: Callable[..., bytes]) -> Callable[[Path], object]:
    """Write the two halves of the music, encoded apart, one after the other."""

    def make(path: Path) -> None:
        parts = [(encode, music(_rate(encode))) for encode in (first, second)]
        (encode, before), (encode_after, after) = parts
        data = encode(before[:, : before.shape[1] // 2])
        path.write_bytes(data + encode_after(after[:, after.shape[1] // 2 :]))

    return make


def _half(encode: Callable[..., bytes]) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        data = encode(music(_rate(encode)))
        path.write_bytes(data[: len(data) // 2])

    return make


def _zeros(path: Path) -> None:
    data = bytearray(encoded(music(), "libmp3lame", "mp3"))
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)


def _unfinished(path: Path, *, size: int) -> None:
    _write(music(), path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, size)
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    path.write_bytes(data)


def _unknown_length(path: Path) -> None:
    _write(music(), path)
    data = bytearray(path.read_bytes())
    # The last 36 bits of 8 bytes in STREAMINFO, then the MD5 sum.
    data[21] &= 0xF0
    data[22:42] = bytes(20)
    path.write_bytes(data)
