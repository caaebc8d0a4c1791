"""Corpus of broken and unusual audio files, with the expected result of each.

All contain the same tone, so that readable parts are easy to check. Tests read them one by one;
`benchmarks.robustness` runs commands on all.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

HZ = 440.0
SECONDS = 2.0
RATE = 44_100
# Duration and rate of the truncated files.
CUT_SECONDS = 20
CUT_RATE = 16_000
# Options of each kind of truncated file.
ENCODINGS: dict[str, dict[str, object]] = {
    "wav": {},
    "flac": {},
    "mp3": {},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
NO_AUDIO = "is not audio in a format that can be read; convert it to WAV or FLAC"
NO_SAMPLES = "is too short: it has no samples in the part to read; choose a longer recording"
BAD_RATE = r"its sample rate \d+ Hz is not a whole number from 1000 to 768000"

_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)


@dataclass(frozen=True)
class Case:
    """A file, and the expected result of reading it.

    Parameters
    ----------
    name : str
        Name of the file; no two of a corpus have the same stem.
    make : callable
        Writes the file to a path.
    error : str, optional
        Regular expression of the error, after the file's name; None if it can be read.
    seconds : tuple of float
        Shortest and longest duration of the readable part.
    hz : float, optional
        Frequency of the tone; None if there is none.
    listed : bool, default=True
        Whether a search of the folder finds it.
    errors : mapping of str to str, optional
        Errors of commands that differ from `error`.
    """

    name: str
    make: Callable[[Path], object]
    error: str | None = None
    seconds: tuple[float, float] = (SECONDS - 0.01, SECONDS + 0.1)
    hz: float | None = HZ
    listed: bool = True
    errors: Mapping[str, str] = field(default_factory=dict)


def tone(rate: int = RATE, seconds: float = SECONDS, n_channels: int = 1) -> NDArray[np.float64]:
    """Tone at half of full scale, shape (n_samples, n_channels)."""
    t = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * k * HZ * t) / k for k in (1, 2, 3) if k * HZ < rate / 2)
    return np.tile(0.3 * np.asarray(sound)[:, None], n_channels)


def corpus() -> list[Case]:
    """List all files, without writing them."""
    return [
        *_truncated(), *_headers(), *_samples(), *_rates(), *_other_contents(), *_names(),
        *_no_files(),
    ]  # fmt: skip


def _write(path: Path, samples: NDArray[np.floating], rate: int = RATE, **options: object) -> None:
    # soundfile cannot encode a name that is not in the file system's encoding.
    with open(path, "wb") as file:
        format_ = options.pop("format", path.suffix[1:].upper())
        soundfile.write(file, samples, rate, format=format_, **options)


def _bytes_case(name: str, content: bytes, error: str | None = None, **result: Any) -> Case:
    return Case(name, lambda path: path.write_bytes(content), error, **result)


def _truncated() -> Iterator[Case]:
    """Files truncated at each tenth of their length."""
    for suffix in ENCODINGS:
        content = _encoded(suffix)
        for tenth in range(1, 10):
            yield _bytes_case(
                f"{suffix} cut off at {tenth} tenths.{suffix}",
                content[: len(content) * tenth // 10],
                seconds=(CUT_SECONDS * tenth / 10 - 1.2, CUT_SECONDS * tenth / 10 + 0.2),
            )


@cache
def _encoded(suffix: str) -> bytes:
    # Noise makes compressed data grow evenly with time.
    noise = np.random.default_rng(0).normal(0, 0.02, (CUT_SECONDS * CUT_RATE, 1))
    file = io.BytesIO()
    options = {"format": suffix.upper(), **ENCODINGS[suffix]}
    soundfile.write(file, tone(CUT_RATE, CUT_SECONDS) + noise, CUT_RATE, **options)
    return file.getvalue()


def _wav(
    data: bytes | None = None,
    *,
    tag: int = 1,
    n_channels: int = 1,
    rate: int = RATE,
    block: int = 2,
    bits: int = 16,
    riff_size: int | None = None,
    fmt_size: int = 16,
    data_size: int | None = None,
    chunks: tuple[str, ...] = ("fmt ", "data"),
) -> bytes:
    """Build a WAV file with any header."""
    data = _pcm() if data is None else data
    data_size = len(data) if data_size is None else data_size
    fmt = struct.pack("<HHIIHH", tag, n_channels, rate, rate * block % 2**32, block, bits)
    parts = {
        "fmt ": b"fmt " + struct.pack("<I", fmt_size) + fmt,
        "data": b"data" + struct.pack("<I", data_size) + data,
        "junk": b"junk" + struct.pack("<I", 2**32 - 2) + bytes(2),
        "LIST": b"LIST" + struct.pack("<I", 2**31) + b"INFO",
    }
    body = b"WAVE" + b"".join(parts[name] for name in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def _pcm() -> bytes:
    return (tone() * 32767).astype("<i2").tobytes()


def _flac(n_samples: int) -> bytes:
    """Build a FLAC file whose header claims a length."""
    file = io.BytesIO()
    soundfile.write(file, tone(), RATE, format="FLAC")
    content = bytearray(file.getvalue())
    # The length has 36 bits, of which the first four share their byte with the sample's size.
    content[21] = content[21] & 0xF0 | n_samples >> 32
    content[22:26] = (n_samples & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(content)


def _headers() -> Iterator[Case]:
    """Files with wrong or unusual headers."""
    yield _bytes_case("RIFF of size 0.wav", _wav(riff_size=0))
    yield _bytes_case("RIFF of the largest size.wav", _wav(riff_size=2**32 - 1))
    yield _bytes_case("data of size 0.wav", _wav(data_size=0))
    yield _bytes_case("data of the largest size.wav", _wav(data_size=2**32 - 1))
    yield _bytes_case("data of an odd size.wav", _wav(data_size=len(_pcm()) + 1))
    yield _bytes_case(
        "half of the data.wav", _wav(_pcm()[: RATE * 2], data_size=len(_pcm())), seconds=(1.0, 1.0)
    )
    yield _bytes_case("no channels.wav", _wav(n_channels=0), NO_AUDIO)
    yield _bytes_case("65535 channels.wav", _wav(n_channels=65535), NO_AUDIO)
    yield _bytes_case(
        "1024 channels.wav", _wav(n_channels=1024, block=2048), hz=None, seconds=(0, 0.1)
    )
    yield _bytes_case(
        "two channels that are one.wav", _wav(n_channels=2, block=4), seconds=(1.0, 1.0), hz=2 * HZ
    )
    yield _bytes_case("no bits.wav", _wav(bits=0), NO_AUDIO)
    yield _bytes_case("blocks of nothing.wav", _wav(block=0))
    yield _bytes_case("no sample rate.wav", _wav(rate=0), NO_AUDIO)
    yield _bytes_case("the highest sample rate.wav", _wav(rate=2**32 - 1), NO_AUDIO)
    yield _bytes_case("an unknown code.wav", _wav(tag=0x1234), NO_AUDIO)
    yield _bytes_case("a large description.wav", _wav(fmt_size=2**31), NO_AUDIO)
    yield _bytes_case("no description.wav", _wav(chunks=("data",)), NO_AUDIO)
    yield _bytes_case("no data.wav", _wav(chunks=("fmt ",)), NO_AUDIO)
    yield _bytes_case("data before the description.wav", _wav(chunks=("data", "fmt ")))
    yield _bytes_case("endless junk.wav", _wav(chunks=("fmt ", "junk", "data")), NO_AUDIO)
    yield _bytes_case("an endless list.wav", _wav(chunks=("fmt ", "LIST", "data")), NO_AUDIO)
    yield _bytes_case("only RIFF.wav", b"RIFF", NO_AUDIO)
    yield _bytes_case("only a name.flac", b"fLaC", NO_AUDIO)
    yield _bytes_case("weeks.flac", _flac(2**36 - 1))
    yield _bytes_case("no length.flac", _flac(0))
    yield _bytes_case("only a tag.mp3", b"ID3\4\0\0\x7f\x7f\x7f\x7f", NO_AUDIO)
    yield _bytes_case("only a page.ogg", b"OggS" + bytes(24), NO_AUDIO)


def _samples() -> Iterator[Case]:
    """Files with all kinds of samples, some of them invalid."""

    def case(
        name: str,
        samples: NDArray[np.floating],
        subtype: str,
        error: str | None = None,
        **result: object,
    ) -> Case:
        return Case(name, partial(_write, samples=samples, subtype=subtype), error, **result)  # type: ignore[arg-type]

    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"):
        yield case(f"{subtype}.wav", tone(), subtype)
    for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610"):
        yield case(f"{subtype}.wav", tone(), subtype)
    yield case("8 channels.wav", tone(n_channels=8), "PCM_16")
    yield case("8 channels in FLAC.flac", tone(n_channels=8), "PCM_16")
    yield case("over full scale.wav", 30 * tone(), "FLOAT")
    yield case("clipped.wav", 30 * tone(), "PCM_16")
    yield case("constant.wav", np.full(2 * RATE, 0.5), "FLOAT", hz=None)
    yield case("silent.wav", np.zeros(2 * RATE), "FLOAT", hz=None)
    yield case("no samples.wav", np.zeros(0), "PCM_16", NO_SAMPLES)
    # Resampled to a lower rate, it has no samples left.
    yield case(
        "one sample.wav",
        np.ones(1),
        "PCM_16",
        hz=None,
        seconds=(0, 0.001),
        errors={"transcribe": NO_SAMPLES},
    )
    yield case("two samples.wav", np.ones(2), "PCM_16", hz=None, seconds=(0, 0.001))
    for name, value in (("NaN", np.nan), ("infinite", np.inf), ("less than infinite", -np.inf)):
        samples = tone()
        samples[-1] = value
        yield case(
            f"{name}.wav", samples, "FLOAT", "contains NaN or infinite samples; export it again"
        )


def _rates() -> Iterator[Case]:
    """Files of valid and invalid sample rates."""
    for rate in (1, 8, 999, 1000, 1001, 8000, 11_025, 96_000, 192_000, 384_000, 768_000, 768_001):
        is_wrong = not 1000 <= rate <= 768_000
        samples = tone(rate) if not is_wrong else np.zeros((100, 1))
        yield Case(
            f"{rate} Hz.wav",
            partial(_write, samples=samples, rate=rate),
            BAD_RATE if is_wrong else None,
        )


def _other_contents() -> Iterator[Case]:
    """Files whose content does not match their name."""
    yield _bytes_case("text.wav", b"These are words, and not a recording.\n" * 100, NO_AUDIO)
    yield _bytes_case("page.mp3", b"<!doctype html><title>404</title>" * 100, NO_AUDIO)
    yield _bytes_case("picture.flac", _PNG, NO_AUDIO)
    yield _bytes_case("zeros.mp3", bytes(10_000), NO_AUDIO)
    yield _bytes_case("noise.ogg", np.random.default_rng(0).bytes(10_000), NO_AUDIO)
    yield _bytes_case("empty.opus", b"", r"is empty \(0 bytes\); record or copy it again")
    yield Case("MP3 as WAV.wav", partial(_write, samples=tone(), format="MP3"))
    yield Case("WAV as MP3.mp3", partial(_write, samples=tone(), format="WAV"))
    yield Case("FLAC as Opus.opus", partial(_write, samples=tone(), format="FLAC"))


def _names() -> Iterator[Case]:
    """Files with difficult names."""
    make = partial(_write, samples=tone())
    names = [
        "new\nline.wav", "two  spaces.wav", "-o.wav", "[a-z]*?.wav", "'quoted\".wav", "%s {}.wav",
        "ピアノ 🎹.wav", "e\u0301 é.wav", "\x1b[31mred.wav", "upper case.WAV", "dots...wav",
        os.fsdecode(b"not UTF-8 \xff\xfe.wav"),
    ]  # fmt: skip
    for name in names:
        yield Case(name, make)
    too_long = r"cannot be written \(File name too long\); choose another name"
    yield Case("n" * 246 + ".wav", make, errors={"enhance": too_long})


def _no_files() -> Iterator[Case]:
    """Paths that are not files."""
    yield Case("pipe.wav", os.mkfifo, r"cannot be opened \(a pipe or a device, not a file\)")
    yield Case(
        "broken link.wav", lambda path: path.symlink_to("nowhere"), "no such file; check the name"
    )
    yield Case(
        "link to itself.wav",
        lambda path: path.symlink_to(path.name),
        r"cannot be opened \(Too many levels of symbolic links\)",
    )
    yield Case("folder.wav", Path.mkdir, "is a folder; name an audio file", listed=False)
    yield Case(
        "circle", lambda path: path.symlink_to("."), "is a folder; name an audio file", listed=False
    )
    if os.geteuid():

        def lock(path: Path) -> None:
            _write(path, tone())
            path.chmod(0)

        yield Case("locked.wav", lock, r"cannot be opened \(Permission denied\)")
