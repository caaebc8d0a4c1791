"""Recordings for benchmarks, and alterations that are common in practice.

The annotations of the real recordings precede their sound, and transcribed onsets lie on it: before
they are compared, `on_sound` moves the annotations by one constant for all recordings.

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
from harmnmf.signal.audio_folders import audio_files

SAMPLE_RATE = 16_000
PIANOS = ("ENSTDkCl", "ENSTDkAm")
# Seconds from the annotated onsets of the real recordings to the sound. Their medians on ENSTDkCl
# and ENSTDkAm are 8 and 25 ms where the energy of the partials rises, and 18 and 37 ms as MAPS's
# users report. The constant was chosen on these recordings, in the first version of the benchmarks.
ANNOTATION_LEAD = 0.02

PHONE_BAND = (150.0, 5500.0)  # Hz
PHONE_SNR = 25.0  # dB
# Seconds until a furnished room, and the halls, have decayed by 60 dB.
ROOM_REVERBERATION = 0.6
HALL_REVERBERATION = (1.6, 2.5)
FIRST_REFLECTION = 0.005  # seconds
ECHO_DELAY, ECHO_DB = 0.25, -8.0  # seconds, dB
NOISE_SNR = (20.0, 10.0, 5.0)  # dB
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


def other_sounds(data: Path) -> list[Path]:
    """List recordings of speech, rooms and streets whose licence allows training."""
    folders = ("speech/clean", "speech/noise/demand", "speech/noise/esc10")
    return [path for folder in folders for path in audio_files(data / folder)]


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


def on_sound(notes: NoteList) -> NoteList:
    """Move annotated notes of the real recordings later, to their sound.

    Moving transcribed notes earlier instead would cut those at the beginning of the recording.
    """
    return notes.shift(ANNOTATION_LEAD)


def unchanged(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Leave a recording as it is."""
    return audio, notes


def phone(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Record with a phone half a metre away in a furnished room.

    The room adds reverberation of 0.6 s as loud as the direct sound, as at its critical distance.
    The phone passes 150 to 5500 Hz (Butterworth, 24 dB an octave) and adds white noise in that
    band, 25 dB below the mean power of what it passes.
    """
    rng = np.random.default_rng(SEED)
    rate = audio.sample_rate
    band = butter(4, PHONE_BAND, "bandpass", fs=rate, output="sos")
    response = room_response(rate, ROOM_REVERBERATION, rng)
    samples = oaconvolve(audio.samples, response)[: len(audio.samples)]
    samples = sosfilt(band, samples)
    noise = sosfilt(band, rng.standard_normal(len(samples)))
    return Audio(add_noise(samples, noise, PHONE_SNR), rate), notes


def hall(reverberation: float) -> Change:
    """Change that plays a recording in a hall, whose reverberation is as loud as the recording.

    Parameters
    ----------
    reverberation : float
        Seconds until the hall has decayed by 60 dB.

    Returns
    -------
    callable
        From a recording and its notes to both after the change.
    """

    def change(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
        rate = audio.sample_rate
        response = room_response(rate, reverberation, np.random.default_rng(SEED))
        return Audio(oaconvolve(audio.samples, response)[: len(audio.samples)], rate), notes

    return change


def room_response(rate: int, reverberation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Impulse response of a room: 1 for the direct sound, then reflections of total energy 1.

    Reflections are white noise that begins after 5 ms and decays by 60 dB in `reverberation`
    seconds.
    """
    t = np.arange(round(1.5 * reverberation * rate)) / rate
    response = rng.standard_normal(len(t)) * 10 ** (-3 * t / reverberation)
    response[t < FIRST_REFLECTION] = 0.0
    response /= np.linalg.norm(response)
    response[0] = 1.0
    return response


def echo(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Repeat the recording once, 0.25 s later and 8 dB softer, as a wall far away does."""
    delay = round(ECHO_DELAY * audio.sample_rate)
    later = np.pad(audio.samples, (delay, 0))[: len(audio.samples)]
    return Audio(audio.samples + 10 ** (ECHO_DB / 20) * later, audio.sample_rate), notes


def noisy(snr: float) -> Change:
    """Change that adds white noise, `snr` dB below the mean power of the recording."""

    def change(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
        noise = np.random.default_rng(SEED).standard_normal(len(audio.samples))
        return Audio(add_noise(audio.samples, noise, snr), audio.sample_rate), notes

    return change


def add_noise(
    samples: NDArray[np.floating], noise: NDArray[np.floating], snr: float
) -> NDArray[np.float64]:
    """Add noise at a signal-to-noise ratio in dB, of mean powers."""
    power, noise_power = (np.mean(np.square(x, dtype=np.float64)) for x in (samples, noise))
    return samples + np.sqrt(power / noise_power) * 10 ** (-snr / 20) * noise


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
    **{f"hall, {seconds:g} s": hall(seconds) for seconds in HALL_REVERBERATION},
    "echo": echo,
    **{f"noise, {snr:g} dB": noisy(snr) for snr in NOISE_SNR},
    "35 cents flat": detuned,
    "MP3, 64 kbit/s": mp3,
}
