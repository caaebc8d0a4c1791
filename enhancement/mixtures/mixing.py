"""Noisy speech, made up at random, and the clean speech that is to be found in it.

In the order of the signal: a frequency response and a room for the speech and for each noise,
their sum, the frequency response and the pass band of the microphone, clipping, a codec, and the
level. The clean speech is what a good microphone would have recorded near the speaker in the same
room: it keeps the direct sound and the early reflections, and all that is linear. Nothing is
delayed, so that both stay aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from harmnmf.errors import ParameterError
from harmnmf.signal.acoustics import (
    colored_noise,
    equalize,
    frame_power,
    limit_band,
    room_response,
)
from harmnmf.signal.audio import SAMPLE_RATE

__all__ = [
    "Mixture",
    "MixtureConditions",
    "active_frames",
    "active_power",
    "mix_speech",
    "set_level",
]

# What is softer than this, in dB relative to the loudest frame, is a pause.
_PAUSE_DB = -30.0
_EARLY = 800  # samples: 50 ms
# To make up a room takes longer than all else together: there are only so many.
_N_ROOMS = 512
_REVERBERATION_TIME = (0.15, 0.7)  # seconds, at 500 Hz
_REVERBERANT_DB = (-20.0, 0.0)  # relative to the direct sound
_BALANCE_DB = (-10.0, 0.0)  # of several noises
_CLIPPED_DB = (-15.0, -3.0)  # relative to the peak
_CODECS = (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"))
# Of 0 to 1, the smallest file.
_COMPRESSION = (0.5, 0.99)


class Mixture(NamedTuple):
    """A recording, and what is wanted of it.

    Attributes
    ----------
    noisy, clean : ndarray, shape (n_samples,)
        At 16 kHz, float32. What is in `noisy` and not in `clean` is to be removed.
    """

    noisy: NDArray[np.float32]
    clean: NDArray[np.float32]


@dataclass(frozen=True)
class MixtureConditions:
    """How noisy speech is made up: probabilities of all that may happen to it, and ranges.

    With a probability of 0 a part is turned off.

    Parameters
    ----------
    room : float, default=0.5
        That the speech, and likewise each noise, is in a room, which decays by 60 dB within 0.15
        to 0.7 s and is 0 to 20 dB softer than the direct sound.
    speed : float, default=0.5
        That the speech, and likewise each noise, is played up to 15 % faster or slower.
    equalizer : float, default=0.5
        That the speech, and likewise each noise, and the microphone, has a smooth frequency
        response of ±6 dB.
    second_noise : float, default=0.3
        That there are two recorded noises.
    stationary_noise : float, default=0.2
        That noise of any colour from white to brown is added to these.
    clean_only, noise_only : float, default=0.03, 0.02
        That there is nothing but speech, or nothing but noise; then the clean speech is zeros.
    band_limit : float, default=0.1
        That the microphone cuts below 30 to 200 Hz and above 4 to 7 kHz.
    clipping : float, default=0.05
        That all above a level 3 to 15 dB below the peak is clipped; the clean speech is not.
    codec : float, default=0.05
        That the mixture went through MP3 or Ogg Vorbis at a low bit rate.
    level : float, default=1.0
        That the peak of the mixture is brought to a level from `level_db`.
    snr_db : tuple of float, default=(-5, 25)
        Range of the signal-to-noise ratio in dB: of the power of the clean speech where it is
        active, as :func:`active_power` has it, to the power of the noise, both before the
        microphone.
    level_db : tuple of float, default=(-40, -6)
        Range of the peak in dB relative to full scale.

    Raises
    ------
    ParameterError
        If a probability is not between 0 and 1, `clean_only` and `noise_only` add up to more
        than 1, or a range is not two finite numbers in order.

    Examples
    --------
    >>> MixtureConditions(codec=0.0, snr_db=(0, 0)).room
    0.5
    """

    room: float = 0.5
    speed: float = 0.5
    equalizer: float = 0.5
    second_noise: float = 0.3
    stationary_noise: float = 0.2
    clean_only: float = 0.03
    noise_only: float = 0.02
    band_limit: float = 0.1
    clipping: float = 0.05
    codec: float = 0.05
    level: float = 1.0
    snr_db: tuple[float, float] = (-5.0, 25.0)
    level_db: tuple[float, float] = (-40.0, -6.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_db"):
                check_range(field.name, value)
            elif not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ParameterError(f"{field.name} must be a probability, not {value}")
        if self.clean_only + self.noise_only > 1:
            raise ParameterError("clean_only and noise_only must not add up to more than 1")


def check_range(name: str, values: tuple[float, float]) -> None:
    """Refuse what is not a range of decibels."""
    try:
        low, high = map(float, values)
    except (TypeError, ValueError):
        low = high = np.nan
    if not -np.inf < low <= high < np.inf:
        raise ParameterError(f"{name} must be two finite numbers in order, not {values}")


def mix_speech(
    speech: NDArray[np.float32],
    noises: Sequence[NDArray[np.float32]],
    rng: np.random.Generator,
    conditions: MixtureConditions | None = None,
) -> Mixture:
    """Mix speech and noise under random conditions.

    Parameters
    ----------
    speech : ndarray, shape (n_samples,)
        Dry speech at 16 kHz.
    noises : sequence of ndarray, shape (n_samples,)
        One noise or more.
    rng : numpy.random.Generator
        Source of the conditions.
    conditions : MixtureConditions, optional
        How probable each is; by default those that the class names.

    Returns
    -------
    Mixture
        As long as the speech. With all turned off, `clean` is the speech and `noisy` the speech
        and a multiple of the noise.

    Raises
    ------
    ParameterError
        If there is no noise, or any of the sounds is silent.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> speech, noise = rng.standard_normal((2, 16000), np.float32)
    >>> noisy, clean = mix_speech(speech, [noise], rng)
    >>> noisy.shape, clean.shape
    ((16000,), (16000,))
    """
    if not noises or not all(sound.any() for sound in (speech, *noises)):
        raise ParameterError("a mixture needs speech and noise that are not silent")
    conditions = conditions or MixtureConditions()

    def happens(probability: float) -> bool:
        return rng.random() < probability

    if happens(conditions.equalizer):
        speech = equalize(speech, rng)
    # What the microphone hears, and what of it is wanted.
    pair = np.stack([speech, speech])
    if happens(conditions.room):
        pair = _convolve(pair, _draw_room(rng))

    noises = list(noises)
    if happens(conditions.stationary_noise):
        noises.append(colored_noise(len(speech), rng))
    noise = np.zeros_like(speech)
    for part in noises:
        if happens(conditions.equalizer):
            part = equalize(part, rng)
        if happens(conditions.room):
            part = _convolve(part, _draw_room(rng)[0])
        balance_db = rng.uniform(*_BALANCE_DB) if len(noises) > 1 else 0.0
        noise += part * np.float32(10 ** (balance_db / 20) / np.sqrt(_power(part)))

    snr_db = rng.uniform(*conditions.snr_db)
    noise *= np.float32(np.sqrt(active_power(pair[1]) / _power(noise) / 10 ** (snr_db / 10)))
    kind = rng.random()
    if kind < conditions.noise_only:
        pair[:] = 0
    if kind < 1 - conditions.clean_only:
        pair[0] += noise

    if happens(conditions.equalizer):
        pair = equalize(pair, rng)
    if happens(conditions.band_limit):
        pair = limit_band(pair, rng)
    mixture = Mixture(*pair)
    if happens(conditions.clipping):
        mixture = mixture._replace(noisy=_clip(mixture.noisy, rng))
    if happens(conditions.codec):
        mixture = mixture._replace(noisy=_code(mixture.noisy, rng))
    if happens(conditions.level):
        mixture = set_level(mixture, rng.uniform(*conditions.level_db))
    return mixture


def active_frames(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell sound from pauses, which are at least 30 dB softer than the loudest part.

    Parameters
    ----------
    samples : ndarray, shape (n_samples,)
        A sound at 16 kHz that is not silent.

    Returns
    -------
    ndarray, shape (n_frames,)
        Of each 10 ms, whether it is no pause.

    Examples
    --------
    >>> active_frames(np.repeat(np.float32([1, 0.01, 0.1]), 160))
    array([ True, False,  True])
    """
    power = frame_power(samples)
    return np.asarray(power > power.max() * 10 ** (_PAUSE_DB / 10))


def active_power(samples: NDArray[np.float32]) -> float:
    """Measure the power of a sound without its pauses.

    Parameters
    ----------
    samples : ndarray, shape (n_samples,)
        A sound at 16 kHz that is not silent.

    Returns
    -------
    float
        Mean square of the :func:`active_frames`.

    Examples
    --------
    >>> active_power(np.repeat(np.float32([2, 0, 0]), 160))
    4.0
    """
    return float(frame_power(samples)[active_frames(samples)].mean())


def set_level(mixture: Mixture, peak_db: float) -> Mixture:
    """Scale a mixture and what is wanted of it alike.

    Parameters
    ----------
    mixture : Mixture
        Neither is changed in place.
    peak_db : float
        Peak of the mixture to come, in dB relative to full scale.

    Returns
    -------
    Mixture
        The scaled one.

    Examples
    --------
    >>> set_level(Mixture(np.float32([4, 0]), np.float32([2, 0])), 0.0).clean
    array([0.5, 0. ], dtype=float32)
    """
    gain = np.float32(10 ** (peak_db / 20) / np.abs(mixture.noisy).max())
    return Mixture(mixture.noisy * gain, mixture.clean * gain)


def _power(samples: NDArray[np.float32]) -> float:
    return float(np.mean(samples**2, dtype=np.float64))


def _draw_room(rng: np.random.Generator) -> NDArray[np.float32]:
    return _room(int(rng.integers(_N_ROOMS)))


@cache
def _room(number: int) -> NDArray[np.float32]:
    """Make up a response, the first row, and the part of it that is wanted, the second."""
    response = room_response(
        np.random.default_rng(number),
        reverberation_time=_REVERBERATION_TIME,
        reverberant_db=_REVERBERANT_DB,
    ).astype(np.float32)
    early = response.copy()
    early[_EARLY:] = 0
    return np.stack([response, early])


def _convolve(sound: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(oaconvolve(sound, response, axes=-1)[..., : sound.shape[-1]])


def _clip(noisy: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    limit = np.abs(noisy).max() * 10 ** (rng.uniform(*_CLIPPED_DB) / 20)
    return np.clip(noisy, -limit, limit)


def _code(noisy: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    container, subtype = _CODECS[rng.integers(len(_CODECS))]
    compression = rng.uniform(*_COMPRESSION)
    # Codecs leave out what is too soft to be heard, and clip what is beyond full scale.
    gain = np.float32(0.5 / np.abs(noisy).max())
    file = BytesIO()
    soundfile.write(
        file, noisy * gain, SAMPLE_RATE, subtype, format=container, compression_level=compression
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, frames=len(noisy), dtype="float32", fill_value=0.0)
    return np.asarray(decoded / gain)
