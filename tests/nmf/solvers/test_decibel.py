from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from factorizations import uniform

from harmnmf import FrequencyAxis, ParameterError, harmonic_templates
from harmnmf.nmf.solvers.decibel import (
    DecibelOptions,
    amplitude_to_decibels,
    decibel_divergence,
    decibels_to_amplitude,
    factorize_decibel,
    smooth_basis,
)
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.loop import data_floor
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, factorize_harmonic
from harmnmf.nmf.templates import initial_weights

DISTANCES = [("linear", 0), ("linear", 0.5), ("linear", 1), ("linear", 3), ("decibel", 1)]
PITCHES = [52, 55, 59]
AXIS = FrequencyAxis.logarithmic(fmin=150.0, bins_per_octave=24, n_bins=72)


def templates():
    P = harmonic_templates(AXIS, PITCHES, window_durations=20 / AXIS.frequencies, n_templates=3)
    return torch.from_numpy(P)


def weights():
    return torch.from_numpy(initial_weights(PITCHES, n_templates=3))[..., None]


def roll(n_timbres=1):
    """Each key alone once, every two together, and rests."""
    H = torch.tensor(
        [[1, 0, 0, 2, 0, 3, 0], [0, 1, 0, 1, 2, 0, 0], [0, 0, 3, 0, 1, 1, 0]], dtype=torch.float64
    )
    return H[:, None] * (0.5 + uniform(3, n_timbres, 7, seed=9))


def dictionary(P, E):
    return torch.einsum("fkm,mkj->fkj", P, E)


def model(W, H):
    return torch.einsum("fkj,kjn->fn", W, H)


def solve(V, P, E, H=None, **options):
    return factorize_decibel(V, P, E, H, DecibelOptions(**options))


def harmonic_problem():
    """A dictionary that deviates from harmonic templates by a few dB, and some noise between."""
    P, E = templates(), weights() * (0.3 + uniform(3, 3, 1))
    deviation = 4 * uniform(AXIS.n_bins, 3, 1, seed=1) - 2
    W = (dictionary(P, E) + 1e-3) * 10 ** (deviation / 10)
    return P, E, W, roll(), model(W, roll())


def to_dB(x):
    return 10 * torch.log10(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conversions_have_finite_values_and_gradients(dtype):
    x = torch.tensor([0, 1e-30, 1e-10, 1, 1e30], dtype=dtype, requires_grad=True)
    levels = amplitude_to_decibels(x, 1e-10)
    (gradient,) = torch.autograd.grad(levels.sum(), x)
    torch.testing.assert_close(levels[0], torch.tensor(-100, dtype=dtype))
    assert torch.isfinite(levels).all()
    assert gradient[0].item() == pytest.approx(10 / math.log(10) / 1e-10)
    assert torch.isfinite(gradient).all()
    x = torch.tensor([-1e6, -400, 0, 150, 1e6, math.inf], dtype=dtype, requires_grad=True)
    amplitudes = decibels_to_amplitude(x)
    (gradient,) = torch.autograd.grad(amplitudes.sum(), x)
    np.testing.assert_allclose(amplitudes.detach(), [0, 0, 1, 1e15, 1e15, 1e15], atol=1e-39)
    assert torch.isfinite(gradient).all()
    assert (gradient[-2:] == 0).all()


@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_gradient_of_the_divergence(domain, beta):
    V = uniform(6, 5)
    V[2] = 0

    def divergence(W_dB, H_dB):
        H = decibels_to_amplitude(H_dB)
        return decibel_divergence(V, W_dB, H, domain=domain, beta=beta, floor=0.1)

    levels = [
        (4 * uniform(*shape, seed=3) - 2).requires_grad_() for shape in ((6, 3, 2), (3, 2, 5))
    ]
    assert torch.autograd.gradcheck(divergence, levels)


@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_objective_follows_the_equation(domain, beta):
    V, P, E = uniform(4, 3) + 0.1, 0.1 + uniform(4, 2, 2, seed=1), 0.1 + uniform(2, 2, 2, seed=2)
    H, sigma, floor = uniform(2, 2, 3, seed=3), 2.5, 0.05
    result = solve(
        V, P, E, H, estimate_H=False, sigma=sigma, domain=domain, beta=beta, floor=floor,
        max_iter=5, tol=0.0,
    )  # fmt: skip
    W, PE, expected = result.W, dictionary(P, result.E), 0.0
    for f in range(4):
        for n in range(3):
            v = V[f, n].item() + floor
            v_hat = floor + sum(
                (W[f, k, j] * H[k, j, n]).item() for k in range(2) for j in range(2)
            )
            if domain == "decibel":
                expected += (10 * math.log10(v) - 10 * math.log10(v_hat)) ** 2
            else:
                expected += beta_divergence(*torch.tensor([[[v]], [[v_hat]]]).double(), beta).item()
        for k in range(2):
            for j in range(2):
                deviation = 10 * math.log10(W[f, k, j]) - 10 * math.log10(PE[f, k, j])
                assert result.deviation[f, k, j].item() == pytest.approx(deviation, abs=1e-4)
                expected += deviation**2 / (2 * sigma**2)
    assert result.objective[-1].item() == pytest.approx(expected, rel=1e-4)
    assert result.objective.dtype == torch.float64


@pytest.mark.parametrize("estimate_H", [False, True])
@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_line_search_never_raises_the_objective(domain, beta, estimate_H):
    P, _, _, H, V = harmonic_problem()
    result = solve(
        V, P, weights(), H, estimate_H=estimate_H, domain=domain, beta=beta, floor=1e-3,
        sigma=30.0, max_iter=30, tol=0.0,
    )  # fmt: skip
    assert (result.n_iter, result.converged, result.objective.shape) == (30, False, (31,))
    assert (result.objective.diff() <= 1e-12 * result.objective[:-1]).all()
    assert result.objective[-1] < 0.5 * result.objective[0]


def test_adam_comes_near_the_line_search():
    P, _, _, H, V = harmonic_problem()
    options = {"estimate_H": False, "floor": 1e-3, "tol": 0.0}
    best = solve(V, P, weights(), H, max_iter=100, **options).objective
    adam = solve(V, P, weights(), H, max_iter=300, optimizer="adam", **options).objective
    assert adam[-1] - best[-1] < 0.05 * (adam[0] - best[-1])


def test_sigma_controls_how_rigid_the_templates_are():
    P, _, _, H, V = harmonic_problem()
    options = {"estimate_H": False, "floor": 1e-6, "max_iter": 100, "tol": 0.0}
    level = V.sum() / model(dictionary(P, weights()), H).sum()
    floor = 1e-6 * level * dictionary(P, weights()).max()
    deviations, divergences = [], []
    for sigma in (math.inf, 10.0, 1.0, 1e-3, 0.0):
        result = solve(V, P, weights(), H, sigma=sigma, **options)
        PE = dictionary(P, result.E) + floor
        deviations.append((to_dB(result.W) - to_dB(PE)).abs().max().item())
        divergences.append(beta_divergence(V + 1e-6, model(result.W, H) + 1e-6, 0.5).item())
    assert deviations[1:] == sorted(deviations[1:], reverse=True)
    assert divergences[:-1] == sorted(divergences[:-1])
    assert deviations[-2] < 0.01
    assert deviations[-1] < 1e-9
    assert divergences[-2] == pytest.approx(divergences[-1], rel=1e-2)


def test_without_a_prior_the_divergence_is_that_of_multiplicative_updates():
    V, P = 0.1 + uniform(12, 20), torch.eye(12, dtype=torch.float64)[:, None].expand(-1, 3, -1)
    E, H = 0.1 + uniform(12, 3, seed=1), 0.1 + uniform(3, 20, seed=2)
    options = {"beta": 1, "max_iter": 150, "tol": 0.0}
    free = factorize_harmonic(V, P, E, H, MultiplicativeOptions(**options)).objective
    result = solve(V, P, E[..., None], H[:, None], sigma=math.inf, **options)
    assert result.objective[-1] < 1.02 * free[-1]


def test_dictionary_is_recovered_with_the_true_activations():
    P, E, W, H, V = harmonic_problem()
    options = {"estimate_H": False, "max_iter": 250, "tol": 0.0}
    result = solve(V, P, weights(), H, sigma=30.0, **options)
    assert (to_dB(result.W) - to_dB(W)).abs()[P.sum(-1) > 0.01].max() < 0.5
    # Rigid templates recover their weights.
    V = model(dictionary(P, E), H)
    result = solve(V, P, weights(), H, sigma=0.0, dynamic_range=150.0, **options)
    torch.testing.assert_close(result.E, E, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_fixed_factors_and_zeros_do_not_change(optimizer):
    P, _, _, H, V = harmonic_problem()
    E = weights()
    E[1, 2] = 0
    arguments = [V, P, E, H]
    copies = [x.clone() for x in arguments]
    fixed, masked = (
        solve(V, P, E, H, estimate_H=estimate_H, optimizer=optimizer, max_iter=10)
        for estimate_H in (False, True)
    )
    assert torch.equal(fixed.H, H)
    assert ((masked.H == 0) == (H == 0)).all()
    assert not torch.allclose(masked.H, H)
    assert ((masked.E == 0) == (E == 0)).all()
    torch.testing.assert_close(
        torch.linalg.vector_norm(masked.W, dim=0), torch.ones(3, 1, dtype=torch.float64)
    )
    for x, copy in zip(arguments, copies, strict=True):
        assert torch.equal(x, copy)
    assert not any(x.requires_grad for x in (*fixed[:4], *masked[:4], masked.deviation))


def test_a_dictionary_is_adapted_to_a_recording():
    _, _, W, H, V = harmonic_problem()
    W0 = W * 10 ** (0.3 * (2 * uniform(*W.shape, seed=5) - 1))
    prior = W0[..., None], torch.ones(1, 3, 1, dtype=torch.float64)
    kept = solve(V, *prior, estimate_E=False, sigma=1e-3)
    torch.testing.assert_close(kept.W, W0 + 1e-6 * W0.max(), rtol=1e-3, atol=0)
    assert torch.equal(kept.E, prior[1])
    adapted = solve(V, *prior, H, estimate_E=False, estimate_H=False, sigma=30.0, tol=0.0)
    error = [(to_dB(X / X.sum()) - to_dB(W / W.sum())).square().mean() for X in (adapted.W, W0)]
    assert error[0] < 0.25 * error[1]


def test_timbres_have_their_own_spectra():
    P, H = templates(), roll(2)
    E = weights() * (0.1 + uniform(3, 3, 2, seed=7))
    V = model(dictionary(P, E), H)
    start = weights() * (0.5 + uniform(3, 3, 2, seed=8))
    options = {"estimate_H": False, "floor": 1e-3}
    result = solve(V, P, start, H, **options)
    assert result.W.shape == (AXIS.n_bins, 3, 2)
    assert result.E.shape == (3, 3, 2)
    assert result.objective[-1] < 0.2 * result.objective[0]
    own = solve(V, P[:, :, None].expand(-1, -1, 2, -1), start, H, **options)
    torch.testing.assert_close(own.W, result.W)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("domain", ["linear", "decibel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_and_zeros_give_finite_values(dtype, domain, optimizer):
    P, E, H = (x.to(dtype) for x in (templates(), weights(), roll()))
    P[:, 1] = 0  # a key beyond the axis
    for V in (torch.zeros(AXIS.n_bins, 7, dtype=dtype), model(dictionary(P, E), H)):
        for start in (None, H, torch.zeros_like(H)):
            result = solve(V, P, E, start, domain=domain, optimizer=optimizer, max_iter=10)
            assert all(torch.isfinite(x).all() for x in (*result[:4], result.deviation))


@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_single_precision_agrees_with_double(domain, beta):
    P, _, _, H, V = harmonic_problem()
    options = {"domain": domain, "beta": beta, "floor": 1e-2, "max_iter": 10, "optimizer": "adam"}
    arrays = V, P, weights(), H
    double = solve(*arrays, estimate_H=False, **options)
    single = solve(*(x.float() for x in arrays), estimate_H=False, **options)
    assert (single.W.dtype, single.objective.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.objective, double.objective, rtol=1e-3, atol=0)
    # Adam's steps have the same size however small, and uncertain, a gradient is.
    torch.testing.assert_close(single.W.double(), double.W, rtol=0, atol=1e-2 * double.W.max())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_processor():
    P, _, _, H, V = harmonic_problem()
    arrays = V, P, weights(), H
    expected = solve(*arrays, floor=1e-2, max_iter=10)
    result = solve(*(x.cuda() for x in arrays), floor=1e-2, max_iter=10)
    for x, y in zip(result[:3], expected[:3], strict=True):
        assert x.is_cuda
        torch.testing.assert_close(x.cpu(), y, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_the_level_of_the_data_only_changes_the_weight_of_the_prior(scale):
    P, _, _, H, V = harmonic_problem()
    options = {"estimate_H": False, "beta": 0, "max_iter": 10, "tol": 0.0}
    one = solve(V, P, weights(), H, floor=1e-3, **options)
    other = solve(scale * V, P, weights(), H, floor=1e-3 * scale, **options)
    torch.testing.assert_close(other.W, scale * one.W, rtol=1e-5, atol=0)


def test_default_floors():
    P, _, _, H, V = harmonic_problem()
    for domain, floor in (("linear", data_floor(V)), ("decibel", 1e-4 * V.max())):
        options = {"estimate_H": False, "domain": domain, "dynamic_range": 40.0, "max_iter": 3}
        expected = solve(V, P, weights(), H, floor=floor, **options).objective
        assert torch.equal(solve(V, P, weights(), H, **options).objective, expected)


def test_iterations_stop_at_the_tolerance():
    P, _, _, H, V = harmonic_problem()
    options = {"estimate_H": False, "floor": 1e-3}
    _, _, _, objective, n_iter, converged, _ = solve(
        V, P, weights(), H, max_iter=1000, tol=1e-3, **options
    )
    assert (n_iter, converged) == (len(objective) - 1, True)
    assert 10 < n_iter < 1000
    assert objective[-11] - objective[-1] <= 1e-3 * objective[-11]
    silent = solve(V, P, weights(), H, max_iter=5, tol=None, **options)
    assert silent.objective.shape == (0,)
    recorded = solve(V, P, weights(), H, max_iter=5, tol=0.0, **options)
    torch.testing.assert_close(silent.W, recorded.W)


@pytest.mark.parametrize(
    "options",
    [
        {"sigma": -1.0},
        {"sigma": math.nan},
        {"domain": "log"},
        {"optimizer": "sgd"},
        {"dynamic_range": 0.0},
        {"max_iter": -1},
    ],
)
def test_invalid_options_are_errors(options):
    with pytest.raises(ParameterError, match=f"^{next(iter(options))} must"):
        DecibelOptions(**options)
    with pytest.raises(ParameterError, match="nothing to estimate"):
        DecibelOptions(estimate_H=False, estimate_E=False, sigma=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"V": torch.full((6, 5), math.nan)}, "^V holds NaN"),
        ({"P": torch.full((6, 4, 3), -1.0)}, "^P holds negative"),
        ({"E": torch.full((3, 4, 1), -1.0)}, "^E holds negative"),
        ({"H": torch.full((4, 1, 5), -1.0)}, "^H holds negative"),
        ({"V": torch.ones(6, 0)}, "V is empty"),
        ({"V": torch.ones(6, 4)}, "do not fit"),
        ({"V": torch.ones(6)}, "do not fit"),
        ({"E": torch.ones(3, 4)}, "do not fit"),
        ({"P": torch.ones(6, 4, 2)}, "do not fit"),
        ({"P": torch.ones(6, 4, 2, 3)}, "do not fit"),
        ({"H": torch.ones(4, 5)}, "do not fit"),
        ({"options": DecibelOptions(estimate_H=False), "H": None}, "H must be given"),
        ({"options": DecibelOptions(bases=(None, None))}, "bases"),
        ({"options": DecibelOptions(bases=(None, torch.ones(5, 1), None))}, "bases"),
        ({"options": DecibelOptions(bases=(torch.ones(6), None, None))}, "bases"),
    ],
)
def test_arrays_that_do_not_fit_are_errors(changes, message):
    arguments = {
        "V": torch.ones(6, 5),
        "P": torch.ones(6, 4, 3),
        "E": torch.ones(3, 4, 1),
        "H": torch.ones(4, 1, 5),
    }
    with pytest.raises(ParameterError, match=message):
        factorize_decibel(**{**arguments, **changes})


class TestSmoothDeviations:
    POSITIONS = torch.arange(6, dtype=torch.float64)

    def problem(self, *, silent=()):
        """Six keys of random spectra, some of them silent, and a common tilt to be found."""
        W = 0.1 + uniform(12, 6, 2)
        H = uniform(6, 2, 40, seed=1) ** 4
        H[list(silent)] = 0
        tilt = torch.linspace(-3, 3, 12, dtype=torch.float64)
        V = 100 * model(W * 10 ** (tilt[:, None, None] / 10), H)
        return tilt, (V, W[..., None], torch.ones(1, 6, 2).double(), H)

    def solve(self, problem, bases, sigma=3.0, **options):
        fixed = {"estimate_E": False, "estimate_H": False, "tol": 0.0}
        return solve(*problem, **fixed, sigma=sigma, bases=bases, **options)

    def test_a_basis_has_its_correlation(self):
        B = smooth_basis(self.POSITIONS, 2.0)
        distance = self.POSITIONS[:, None] - self.POSITIONS
        torch.testing.assert_close(B @ B.T, torch.exp(-(distance**2) / 8), atol=1e-3, rtol=0)
        assert smooth_basis(self.POSITIONS, 1e3).shape == (6, 1)
        torch.testing.assert_close(
            smooth_basis(self.POSITIONS, 0.01).abs().sum(1), torch.ones(6).double()
        )

    def test_identities_are_the_default(self):
        _, problem = self.problem()
        plain = self.solve(problem, (None, None, None), max_iter=10)
        identities = self.solve(problem, [torch.eye(n).double() for n in (12, 6, 2)], max_iter=10)
        torch.testing.assert_close(identities.W, plain.W)
        torch.testing.assert_close(identities.objective, plain.objective)

    def test_the_objective_never_rises_and_the_tilt_is_found(self):
        tilt, problem = self.problem()
        bases = (None, smooth_basis(self.POSITIONS, 2.0), torch.ones(2, 1).double())
        result = self.solve(problem, bases, max_iter=50)
        assert (result.objective.diff() <= 1e-9 * result.objective[0]).all()
        torch.testing.assert_close(result.deviation[:, :, 0], result.deviation[:, :, 1])
        level = (result.deviation - tilt[:, None, None]).mean()
        assert (result.deviation - tilt[:, None, None] - level).abs().mean() < 0.5

    def test_silent_keys_learn_from_their_neighbours_only(self):
        _, problem = self.problem(silent=[4, 5])
        alone = self.solve(problem, (None, None, None))
        assert not alone.deviation[:, 4:].any()
        shared = self.solve(problem, (None, smooth_basis(self.POSITIONS, 0.7), None))
        size = shared.deviation.abs().mean(dim=(0, 2))
        assert size[4] > 3 * size[5] > 0

    def test_a_narrow_prior_prevails(self):
        _, problem = self.problem()
        bases = (None, smooth_basis(self.POSITIONS, 2.0), None)
        assert self.solve(problem, bases, sigma=1e-4).deviation.abs().max() < 1e-3
        free = self.solve(problem, bases, sigma=math.inf, max_iter=30)
        assert free.deviation.abs().max() > 2
