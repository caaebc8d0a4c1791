from __future__ import annotations

import math

import pytest
import torch
from factorizations import uniform
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import invgamma

from harmnmf.nmf.solvers.markov_chain import chain_divergence, minimise_with_chain


def objective(H, a, s, c, smoothness):
    bound = (s * H.log() + a / H + c * H).sum()
    return bound + smoothness * chain_divergence(H)


@pytest.mark.parametrize("alpha", [0.5, 3.0, 40.0])
def test_divergence_is_the_density_of_the_ratios_of_the_paper(alpha):
    H = 0.1 + uniform(3, 8)
    ratios = (H[:, 1:] / H[:, :-1]).numpy()
    density = -invgamma.logpdf(ratios, alpha, scale=alpha + 1).sum()
    mode = -invgamma.logpdf(1.0, alpha, scale=alpha + 1) * ratios.size
    assert (alpha + 1) * chain_divergence(H).item() == pytest.approx(density - mode)


def test_divergence_ignores_scale_and_silence():
    H = 0.1 + uniform(3, 8)
    scaled = H * torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64)[:, None]
    torch.testing.assert_close(chain_divergence(scaled), chain_divergence(H))
    parts = chain_divergence(H[:, :4]) + chain_divergence(H[:, 5:])
    H[:, 4] = 0
    torch.testing.assert_close(chain_divergence(H), parts)
    assert chain_divergence(H[:, :1]) == 0


@pytest.mark.parametrize("n_frames", [1, 2, 5, 6])
@pytest.mark.parametrize("smoothness", [0.0, 0.5, 30.0])
def test_each_activation_is_the_best_given_its_neighbours(n_frames, smoothness):
    H, a, s, c = (0.1 + uniform(1, n_frames, seed=seed) for seed in range(4))
    new = minimise_with_chain(H, a, s, c, smoothness)
    trial = H.clone()
    for n in [*range(0, n_frames, 2), *range(1, n_frames, 2)]:

        def value(log_h, n=n):
            trial[0, n] = math.exp(log_h)
            return objective(trial, a, s, c, smoothness).item()

        best = minimize_scalar(value, bounds=(-10, 10), method="bounded", options={"xatol": 1e-9})
        assert new[0, n].item() == pytest.approx(math.exp(best.x), rel=1e-6)
        trial[0, n] = new[0, n]


@given(seed=st.integers(0, 2**32), smoothness=st.floats(0, 1e3))
@settings(max_examples=20, deadline=None)
def test_sum_never_rises(seed, smoothness):
    H, a, s, c = (uniform(2, 7, seed=seed + i) ** 4 + 1e-6 for i in range(4))
    values = [objective(H, a, s, c, smoothness)]
    for _ in range(20):
        H = minimise_with_chain(H, a, s, c, smoothness)
        values.append(objective(H, a, s, c, smoothness))
    falls = -torch.stack(values).diff()
    assert (falls >= -1e-12 * (1 + values[0].abs())).all()


def test_zeros_stay_zero_and_nothing_changes_without_evidence():
    H = torch.tensor([[1.0, 0.0, 3.0, 2.0]])
    zero = torch.zeros(1, 4)
    assert torch.equal(minimise_with_chain(H, zero, zero, zero, 0.0), H)
    assert torch.equal(minimise_with_chain(H[:, :1], *3 * [zero[:, :1]], 5.0), H[:, :1])
    smooth = minimise_with_chain(H, zero, zero, zero, 5.0)
    assert smooth[0].tolist() == pytest.approx([1, 0, 2, 2])
