"""Training mixtures of singing from karaoke clips."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmnmf.errors import AudioError, ParameterError
from harmnmf.signal.reading import audio_info
from harmnmf.training.settings import describe_files

from .mixing import Mixture, active_power, check_range, set_level
from .speech import Mixtures, Sound, load_samples

__all__ = ["SingingMixtures"]

_LEVEL_DB = (-40.0, -6.0)


class SingingMixtures(Mixtures):
    """Endless sequence of random mixtures of voice and accompaniment.

    All files are kept in memory: 230 MB per hour. ``noisy - clean`` is the accompaniment.

    Parameters
    ----------
    files : sequence of Path
        Stereo clips as in MIR-1K: accompaniment on the left, voice on the right channel.
    duration : float, default=2.0
        Duration of a mixture in seconds, at least 0.1.
    ratio_db : tuple of float, default=(-5, 5)
        Range of the voice-to-accompaniment ratio in dB, of powers of the whole clip without pauses.
    seed : int, default=0
        Random seed.

    Raises
    ------
    AudioError
        If a file cannot be read, is not stereo, has a silent channel, or is shorter than 0.1 s.
    ParameterError
        If there are no files, or a parameter is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf import Audio, write_audio
    >>> clip = Audio(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16000)), 16000)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_audio(f"{folder}/clip.wav", clip)
    ...     mixtures = SingingMixtures([Path(folder, "clip.wav")])
    >>> mixtures[0].noisy.shape
    (32000,)
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        duration: float = 2.0,
        ratio_db: tuple[float, float] = (-5.0, 5.0),
        seed: int = 0,
    ) -> None:
        super().__init__(duration, seed)
        check_range("ratio_db", ratio_db)
        if not files:
            raise ParameterError("mixtures of singing need at least one clip")
        self._ratio_db = ratio_db
        with ThreadPoolExecutor() as pool:
            clips = list(pool.map(_load_clip, files))
        self.settings |= {
            "clips": describe_files((path.name, path) for path in files),
            "ratio_db": ratio_db,
        }
        self._clips = [Sound(samples) for samples in clips]
        # Gains that scale the accompaniment to the power of the voice.
        self._gains = [
            np.sqrt(active_power(voice.astype(np.float32)) / active_power(music.astype(np.float32)))
            for music, voice in clips
        ]

    def _mix(self, rng: np.random.Generator) -> Mixture:
        number = rng.integers(len(self._clips))
        accompaniment, voice = self._clips[number].draw(self.n_samples, rng)
        gain = self._gains[number] * 10 ** (-rng.uniform(*self._ratio_db) / 20)
        mixture = Mixture(voice + np.float32(gain) * accompaniment, voice)
        return set_level(mixture, rng.uniform(*_LEVEL_DB))


def _load_clip(path: Path) -> NDArray[np.int16]:
    if audio_info(path).n_channels != 2:
        raise AudioError(
            f"{path}: is not stereo; singing needs the accompaniment on the left and the voice "
            "on the right channel"
        )
    samples = load_samples(path, mono=False)
    for channel, name in zip(samples, ("left", "right"), strict=True):
        if not channel.any():
            raise AudioError(f"{path}: its {name} channel is silent; leave it out")
    return samples
