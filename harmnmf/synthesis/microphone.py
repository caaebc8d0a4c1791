"""Simulated recording conditions, drawn at random: data augmentation for training.

In order: room, frequency response of the microphone, background noise, mains hum, compression,
band limits and level. The direct sound is not delayed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import lfilter, oaconvolve

from harmnmf.signal.acoustics import (
    FRAME_LENGTH,
    colored_noise,
    equalize,
    frame_power,
    limit_band,
    room_response,
)
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.validation import check_number

__all__ = ["RecordingConditions", "simulate_recording"]

_LOUD_QUANTILE = 0.95  # quantile of frame powers that gives the level of the loud parts
# Relative to the loud parts.
_NOISE_DB = (-80.0, -45.0)
_HUM_DB = (-80.0, -50.0)
_MAINS_HZ = (50.0, 60.0)
_N_HUM = 8

_COMPRESSION_RATIO = (1.3, 3.0)
_COMPRESSION_THRESHOLD_DB = (-20.0, -6.0)  # relative to the loud parts
_COMPRESSION_TIME = (0.03, 0.3)  # seconds

_PEAK_DB = (-25.0, -0.5)


@dataclass(frozen=True)
class RecordingConditions:
    """Probabilities of recording conditions; 0 turns a condition off.

    Each condition has its own random number generator, so that it does not depend on the others.

    Parameters
    ----------
    room : float, default=0.9
        Early reflections and a reverberation that decays by 60 dB within 0.2 to 1.2 s, faster in
        the treble; -20 to 3 dB relative to the direct sound.
    equalizer : float, default=0.9
        A smooth frequency response of ±6 dB, with a tilt of up to ±1.5 dB per octave.
    noise : float, default=0.9
        Noise of any colour from white to brown, 80 to 45 dB below the loud parts.
    hum : float, default=0.1
        Hum of the mains, 50 or 60 Hz, 80 to 50 dB below the loud parts.
    compression : float, default=0.2
        A compressor of ratio 1.3 to 3, with thresholds 20 to 6 dB below the loud parts.
    band_limit : float, default=0.2
        A low cut at 30 to 200 Hz and a high cut at 4 to 7 kHz.
    level : float, default=1.0
        A peak level of -25 to -0.5 dBFS; without it the level is not normalised.
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
            check_number(field.name, getattr(self, field.name), 0, 1)


def simulate_recording(
    samples: ArrayLike, rng: np.random.Generator, conditions: RecordingConditions | None = None
) -> NDArray[np.float32]:
    """Simulate a recording, shape (n_samples,), of dry mono sound at 16 kHz.

    If its level is not normalised it may exceed full scale. `conditions` are by default those of
    the class.
    """
    audio = np.array(samples, dtype=np.float32)
    conditions = conditions or RecordingConditions()
    parts = (
        (conditions.room, _reverberate),
        (conditions.equalizer, equalize),
        (conditions.noise, _add_noise),
        (conditions.hum, _add_hum),
        (conditions.compression, _compress),
        (conditions.band_limit, limit_band),
        (conditions.level, _scale),
    )
    # Drawn for all parts, also those that are turned off.
    seeds = rng.integers(2**63, size=len(parts))
    if not audio.any():
        return audio
    for seed, (probability, part) in zip(seeds, parts, strict=True):
        own = np.random.default_rng(seed)
        if own.random() < probability:
            audio = part(audio, own)
    return audio


def _reverberate(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return np.asarray(oaconvolve(audio, room_response(rng).astype(np.float32))[: len(audio)])


def _add_noise(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    noise = colored_noise(len(audio), rng)
    return audio + _scaled(noise, audio, rng.uniform(*_NOISE_DB))


def _add_hum(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    mains = rng.choice(_MAINS_HZ) * rng.uniform(0.998, 1.002)
    phase = 2 * np.pi * mains / SAMPLE_RATE * np.arange(len(audio))
    hum = np.zeros(len(audio))
    for n in range(1, _N_HUM + 1):
        hum += rng.random() / n * np.sin(n * phase + rng.uniform(0, 2 * np.pi))
    return audio + _scaled(hum, audio, rng.uniform(*_HUM_DB))


def _compress(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    ratio = rng.uniform(*_COMPRESSION_RATIO)
    threshold_db = rng.uniform(*_COMPRESSION_THRESHOLD_DB)
    pole = np.exp(-FRAME_LENGTH / SAMPLE_RATE / rng.uniform(*_COMPRESSION_TIME))
    power = lfilter([1 - pole], [1, -pole], frame_power(audio))
    excess_db = 10 * np.log10(power / _loud_power(audio) + 1e-12) - threshold_db
    gain_db = -(1 - 1 / ratio) * np.maximum(excess_db, 0)
    # Interpolated, since steps would click.
    frames = (np.arange(len(power)) + 0.5) * FRAME_LENGTH
    gain = 10 ** (np.interp(np.arange(len(audio)), frames, gain_db) / 20)
    return audio * gain.astype(np.float32)


def _scale(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return audio * np.float32(10 ** (rng.uniform(*_PEAK_DB) / 20) / np.abs(audio).max())


def _scaled(
    disturbance: NDArray[np.floating], audio: NDArray[np.float32], level_db: float
) -> NDArray[np.float32]:
    """Scale a disturbance to a level relative to the loud parts of a sound."""
    power = np.mean(disturbance**2)
    gain = np.sqrt(10 ** (level_db / 10) * _loud_power(audio) / power)
    return np.asarray(disturbance * gain, np.float32)


def _loud_power(audio: NDArray[np.float32]) -> float:
    return float(np.quantile(frame_power(audio), _LOUD_QUANTILE)) + 1e-20
