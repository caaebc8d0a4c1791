from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from factorizations import assert_never_rises, uniform
from scipy.optimize import minimize

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
    P = harmonic_templates(AXIS, PITCHES, window_durations=20 / AXIS.frequencies, n_templates=3)
    P, E = torch.from_numpy(P), weights() * (0.3 + uniform(3, 3, 1))
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
    options = {"domain": domain, "beta": beta, "floor": floor, "max_iter": 5, "tol": 0.0}
    result = solve(V, P, E, H, estimate_H=False, sigma=sigma, **options)
    v, v_hat = V + floor, model(result.W, H) + floor
    squares = (to_dB(v) - to_dB(v_hat)).square().sum()
    expected = squares if domain == "decibel" else beta_divergence(v, v_hat, beta)
    deviation = to_dB(result.W) - to_dB(dictionary(P, result.E))
    torch.testing.assert_close(result.deviation, deviation, rtol=0, atol=1e-4)
    expected = expected + deviation.square().sum() / (2 * sigma**2)
    torch.testing.assert_close(result.objective[-1], expected, rtol=1e-4, atol=0)


def test_sigma_controls_how_rigid_the_templates_are():
    P, _, _, H, V = harmonic_problem()
    options = {"estimate_H": False, "floor": 1e-6, "max_iter": 60, "tol": 0.0}
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
    options = {"beta": 1, "max_iter": 100, "tol": 0.0}
    free = factorize_harmonic(V, P, E, H, MultiplicativeOptions(**options)).objective
    result = solve(V, P, E[..., None], H[:, None], sigma=math.inf, **options)
    assert result.objective[-1] < 1.02 * free[-1]


def test_dictionary_is_recovered_with_the_true_activations():
    P, E, W, H, V = harmonic_problem()
    options = {"estimate_H": False, "max_iter": 150, "tol": 0.0}
    result = solve(V, P, weights(), H, sigma=30.0, **options)
    assert (to_dB(result.W) - to_dB(W)).abs()[P.sum(-1) > 0.01].max() < 0.5
    # Rigid templates recover their weights.
    V = model(dictionary(P, E), H)
    result = solve(V, P, weights(), H, sigma=0.0, dynamic_range=150.0, **options)
    torch.testing.assert_close(result.E, E, rtol=2e-2, atol=1e-3)


def test_activations_are_fixed_or_estimated_with_unit_spectra():
    P, _, _, H, V = harmonic_problem()
    fixed, estimated = (
        solve(V, P, weights(), H, estimate_H=estimate_H, max_iter=10)
        for estimate_H in (False, True)
    )
    assert torch.equal(fixed.H, H)
    assert not torch.allclose(estimated.H, H)
    torch.testing.assert_close(
        torch.linalg.vector_norm(estimated.W, dim=0), torch.ones(3, 1).double()
    )


def test_timbres_have_their_own_spectra():
    P, E, _, _, _ = harmonic_problem()
    H, E = roll(2), E * (0.1 + uniform(3, 3, 2, seed=7))
    V = model(dictionary(P, E), H)
    start = weights() * (0.5 + uniform(3, 3, 2, seed=8))
    options = {"estimate_H": False, "floor": 1e-3, "max_iter": 50}
    result = solve(V, P, start, H, **options)
    assert (result.W.shape, result.E.shape) == ((AXIS.n_bins, 3, 2), (3, 3, 2))
    assert result.objective[-1] < 0.2 * result.objective[0]
    own = solve(V, P[:, :, None].expand(-1, -1, 2, -1), start, H, **options)
    torch.testing.assert_close(own.W, result.W)


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


def smooth_problem(silent=()):
    """Six keys of random spectra, some of them silent, and a common tilt to be found."""
    W = 0.1 + uniform(12, 6, 2)
    H = uniform(6, 2, 40, seed=1) ** 4
    H[list(silent)] = 0
    tilt = torch.linspace(-3, 3, 12, dtype=torch.float64)[:, None, None]
    V = 100 * model(W * 10 ** (tilt / 10), H)
    return tilt, (V, W[..., None], torch.ones(1, 6, 2).double(), H)


FIXED = {"estimate_E": False, "estimate_H": False, "tol": 0.0, "max_iter": 50}
KEYS = torch.arange(6, dtype=torch.float64)


def test_a_smooth_basis_has_its_correlation():
    B = smooth_basis(KEYS, 2.0)
    torch.testing.assert_close(
        B @ B.T, torch.exp(-((KEYS[:, None] - KEYS) ** 2) / 8), atol=1e-3, rtol=0
    )
    assert smooth_basis(KEYS, 1e3).shape == (6, 1)
    assert smooth_basis(KEYS, 0.01).shape == (6, 6)


def test_identities_are_the_default_bases():
    _, problem = smooth_problem()
    plain = solve(*problem, **FIXED)
    identities = solve(*problem, bases=[torch.eye(n).double() for n in (12, 6, 2)], **FIXED)
    torch.testing.assert_close(identities.W, plain.W)
    torch.testing.assert_close(identities.objective, plain.objective)


def test_a_common_tilt_is_found():
    tilt, problem = smooth_problem()
    bases = (None, smooth_basis(KEYS, 2.0), torch.ones(2, 1).double())
    result = solve(*problem, bases=bases, **FIXED)
    assert_never_rises(result.objective)
    torch.testing.assert_close(result.deviation[:, :, 0], result.deviation[:, :, 1])
    error = result.deviation - tilt
    assert (error - error.mean()).abs().mean() < 0.5


def test_silent_keys_learn_from_their_neighbours_only():
    _, problem = smooth_problem(silent=[4, 5])
    assert not solve(*problem, **FIXED).deviation[:, 4:].any()
    shared = solve(*problem, bases=(None, smooth_basis(KEYS, 0.7), None), **FIXED)
    size = shared.deviation.abs().mean(dim=(0, 2))
    assert size[4] > 3 * size[5] > 0


@pytest.mark.parametrize(
    "options",
    [{"sigma": math.nan}, {"domain": "log"}, {"optimizer": "sgd"}, {"dynamic_range": 0.0}],
)
def test_invalid_options_are_errors(options):
    with pytest.raises(ParameterError, match=f"^{next(iter(options))} must"):
        DecibelOptions(**options)
    with pytest.raises(ParameterError, match="nothing to estimate"):
        DecibelOptions(estimate_H=False, estimate_E=False, sigma=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
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
    shapes = {"V": (6, 5), "P": (6, 4, 3), "E": (3, 4, 1), "H": (4, 1, 5)}
    arguments = {name: torch.ones(shape) for name, shape in shapes.items()}
    with pytest.raises(ParameterError, match=message):
        factorize_decibel(**{**arguments, **changes})


def reference_minimum(V, P, E, H, *, beta, sigma, floor):
    """Lowest objective that SciPy's L-BFGS finds from two starts, in W_dB, E and H."""
    shapes = [(len(V), *E.shape[1:]), E.shape, H.shape]
    sizes = [math.prod(shape) for shape in shapes]
    PE_floor = 1e-6 * dictionary(P, E).max()

    def objective(x):
        x = torch.from_numpy(x).requires_grad_()
        deviation, E_dB, H_dB = (
            part.reshape(shape) for part, shape in zip(x.split(sizes), shapes, strict=True)
        )
        W_dB = to_dB(dictionary(P, 10 ** (E_dB / 10)) + PE_floor) + sigma * deviation
        V_hat = model(10 ** (W_dB / 10), 10 ** (H_dB / 10))
        D = beta_divergence(V + floor, V_hat + floor, beta)
        total = (D + deviation.square().sum() / 2) / scale
        (gradient,) = torch.autograd.grad(total, x)
        return float(total.detach()), gradient.numpy()

    start = torch.cat([torch.zeros(sizes[0]).double(), to_dB(E).flatten(), to_dB(H).flatten()])
    scale = 1.0
    scale = objective(start.numpy())[0]
    options = {"maxiter": 1000, "maxfun": 1500}
    return (
        scale * minimize(objective, start.numpy(), jac=True, method="L-BFGS-B", options=options).fun
    )


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("scale", [1e-4, 1.0])
@pytest.mark.parametrize(("beta", "n_frames"), [(2.0, 1), (0.5, 5)])
def test_minimum_is_near_that_of_an_independent_optimiser(beta, n_frames, scale, optimizer):
    P, _, W, H, _ = harmonic_problem()
    V = model(W, H[..., 3 : 3 + n_frames] + 0.1)
    V *= scale / V.max()
    E, H = weights(), V.sum(dim=0).expand(3, 1, -1) / 10
    options = {"beta": beta, "sigma": 3.0, "floor": 1e-5 * scale}
    result = solve(V, P, E, H, optimizer=optimizer, max_iter=1000, **options)
    first, last = result.objective[0].item(), result.objective[-1].item()
    assert result.converged
    assert last == result.objective.min()
    # Of the fall that is possible, all but a hundredth.
    assert last - reference_minimum(V, P, E, H, **options) < 0.01 * (first - last)
