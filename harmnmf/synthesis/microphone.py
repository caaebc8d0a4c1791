"""Simulated recording conditions, drawn at random: data augmentation for training.

In order: room, two microphones that are mixed, other sounds, frequency response of the microphone,
background noise, mains hum, compression, uneven speed, band limits, codec and level. The direct
sound is not delayed; uneven speed brings it forward by up to 2.4 ms.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
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
_REVERBERATION_TIME = (0.2, 3.0)  # seconds, evenly in octaves
_REVERBERANT_DB = (-20.0, 5.0)  # relative to the direct sound
_SECOND_DELAY = (0.0003, 0.008)  # seconds by which the second microphone hears the piano later
_SECOND_DB = (-15.0, 0.0)
# Relative to the loud parts.
_BACKGROUND_DB = (-55.0, -10.0)
_NOISE_DB = (-80.0, -30.0)
_HUM_DB = (-80.0, -40.0)
_MAINS_HZ = (50.0, 60.0)
_N_HUM = 8

_COMPRESSION_RATIO = (1.3, 4.0)
_COMPRESSION_THRESHOLD_DB = (-25.0, -6.0)  # relative to the loud parts
_COMPRESSION_TIME = (0.03, 0.5)  # seconds

_WOW_HZ = (0.4, 6.0)
_WOW = (0.0003, 0.003)  # largest deviation of the speed
_CODECS = (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"))
_CODEC_COMPRESSION = (0.3, 0.95)  # 1 is the smallest file
_PEAK_DB = (-25.0, -0.5)

_Condition = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]


@dataclass(frozen=True)
class RecordingConditions:
    """Probabilities of recording conditions; 0 turns a condition off.

    Each condition has its own random number generator, so that it does not depend on the others.

    Parameters
    ----------
    clean : float, default=0.25
        Probability that nothing but the level changes.
    room : float, default=0.8
        Early reflections and a reverberation that decays by 60 dB within 0.2 to 3 s, faster in
        the treble; -20 to 5 dB relative to the direct sound.
    microphones : float, default=0.25
        A second microphone, 0.3 to 8 ms later and up to 15 dB softer, mixed with the first.
    background : float, default=0.2
        Other sounds, if any are given, 55 to 10 dB below the loud parts.
    equalizer : float, default=0.8
        A smooth frequency response of ±6 dB, with a tilt of up to ±1.5 dB per octave.
    noise : float, default=0.8
        Noise of any colour from white to brown, 80 to 30 dB below the loud parts, more often soft.
    hum : float, default=0.1
        Hum of the mains, 50 or 60 Hz, 80 to 40 dB below the loud parts.
    compression : float, default=0.2
        A compressor of ratio 1.3 to 4, with thresholds 25 to 6 dB below the loud parts.
    wow : float, default=0.05
        A speed that varies by up to 0.3 %, 0.4 to 6 times a second, as that of cassettes.
    band_limit : float, default=0.2
        A low cut at 30 to 200 Hz and a high cut at 4 to 7 kHz.
    codec : float, default=0.15
        MP3 or Ogg Vorbis at a low bit rate.
    level : float, default=1.0
        A peak level of -25 to -0.5 dBFS; without it the level is not normalised.
    """

    clean: float = 0.25
    room: float = 0.8
    microphones: float = 0.25
    background: float = 0.2
    equalizer: float = 0.8
    noise: float = 0.8
    hum: float = 0.1
    compression: float = 0.2
    wow: float = 0.05
    band_limit: float = 0.2
    codec: float = 0.15
    level: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_number(field.name, getattr(self, field.name), 0, 1)


def simulate_recording(
    samples: ArrayLike,
    rng: np.random.Generator,
    conditions: RecordingConditions | None = None,
    *,
    background: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Simulate a recording of dry sound.

    Parameters
    ----------
    samples : array_like, shape (n_samples,)
        Mono sound at 16 kHz.
    rng : numpy.random.Generator
        Random number generator.
    conditions : RecordingConditions, optional
        Probabilities of the conditions. Default: those of the class.
    background : ndarray of float32, shape (n_samples,), optional
        Other sounds that the microphone may hear, at any level.

    Returns
    -------
    ndarray, shape (n_samples,)
        The recording. It may exceed full scale if its level is not normalised. Silence is
        returned unchanged.

    Examples
    --------
    >>> seconds = np.arange(16000) / 16000
    >>> tone = np.exp(-3 * seconds) * np.sin(2 * np.pi * 440 * seconds)
    >>> simulate_recording(tone, np.random.default_rng(0)).shape
    (16000,)
    """
    audio = np.array(samples, dtype=np.float32)
    conditions = conditions or RecordingConditions()
    parts: tuple[tuple[float, _Condition], ...] = (
        (conditions.room, _reverberate),
        (conditions.microphones, _add_microphone),
        (conditions.background, partial(_add_background, background=background)),
        (conditions.equalizer, equalize),
        (conditions.noise, _add_noise),
        (conditions.hum, _add_hum),
        (conditions.compression, _compress),
        (conditions.wow, _vary_speed),
        (conditions.band_limit, limit_band),
        (conditions.codec, _compress_file),
        (conditions.level, _scale),
    )
    # Drawn for all parts, also those that are turned off.
    seeds = rng.integers(2**63, size=len(parts))
    is_clean = rng.random() < conditions.clean
    if not audio.any():
        return audio
    for seed, (probability, part) in zip(seeds, parts, strict=True):
        own = np.random.default_rng(seed)
        if own.random() < probability and (part is _scale or not is_clean):
            audio = part(audio, own)
    return audio


def _reverberate(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    seconds = float(np.exp(rng.uniform(*np.log(_REVERBERATION_TIME))))
    response = room_response(
        rng, reverberation_time=(seconds, seconds), reverberant_db=_REVERBERANT_DB
    )
    return np.asarray(oaconvolve(audio, response.astype(np.float32))[: len(audio)])


def _add_microphone(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    delay = round(rng.uniform(*_SECOND_DELAY) * SAMPLE_RATE)
    gain = np.float32(10 ** (rng.uniform(*_SECOND_DB) / 20))
    return audio + gain * np.pad(audio, (delay, 0))[: len(audio)]


def _add_background(
    audio: NDArray[np.float32],
    rng: np.random.Generator,
    background: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    if background is None or not background.any():
        return audio
    return audio + _scaled(background, audio, rng.uniform(*_BACKGROUND_DB))


def _add_noise(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    noise = colored_noise(len(audio), rng)
    return audio + _scaled(noise, audio, rng.triangular(_NOISE_DB[0], *_NOISE_DB))


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


def _vary_speed(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    omega = 2 * np.pi * rng.uniform(*_WOW_HZ) / SAMPLE_RATE
    time = np.arange(len(audio))
    # The derivative of the displacement is the deviation of the speed.
    displacement = rng.uniform(*_WOW) / omega * (1 - np.cos(omega * time))
    moved = map_coordinates(audio, [time + displacement], order=3, mode="nearest")
    return np.asarray(moved, np.float32)


def _compress_file(audio: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    container, codec = _CODECS[rng.integers(len(_CODECS))]
    level = rng.uniform(*_CODEC_COMPRESSION)
    peak = np.abs(audio).max()
    file = io.BytesIO()
    options = {"format": container, "compression_level": level}
    soundfile.write(file, 0.9 / peak * audio, SAMPLE_RATE, codec, **options)
    file.seek(0)
    decoded, _ = soundfile.read(file, frames=len(audio), dtype="float32")
    return np.pad(decoded * (peak / np.float32(0.9)), (0, len(audio) - len(decoded)))


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
