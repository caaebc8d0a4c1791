from __future__ import annotations

import numpy as np
import pytest
from sound_files import main_frequency, tone, write

from harmnmf import AudioError, ParameterError
from harmnmf.enhancement.mixtures.mixing import active_power
from harmnmf.enhancement.mixtures.singing import SingingMixtures
from harmnmf.signal.audio import SAMPLE_RATE as RATE


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Accompaniments at 400 and 500 Hz, 20 dB apart, with the same voice at 1000 Hz."""
    folder = tmp_path_factory.mktemp("clips")
    return [
        write(folder / "a.wav", tone(400, 2.0), 0.4 * tone(1000, 2.0)),
        write(folder / "b.wav", 0.1 * tone(500, 2.0), 0.4 * tone(1000, 2.0)),
    ]


def test_channels_ratios_and_levels(clips):
    mixtures = SingingMixtures(clips)
    accompaniments, ratios, levels = set(), [], []
    for i in range(60):
        noisy, clean = mixtures[i]
        assert noisy.shape == clean.shape == (2 * RATE,)
        assert noisy.dtype == clean.dtype == np.float32
        assert main_frequency(clean, [1000])
        accompaniments.add(main_frequency(noisy - clean, [400, 500]))
        ratios.append(10 * np.log10(active_power(clean) / active_power(noisy - clean)))
        levels.append(20 * np.log10(np.abs(noisy).max()))
    assert accompaniments == {400, 500}
    assert -5.1 < min(ratios) < -3.5 < 3.5 < max(ratios) < 5.1
    assert -40.1 < min(levels) < -35 < -11 < max(levels) < -5.9


def test_the_ratio_is_that_of_the_whole_clip(tmp_path):
    # The accompaniment is soft in the first half, and stays so.
    swell = np.repeat([0.02, 0.5], 2 * RATE)
    clip = write(tmp_path / "a.wav", swell * tone(400, 4.0), 0.3 * tone(1000, 4.0))
    mixtures = SingingMixtures([clip], duration=0.5, ratio_db=(0.0, 0.0))
    ratios = []
    for i in range(40):
        noisy, clean = mixtures[i]
        ratios.append(10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2)))
    assert max(ratios) - min(ratios) == pytest.approx(20 * np.log10(25), abs=1.0)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([tone(400)], "is not stereo; singing needs the accompaniment on the left"),
        ([tone(400), 0 * tone(400)], "its right channel is silent"),
        ([tone(400, 0.01)] * 2, "lasts 0.010 s"),
    ],
)
def test_unusable_files_raise(tmp_path, clips, channels, message):
    bad = write(tmp_path / "bad.wav", *channels)
    with pytest.raises(AudioError, match=rf"bad\.wav: {message}"):
        SingingMixtures([*clips, bad])


def test_invalid_parameters_raise(clips):
    with pytest.raises(ParameterError, match="at least one clip"):
        SingingMixtures([])
    with pytest.raises(ParameterError, match="ratio_db must be two finite numbers"):
        SingingMixtures(clips, ratio_db=(5.0, -5.0))
