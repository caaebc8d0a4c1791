from __future__ import annotations

import numpy as np
import pytest
import torch
from factorizations import uniform

from harmnmf import ParameterError
from harmnmf.nmf.solvers.reverberation import Reverberation


@pytest.mark.parametrize("n_frames", [1, 2, 3, 64, 100])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_frames_decay_exponentially(n_frames, decay):
    impulse = torch.zeros(2, n_frames, dtype=torch.float64)
    impulse[1, 0] = 2.0
    expected = torch.zeros_like(impulse)
    expected[1] = 2 * 0.3 * decay ** torch.arange(-1.0, n_frames - 1, dtype=torch.float64)
    expected[1, 0] = 2.0
    torch.testing.assert_close(Reverberation(0.3, decay).apply(impulse), expected)


@pytest.mark.parametrize("n_frames", [1, 2, 7, 64, 100])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_adjoint(n_frames, decay):
    room = Reverberation(0.3, decay)
    X, Y = uniform(2, 5, n_frames), uniform(2, 5, n_frames, seed=1)
    torch.testing.assert_close((room.apply(X) * Y).sum(), (X * room.adjoint(Y)).sum())


def test_a_room_decays_by_60_db_in_its_reverberation_time():
    for hop_duration in (0.01, 0.02):
        room = Reverberation.of_room(0.6, level_per_second=2.0, hop_duration=hop_duration)
        assert room.decay ** (0.6 / hop_duration) == pytest.approx(1e-3)
        assert room.level / hop_duration == pytest.approx(2)


@pytest.mark.parametrize(("level", "decay"), [(-0.1, 0.5), (np.nan, 0.5), (0.1, 1.0), (0.1, -0.1)])
def test_parameters_are_checked(level, decay):
    with pytest.raises(ParameterError, match="must be a finite number"):
        Reverberation(level, decay)
