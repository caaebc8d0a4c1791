"""Mixing of speech and noise under random conditions, with the clean target.

In signal order: a frequency response and a room for the speech and for each noise, their sum, the
frequency response and pass band of the microphone, clipping, a codec, and the level. The target
has the direct sound and the early reflections of the speech, and the same linear filters and level
as the mixture. Both are aligned.
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
from harmnmf.validation import check_number, real_array

__all__ = [
    "Mixture",
    "MixtureConditions",
    "active_frames",
    "active_power",
    "mix_speech",
    "set_level",
]

_PAUSE_DB = -30.0  # relative to the loudest frame
_EARLY = 800  # samples: 50 ms
# Rooms are kept in a cache: generating one takes longer than all else together.
_N_ROOMS = 512
_REVERBERATION_TIME = (0.15, 0.7)  # seconds, at 500 Hz
_REVERBERANT_DB = (-20.0, 0.0)  # relative to the direct sound
_BALANCE_DB = (-10.0, 0.0)  # of several noises
_CLIPPED_DB = (-15.0, -3.0)  # relative to the peak
_CODECS = (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"))
_COMPRESSION = (0.5, 0.99)  # 1 is the smallest file


class Mixture(NamedTuple):
    """A noisy recording and its clean target, each (n_samples,), float32 at 16 kHz."""

    noisy: NDArray[np.float32]
    clean: NDArray[np.float32]


@dataclass(frozen=True)
class MixtureConditions:
    """Probabilities and ranges of the random conditions of a mixture.

    Parameters
    ----------
    room : float, default=0.5
        Probability of a room, for the speech and for each noise: a reverberation time of 0.15 to
        0.7 s, at a level 0 to 20 dB below the direct sound.
    speed : float, default=0.5
        Probability of a speed up to 15 % faster or slower, for the speech and for each noise.
    equalizer : float, default=0.5
        Probability of a smooth frequency response of ±6 dB, for the speech, for each noise and for
        the microphone.
    second_noise : float, default=0.3
        Probability of a second recorded noise.
    stationary_noise : float, default=0.2
        Probability of additional noise with a colour from white to brown.
    clean_only, noise_only : float, default=0.03, 0.02
        Probabilities of speech without noise, and of noise without speech; then the target is zero.
    band_limit : float, default=0.1
        Probability of a microphone that cuts below 30 to 200 Hz and above 4 to 7 kHz.
    clipping : float, default=0.05
        Probability of clipping at 3 to 15 dB below the peak, in the mixture only.
    codec : float, default=0.05
        Probability of MP3 or Ogg Vorbis at a low bit rate, in the mixture only.
    level : float, default=1.0
        Probability of scaling the peak to a random level from `level_db`.
    snr_db : tuple of float, default=(-5, 25)
        Range of the signal-to-noise ratio in dB before the microphone, where the speech has the
        power given by :func:`active_power`.
    level_db : tuple of float, default=(-40, -6)
        Range of the peak in dB relative to full scale.

    Raises
    ------
    ParameterError
        If a probability is not between 0 and 1, the sum of `clean_only` and `noise_only` is above
        1, or a range is not two finite numbers in order.

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
            else:
                check_number(field.name, value, 0, 1)
        if self.clean_only + self.noise_only > 1:
            raise ParameterError("clean_only and noise_only must not add up to more than 1")


def check_range(name: str, values: tuple[float, float]) -> None:
    """Raise ParameterError unless `values` are two finite numbers in order."""
    array = real_array(name, values)
    if array.shape != (2,) or not np.isfinite(array).all() or array[0] > array[1]:
        raise ParameterError(f"{name} must be two finite numbers in order, not {values!r}")


def mix_speech(
    speech: NDArray[np.float32],
    noises: Sequence[NDArray[np.float32]],
    rng: np.random.Generator,
    conditions: MixtureConditions,
) -> Mixture:
    """Mix dry speech and one or more noises, each (n_samples,), under random conditions."""
    if not noises or not all(sound.any() for sound in (speech, *noises)):
        raise ParameterError("a mixture needs speech and noise that are not silent")

    def happens(probability: float) -> bool:
        return rng.random() < probability

    if happens(conditions.equalizer):
        speech = equalize(speech, rng)
    # Mixture and target.
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
    """Tell for each frame of 10 ms at 16 kHz whether it is within 30 dB of the loudest one.

    Examples
    --------
    >>> active_frames(np.repeat(np.float32([1, 0.01, 0.1]), 160))
    array([ True, False,  True])
    """
    power = frame_power(samples)
    return np.asarray(power > power.max() * 10 ** (_PAUSE_DB / 10))


def active_power(samples: NDArray[np.float32]) -> float:
    """Mean square of the :func:`active_frames` of a sound."""
    return float(frame_power(samples)[active_frames(samples)].mean())


def set_level(mixture: Mixture, peak_db: float) -> Mixture:
    """Scale mixture and target so that the mixture peaks at `peak_db` relative to full scale."""
    gain = np.float32(10 ** (peak_db / 20) / np.abs(mixture.noisy).max())
    return Mixture(mixture.noisy * gain, mixture.clean * gain)


def _power(samples: NDArray[np.float32]) -> float:
    return float(np.mean(samples**2, dtype=np.float64))


def _draw_room(rng: np.random.Generator) -> NDArray[np.float32]:
    return _room(int(rng.integers(_N_ROOMS)))


@cache
def _room(number: int) -> NDArray[np.float32]:
    """Response of a room, and its direct sound and early reflections."""
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
    # Codecs discard what is inaudible, and clip at full scale.
    gain = np.float32(0.5 / np.abs(noisy).max())
    file = BytesIO()
    soundfile.write(
        file, noisy * gain, SAMPLE_RATE, subtype, format=container, compression_level=compression
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, frames=len(noisy), dtype="float32", fill_value=0.0)
    return np.asarray(decoded / gain)
