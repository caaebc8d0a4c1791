"""Random rooms, frequency responses and noises at 16 kHz, for simulated recordings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, oaconvolve, sosfilt

from .audio import SAMPLE_RATE

__all__ = [
    "FRAME_LENGTH", "applause", "colored_noise", "equalize", "frame_power", "limit_band",
    "room_response",
]  # fmt: skip

FRAME_LENGTH = 160  # samples of a frame of `frame_power`: 10 ms

# Equalisation: a tilt about 500 Hz and deviations that correlate over an octave and a half.
_TILT_DB = 1.5  # per octave, at most
_DEVIATION_DB = 3.0
_DEVIATION_OCTAVES = 1.5
_MAX_GAIN_DB = 6.0
_N_FFT = 2048

# Air and curtains absorb treble, walls reflect bass: factors of the reverberation time.
_REVERBERATION_HZ = (63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
_REVERBERATION_BASS, _REVERBERATION_TREBLE = (1.0, 1.5), (0.35, 0.9)
_N_REFLECTIONS = (4, 12)
_REFLECTION_DELAY = (0.003, 0.05)  # seconds
_REFLECTION_DB = (-24.0, -8.0)

_NOISE_SLOPE = (0.0, 2.0)  # exponent of 1/f in the power spectrum: white to brown

_CLAPS = (20.0, 2000.0)  # per second
_N_HANDS = 8
_CLAP_HZ = (500.0, 3000.0)  # resonance of the hollow hands
_CLAP_DECAY = (0.002, 0.008)  # seconds

_LOW_CUT = (30.0, 200.0)  # Hz
_HIGH_CUT = (4000.0, 7000.0)  # Hz


def room_response(
    rng: np.random.Generator,
    *,
    reverberation_time: tuple[float, float] = (0.2, 1.2),
    reverberant_db: tuple[float, float] = (-20.0, 3.0),
) -> NDArray[np.float64]:
    """Draw the impulse response of a room, shape (n_samples,).

    It consists of the direct sound, 1 in the first sample, a few early reflections and a decaying
    tail.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random number generator.
    reverberation_time : tuple of float, default=(0.2, 1.2)
        Range of the reverberation time (RT60) in seconds at 500 Hz; treble decays faster.
    reverberant_db : tuple of float, default=(-20, 3)
        Range of the level of reflections and reverberation in dB relative to the direct sound.
    """
    mid = rng.uniform(*reverberation_time)
    bass, treble = rng.uniform(*_REVERBERATION_BASS), rng.uniform(*_REVERBERATION_TREBLE)
    octaves = np.log2(np.array(_REVERBERATION_HZ) / 500)
    times = mid * np.interp(octaves, [-3, 0, 4], [bass, 1.0, treble])
    n_samples = round(times.max() * SAMPLE_RATE)
    time = np.arange(n_samples) / SAMPLE_RATE

    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    octave = np.log2(np.maximum(np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE), 1.0) / 500)
    tail = np.zeros(n_samples)
    for centre, decay in zip(octaves, times, strict=True):
        # Triangular bands that add up to one, flat beyond both ends.
        band = np.clip(1 - np.abs(np.clip(octave, octaves[0], octaves[-1]) - centre), 0, 1)
        tail += np.fft.irfft(spectrum * band, n_samples) * 10 ** (-3 * time / decay)
    # The tail fades in, since dense reflections come after the early ones.
    tail *= 1 - np.exp(-time / rng.uniform(*_REFLECTION_DELAY))

    n_early = rng.integers(*_N_REFLECTIONS, endpoint=True)
    early = np.zeros(n_samples)
    delay = rng.uniform(*_REFLECTION_DELAY, n_early)
    strength = 10 ** (rng.uniform(*_REFLECTION_DB, n_early) / 20)
    early[(delay * SAMPLE_RATE).astype(int)] = strength * rng.choice([-1, 1], n_early)
    energy = 10 ** (rng.uniform(*reverberant_db) / 10)
    response = early * min(1.0, np.sqrt(energy / 2) / np.linalg.norm(early))
    response += tail * np.sqrt(max(energy - response @ response, 0.0)) / np.linalg.norm(tail)
    response[0] = 1.0
    return response


def equalize(
    audio: NDArray[np.float32], rng: np.random.Generator, *, max_gain_db: float = 6.0
) -> NDArray[np.float32]:
    """Filter (..., n_samples) with a smooth random response and minimum phase.

    Its gains are within ±`max_gain_db`.
    """
    gain_db = _equalizer_gain(np.linspace(0.0, SAMPLE_RATE / 2, _N_FFT // 2 + 1), rng)
    gain_db *= max_gain_db / _MAX_GAIN_DB
    response = _minimum_phase(gain_db).reshape(*[1] * (audio.ndim - 1), -1)
    return np.asarray(oaconvolve(audio, response, axes=-1)[..., : audio.shape[-1]])


def _equalizer_gain(hz: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw gains in dB that are smooth in log frequency."""
    octaves = np.log2(np.maximum(hz, 30.0) / 500)
    knots = np.arange(octaves.min() - 3, octaves.max() + 3, _DEVIATION_OCTAVES / 2)
    weights = np.exp(-0.5 * ((octaves[:, None] - knots) / (_DEVIATION_OCTAVES / np.sqrt(2))) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    gain = _DEVIATION_DB * weights @ rng.standard_normal(len(knots))
    gain += rng.uniform(-_TILT_DB, _TILT_DB) * octaves
    # Soft clipping.
    return np.asarray(_MAX_GAIN_DB * np.tanh(gain / _MAX_GAIN_DB))


def _minimum_phase(gain_db: NDArray[np.float64]) -> NDArray[np.float32]:
    """Minimum-phase impulse response with the given gains, by the cepstral method."""
    cepstrum = np.fft.irfft(gain_db * (np.log(10) / 20))
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))
    return response[:half].astype(np.float32)


def colored_noise(n_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw stationary Gaussian noise of a random colour from white to brown."""
    hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE), 20.0)
    spectrum = rng.standard_normal((len(hz), 2), np.float32).view(np.complex64)[:, 0]
    spectrum *= hz ** (-rng.uniform(*_NOISE_SLOPE) / 2)
    return np.asarray(np.fft.irfft(spectrum, n_samples), np.float32)


def applause(n_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw the applause of few or many people, shape (n_samples,), not normalised.

    Claps are decaying resonances at random times.
    """
    density = np.exp(rng.uniform(*np.log(_CLAPS))) / SAMPLE_RATE / _N_HANDS
    time = np.arange(SAMPLE_RATE // 20) / SAMPLE_RATE
    sound = np.zeros(n_samples, np.float32)
    for _ in range(_N_HANDS):
        claps = (rng.random(n_samples) < density) * rng.lognormal(0, 0.7, n_samples)
        clap = rng.standard_normal(len(time)) + 2 * np.sin(
            2 * np.pi * rng.uniform(*_CLAP_HZ) * time
        )
        clap *= np.exp(-time / rng.uniform(*_CLAP_DECAY))
        sound += oaconvolve(claps, clap)[:n_samples].astype(np.float32)
    return sound


def limit_band(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Filter (..., n_samples) with a random low cut, 30 to 200 Hz, and high cut, 4 to 7 kHz."""
    low = butter(2, rng.uniform(*_LOW_CUT), "highpass", fs=SAMPLE_RATE, output="sos")
    high = butter(4, rng.uniform(*_HIGH_CUT), "lowpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(np.concatenate([low, high]), audio), np.float32)


def frame_power(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean power of each 10 ms; the last frame is zero-padded."""
    frames = np.pad(audio, (0, -len(audio) % FRAME_LENGTH)).reshape(-1, FRAME_LENGTH)
    return np.mean(frames**2, axis=1, dtype=np.float64)
