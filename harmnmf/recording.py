"""What happens to a sound between the instrument and the file, made up at random.

In the order of the signal: the room, the frequency response of the microphone and its place,
background noise and mains hum, compression, the pass band of a cheap device, and the level.
Nothing is delayed: the direct sound stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from .errors import ParameterError

__all__ = ["RecordingConditions", "simulate_recording"]

_SAMPLE_RATE = 16_000

# Equalisation: a tilt about 500 Hz and deviations that correlate over an octave and a half.
_TILT_DB = 1.5  # per octave, at most
_DEVIATION_DB = 3.0
_DEVIATION_OCTAVES = 1.5
_LARGEST_GAIN_DB = 6.0
_N_FFT = 2048

_REVERBERATION_TIME = (0.2, 1.2)  # seconds, at 500 Hz
# Air and curtains absorb treble, walls reflect bass: factors of the time above.
_REVERBERATION_HZ = (63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
_REVERBERATION_BASS, _REVERBERATION_TREBLE = (1.0, 1.5), (0.35, 0.9)
_REVERBERANT_DB = (-20.0, 3.0)  # relative to the direct sound
_N_REFLECTIONS = (4, 12)
_REFLECTION_DELAY = (0.003, 0.05)  # seconds
_REFLECTION_DB = (-24.0, -8.0)

# Relative to the loud parts: what is exceeded in a twentieth of the frames.
_LOUD_QUANTILE = 0.95
_NOISE_DB = (-80.0, -45.0)
_NOISE_SLOPE = (0.0, 2.0)  # power falls with this power of the frequency, from white to brown
_HUM_DB = (-80.0, -50.0)
_MAINS_HZ = (50.0, 60.0)
_N_HUM = 8

_COMPRESSION_RATIO = (1.3, 3.0)
_COMPRESSION_THRESHOLD_DB = (-20.0, -6.0)  # relative to the loud parts
_COMPRESSION_TIME = (0.03, 0.3)  # seconds
_FRAME = 160

_LOW_CUT = (30.0, 200.0)  # Hz
_HIGH_CUT = (4000.0, 7000.0)  # Hz

_PEAK_DB = (-25.0, -0.5)


@dataclass(frozen=True)
class RecordingConditions:
    """Probabilities of all that may happen to a sound; with 0 a part is turned off.

    Each part draws its random numbers from a generator of its own: what one does, does not
    depend on which others are turned off.

    Parameters
    ----------
    room : float, default=0.9
        Early reflections and a reverberation that decays by 60 dB within 0.2 to 1.2 s, faster in
        the treble; -20 to 3 dB relative to the direct sound.
    equalizer : float, default=0.9
        A smooth frequency response of ±6 dB, with a tilt of up to ±1.5 dB an octave.
    noise : float, default=0.9
        Noise of any colour from white to brown, 80 to 45 dB below the loud parts.
    hum : float, default=0.1
        Hum of the mains, 50 or 60 Hz, 80 to 50 dB below the loud parts.
    compression : float, default=0.2
        A compressor of ratio 1.3 to 3, with thresholds 20 to 6 dB below the loud parts.
    band_limit : float, default=0.2
        A low cut at 30 to 200 Hz and a high cut at 4 to 7 kHz, as of a telephone.
    level : float, default=1.0
        A peak level of -25 to -0.5 dBFS. Without, the level follows from the other parts.

    Raises
    ------
    ParameterError
        If a probability is not between 0 and 1.

    Examples
    --------
    >>> RecordingConditions(room=0.0).equalizer
    0.9
    """

    room: float = 0.9
    equalizer: float = 0.9
    noise: float = 0.9
    hum: float = 0.1
    compression: float = 0.2
    band_limit: float = 0.2
    level: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            probability = getattr(self, field.name)
            if not 0 <= probability <= 1:
                raise ParameterError(f"{field.name} must be a probability, not {probability}")


def simulate_recording(
    samples: ArrayLike,
    rng: np.random.Generator,
    conditions: RecordingConditions | None = None,
) -> NDArray[np.float32]:
    """Record a sound under random conditions.

    Parameters
    ----------
    samples : array_like, shape (n_samples,)
        A dry sound at 16 kHz.
    rng : numpy.random.Generator
        Source of the conditions.
    conditions : RecordingConditions, optional
        How probable each is; by default those that the class names.

    Returns
    -------
    ndarray, shape (n_samples,)
        The recording, as long as the sound. Without a level it may exceed full scale.

    Raises
    ------
    ParameterError
        If the samples are not mono, or not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> simulate_recording(rng.normal(size=16000), rng).shape
    (16000,)
    """
    audio = np.array(samples, dtype=np.float32)
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise ParameterError("samples must be finite and have the shape (n_samples,)")
    conditions = conditions or RecordingConditions()
    parts = (
        (conditions.room, _reverberate),
        (conditions.equalizer, _equalize),
        (conditions.noise, _add_noise),
        (conditions.hum, _add_hum),
        (conditions.compression, _compress),
        (conditions.band_limit, _limit_band),
        (conditions.level, _scale),
    )
    # Drawn for all parts, whether they are turned off or not.
    seeds = rng.integers(2**63, size=len(parts))
    if not audio.any():
        return audio
    for seed, (probability, part) in zip(seeds, parts, strict=True):
        own = np.random.default_rng(seed)
        if own.random() < probability:
            audio = part(audio, own)
    return audio


def _reverberate(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return np.asarray(oaconvolve(audio, _room_response(rng).astype(np.float32))[: len(audio)])


def _room_response(rng: np.random.Generator) -> NDArray[np.float64]:
    """Make up the impulse response of a room, whose first sample is the direct sound, 1."""
    mid = rng.uniform(*_REVERBERATION_TIME)
    bass, treble = rng.uniform(*_REVERBERATION_BASS), rng.uniform(*_REVERBERATION_TREBLE)
    octaves = np.log2(np.array(_REVERBERATION_HZ) / 500)
    times = mid * np.interp(octaves, [-3, 0, 4], [bass, 1.0, treble])
    n_samples = round(times.max() * _SAMPLE_RATE)
    time = np.arange(n_samples) / _SAMPLE_RATE

    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    octave = np.log2(np.maximum(np.fft.rfftfreq(n_samples, 1 / _SAMPLE_RATE), 1.0) / 500)
    tail = np.zeros(n_samples)
    for centre, decay in zip(octaves, times, strict=True):
        # Triangles that add up to one, with shoulders at both ends.
        band = np.clip(1 - np.abs(np.clip(octave, octaves[0], octaves[-1]) - centre), 0, 1)
        tail += np.fft.irfft(spectrum * band, n_samples) * 10 ** (-3 * time / decay)
    # Dense reflections come after the first ones.
    tail *= 1 - np.exp(-time / rng.uniform(*_REFLECTION_DELAY))

    n_early = rng.integers(*_N_REFLECTIONS, endpoint=True)
    early = np.zeros(n_samples)
    delay = rng.uniform(*_REFLECTION_DELAY, n_early)
    strength = 10 ** (rng.uniform(*_REFLECTION_DB, n_early) / 20)
    early[(delay * _SAMPLE_RATE).astype(int)] = strength * rng.choice([-1, 1], n_early)
    energy = 10 ** (rng.uniform(*_REVERBERANT_DB) / 10)
    response = early * min(1.0, np.sqrt(energy / 2) / np.linalg.norm(early))
    response += tail * np.sqrt(max(energy - response @ response, 0.0)) / np.linalg.norm(tail)
    response[0] = 1.0
    return response


def _equalize(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    gain_db = _equalizer_gain(np.linspace(0.0, _SAMPLE_RATE / 2, _N_FFT // 2 + 1), rng)
    return np.asarray(oaconvolve(audio, _minimum_phase(gain_db))[: len(audio)])


def _equalizer_gain(hz: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw gains in dB that are smooth in log frequency."""
    octaves = np.log2(np.maximum(hz, 30.0) / 500)
    knots = np.arange(octaves.min() - 3, octaves.max() + 3, _DEVIATION_OCTAVES / 2)
    weights = np.exp(-0.5 * ((octaves[:, None] - knots) / (_DEVIATION_OCTAVES / np.sqrt(2))) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    gain = _DEVIATION_DB * weights @ rng.standard_normal(len(knots))
    gain += rng.uniform(-_TILT_DB, _TILT_DB) * octaves
    # Less abrupt than clipping.
    return np.asarray(_LARGEST_GAIN_DB * np.tanh(gain / _LARGEST_GAIN_DB))


def _minimum_phase(gain_db: NDArray[np.float64]) -> NDArray[np.float32]:
    """Make the impulse response of these gains that begins at once."""
    cepstrum = np.fft.irfft(gain_db * (np.log(10) / 20))
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))
    return response[:half].astype(np.float32)


def _add_noise(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    hz = np.maximum(np.fft.rfftfreq(len(audio), 1 / _SAMPLE_RATE), 20.0)
    spectrum = rng.standard_normal((len(hz), 2), np.float32).view(np.complex64)[:, 0]
    spectrum *= hz ** (-rng.uniform(*_NOISE_SLOPE) / 2)
    noise = np.fft.irfft(spectrum, len(audio))
    return audio + _scaled(noise, audio, rng.uniform(*_NOISE_DB))


def _add_hum(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    mains = rng.choice(_MAINS_HZ) * rng.uniform(0.998, 1.002)
    phase = 2 * np.pi * mains / _SAMPLE_RATE * np.arange(len(audio))
    hum = np.zeros(len(audio))
    for n in range(1, _N_HUM + 1):
        hum += rng.random() / n * np.sin(n * phase + rng.uniform(0, 2 * np.pi))
    return audio + _scaled(hum, audio, rng.uniform(*_HUM_DB))


def _compress(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    ratio = rng.uniform(*_COMPRESSION_RATIO)
    threshold_db = rng.uniform(*_COMPRESSION_THRESHOLD_DB)
    pole = np.exp(-_FRAME / _SAMPLE_RATE / rng.uniform(*_COMPRESSION_TIME))
    power = lfilter([1 - pole], [1, -pole], _frame_power(audio))
    excess_db = 10 * np.log10(power / _loud_power(audio) + 1e-12) - threshold_db
    gain_db = -(1 - 1 / ratio) * np.maximum(excess_db, 0)
    # A gain that changes in steps would click.
    frames = (np.arange(len(power)) + 0.5) * _FRAME
    gain = 10 ** (np.interp(np.arange(len(audio)), frames, gain_db) / 20)
    return audio * gain.astype(np.float32)


def _limit_band(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    low = butter(2, rng.uniform(*_LOW_CUT), "highpass", fs=_SAMPLE_RATE, output="sos")
    high = butter(4, rng.uniform(*_HIGH_CUT), "lowpass", fs=_SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(np.concatenate([low, high]), audio), np.float32)


def _scale(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return audio * np.float32(10 ** (rng.uniform(*_PEAK_DB) / 20) / np.abs(audio).max())


def _scaled(
    disturbance: NDArray[np.float64], audio: NDArray[np.float32], level_db: float
) -> NDArray[np.float32]:
    """Bring a disturbance to a level relative to the loud parts of a sound."""
    power = np.mean(disturbance**2)
    gain = np.sqrt(10 ** (level_db / 10) * _loud_power(audio) / power)
    return np.asarray(disturbance * gain, np.float32)


def _loud_power(audio: NDArray[np.float32]) -> float:
    return float(np.quantile(_frame_power(audio), _LOUD_QUANTILE)) + 1e-20


def _frame_power(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square of each 10 ms, the last one padded with silence."""
    frames = np.pad(audio, (0, -len(audio) % _FRAME)).reshape(-1, _FRAME)
    return np.mean(frames**2, axis=1, dtype=np.float64)
