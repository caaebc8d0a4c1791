"""Recordings as users have them, made from those of the data: what no training ever saw.

Each is a function of a recording and its notes that gives both as they are then. They share no
code with what training data is made with, and what is random in them is seeded: they are the same
in every run.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, correlate, oaconvolve, sosfilt

from harmnmf import Audio, NoteList

PHONE_BAND = (150.0, 5500.0)  # Hz
PHONE_SNR = 25.0  # dB
REVERBERATION = 0.6  # seconds until the room has decayed by 60 dB
FIRST_REFLECTION = 0.005  # seconds
DETUNING = -0.35  # semitones
MP3_RATE = 44100  # Hz
MP3_BITS = 64_000  # per second
MAX_DELAY = 0.2  # seconds: no codec delays more
SEED = 0

Change = Callable[[Audio, NoteList], tuple[Audio, NoteList]]


def unchanged(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Leave a recording as it is."""
    return audio, notes


def phone(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Record with a phone half a metre away in a furnished room.

    The room adds reverberation as loud as the direct sound, as at its critical distance: white
    noise that decays by 60 dB in 0.6 s and begins 5 ms after the direct sound. The phone passes
    150 to 5500 Hz (Butterworth, 24 dB an octave) and adds white noise in that band, 25 dB below
    the mean power of what it passes.

    Parameters
    ----------
    audio : Audio
        Mono recording.
    notes : NoteList
        What is played there.

    Returns
    -------
    audio : Audio
        What the phone records.
    notes : NoteList
        The same.
    """
    rng = np.random.default_rng(SEED)
    rate = audio.sample_rate
    band = butter(4, PHONE_BAND, "bandpass", fs=rate, output="sos")
    heard = sosfilt(band, oaconvolve(audio.samples, room_response(rate, rng))[: len(audio.samples)])
    noise = sosfilt(band, rng.standard_normal(len(heard)))
    noise *= np.sqrt(np.mean(heard**2) / np.mean(noise**2)) * 10 ** (-PHONE_SNR / 20)
    return Audio(heard + noise, rate), notes


def room_response(rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the response of a room from its direct sound on, which is the first sample.

    Parameters
    ----------
    rate : int
        Samples per second.
    rng : numpy.random.Generator
        Where its reflections come from.

    Returns
    -------
    ndarray, shape (n_samples,)
        1, and reflections with a total energy of 1.
    """
    t = np.arange(round(1.5 * REVERBERATION * rate)) / rate
    response = rng.standard_normal(len(t)) * 10 ** (-3 * t / REVERBERATION)
    response[t < FIRST_REFLECTION] = 0.0
    response /= np.linalg.norm(response)
    response[0] = 1.0
    return response


def detuned(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Tune a piano 35 cents lower, and play it 2 % slower: what slowing the recording down does.

    Parameters
    ----------
    audio : Audio
        Mono recording.
    notes : NoteList
        What is played there.

    Returns
    -------
    audio : Audio
        The slower recording.
    notes : NoteList
        The same notes, where they are then.
    """
    factor = 2 ** (-DETUNING / 12)
    rate = audio.sample_rate
    slower = soxr.resample(audio.samples, rate, rate * factor, quality="HQ")
    columns = (notes.onset * factor, notes.offset * factor, notes.pitch, notes.velocity)
    return Audio(slower, rate), NoteList(*columns, notes.pedal * factor)


def mp3(audio: Audio, notes: NoteList) -> tuple[Audio, NoteList]:
    """Compress to an MP3 of 64 kbit/s at 44.1 kHz, and decompress.

    A delay that decoding leaves is measured by correlation and taken away.

    Parameters
    ----------
    audio : Audio
        Mono recording.
    notes : NoteList
        What is played there.

    Returns
    -------
    audio : Audio
        What is left of it, at 44.1 kHz.
    notes : NoteList
        The same.

    Raises
    ------
    RuntimeError
        If the file has not the size that it should have.
    """
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
    return Audio(advanced(decoded, original), MP3_RATE), notes


def advanced(delayed: NDArray[np.float32], original: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move a signal back in time to where it is most like the original, and as long.

    Parameters
    ----------
    delayed, original : ndarray, shape (n_samples,)
        Signals at 44.1 kHz.

    Returns
    -------
    ndarray
        As long as the original.
    """
    delay = max(0, measured_delay(delayed, original))
    moved = delayed[delay : delay + len(original)]
    return np.pad(moved, (0, len(original) - len(moved)))


def measured_delay(delayed: NDArray[np.float32], original: NDArray[np.float32]) -> int:
    """Find the delay in samples, up to 0.2 s, at which signals correlate most.

    Parameters
    ----------
    delayed, original : ndarray, shape (n_samples,)
        Signals at 44.1 kHz.

    Returns
    -------
    int
        Negative if `delayed` comes first.
    """
    correlation = correlate(delayed, original, method="fft")
    zero = len(original) - 1
    reach = min(round(MAX_DELAY * MP3_RATE), zero, len(delayed) - 1)
    return int(correlation[zero - reach : zero + reach + 1].argmax()) - reach


INPUTS: dict[str, Change] = {
    "as it is": unchanged,
    "phone": phone,
    "35 cents flat": detuned,
    "MP3, 64 kbit/s": mp3,
}
