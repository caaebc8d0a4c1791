"""Recordings for benchmarks, and alterations that are common in practice.

An altered input is a function of a recording and its notes that returns both after the change. They
share no code with what makes the training data, and are the same in every run.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, correlate, correlation_lags, oaconvolve, sosfilt

from harmnmf import Audio, NoteList, read_notes

SAMPLE_RATE = 16_000
PIANOS = ("ENSTDkCl", "ENSTDkAm")

PHONE_BAND = (150.0, 5500.0)  # Hz
PHONE_SNR = 25.0  # dB
REVERBERATION = 0.6  # seconds until the room has decayed by 60 dB
FIRST_REFLECTION = 0.005  # seconds
DETUNING = -0.35  # semitones
MP3_RATE = 44100  # Hz
MP3_BITS = 64_000  # per second
MAX_DELAY = 0.2  # seconds: no codec delays more
SEED = 0

T = TypeVar("T")
Change = Callable[[Audio, NoteList], tuple[Audio, NoteList]]


def real_recordings(data: Path) -> list[Path]:
    """List the recordings of both Disklaviers, each with its table of notes beside it."""
    return sorted(data.glob("piano/real/*/*.flac"))


def sampled_pianos(data: Path) -> list[Path]:
    """List the folders of recordings of sampled pianos, with tables of notes."""
    return sorted(path for path in (data / "piano/sampled").iterdir() if path.is_dir())


def isolated_notes(data: Path) -> dict[str, list[Path]]:
    """List the recordings of isolated notes of each piano."""
    folders = sorted(path for path in (data / "piano/notes").iterdir() if path.is_dir())
    return {folder.name: sorted(folder.iterdir()) for folder in folders}


def speech_pairs(data: Path, n: int | None = None) -> list[tuple[Path, Path]]:
    """List the clean and noisy recordings of VoiceBank+DEMAND, all or n evenly spaced ones."""
    folder = data / "speech/voicebank_demand_dev"
    clean = sorted((folder / "clean").iterdir())
    chosen = clean if n is None else evenly_spaced(clean, n)
    return [(path, folder / "noisy" / path.name) for path in chosen]


def evenly_spaced(items: Sequence[T], n: int) -> list[T]:
    """Choose at most n items from the first to the last."""
    indices = np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int)
    return [items[i] for i in indices]


def notes_of(recording: Path, duration: float | None = None, *, offset: str = "pedal") -> NoteList:
    """Read the notes of a recording, or of its beginning."""
    notes = read_notes(recording.with_suffix(".tsv"), offset=offset)
    return notes if duration is None else notes.slice(0.0, duration)


def unchanged(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Leave a recording as it is."""
    return audio, notes


def phone(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Record with a phone half a metre away in a furnished room.

    The room adds reverberation as loud as the direct sound, as at its critical distance. The phone
    passes 150 to 5500 Hz (Butterworth, 24 dB an octave) and adds white noise in that band, 25 dB
    below the mean power of what it passes.
    """
    rng = np.random.default_rng(SEED)
    rate = audio.sample_rate
    band = butter(4, PHONE_BAND, "bandpass", fs=rate, output="sos")
    samples = oaconvolve(audio.samples, room_response(rate, rng))[: len(audio.samples)]
    samples = sosfilt(band, samples)
    noise = sosfilt(band, rng.standard_normal(len(samples)))
    noise *= np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-PHONE_SNR / 20)
    return Audio(samples + noise, rate), notes


def room_response(rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Impulse response of a room: 1 for the direct sound, then reflections of total energy 1.

    Reflections are white noise that begins after 5 ms and decays by 60 dB in 0.6 s.
    """
    t = np.arange(round(1.5 * REVERBERATION * rate)) / rate
    response = rng.standard_normal(len(t)) * 10 ** (-3 * t / REVERBERATION)
    response[t < FIRST_REFLECTION] = 0.0
    response /= np.linalg.norm(response)
    response[0] = 1.0
    return response


def detuned(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Lower the pitch by 35 cents by playing the recording 2 % slower."""
    factor = 2 ** (-DETUNING / 12)
    rate = audio.sample_rate
    slower = soxr.resample(audio.samples, rate, rate * factor, quality="HQ")
    columns = (notes.onset * factor, notes.offset * factor, notes.pitch, notes.velocity)
    return Audio(slower, rate), NoteList(*columns, notes.pedal * factor)


def mp3(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Compress to an MP3 of 64 kbit/s at 44.1 kHz, decompress, and remove the codec's delay."""
    original = audio.resample(MP3_RATE).samples
    file = io.BytesIO()
    # libsndfile spreads its levels from 0 to 1 over the constant rates of MPEG-1, 320 to 32.
    level = (320_000 - MP3_BITS) / (320_000 - 32_000)
    options = {"bitrate_mode": "CONSTANT", "compression_level": level}
    soundfile.write(file, original, MP3_RATE, "MPEG_LAYER_III", format="MP3", **options)
    # Frames of 26 ms: one more for the header, some for the encoder's delay and the last one.
    bits = 8 * file.tell() / (len(original) / MP3_RATE + 3 * 1152 / MP3_RATE)
    if not 0.95 < bits / MP3_BITS < 1.05:
        raise RuntimeError(f"the MP3 has {bits:.0f} bits a second, not {MP3_BITS}")
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return Audio(aligned(decoded, original), MP3_RATE), notes


def aligned(delayed: NDArray[np.float32], original: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove a delay of up to 0.2 s, as found by correlation, and cut to the original's length."""
    correlation = correlate(delayed, original, method="fft")
    lags = correlation_lags(len(delayed), len(original))
    is_possible = (lags >= 0) & (lags <= MAX_DELAY * MP3_RATE)
    delay = lags[is_possible][correlation[is_possible].argmax()]
    moved = delayed[delay : delay + len(original)]
    return np.pad(moved, (0, len(original) - len(moved)))


INPUTS: dict[str, Change] = {
    "as it is": unchanged,
    "phone": phone,
    "35 cents flat": detuned,
    "MP3, 64 kbit/s": mp3,
}
