from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import FrequencyAxis, ParameterError, harmonic_templates
from harmnmf.nmf.solvers.decibel import (
    Amp2dB,
    dB2Amp,
    decibel_objective,
    factorize_decibel,
    smooth_basis,
)
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.loop import data_floor
from harmnmf.nmf.solvers.multiplicative import factorize_harmonic
from harmnmf.nmf.templates import initial_weights

BETAS = [0, 0.5, 1, 2, 3]
DISTANCES = [("linear", beta) for beta in BETAS] + [("decibel", 1)]
PITCHES = [52, 55, 59]
AXIS = FrequencyAxis.logarithmic(fmin=150.0, bins_per_octave=24, n_bins=72)


def uniform(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


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


def harmonic_problem():
    """A dictionary that deviates from harmonic templates by a few dB, and some noise between."""
    P, E = templates(), weights() * (0.3 + uniform(3, 3, 1))
    deviation = 4 * uniform(AXIS.n_bins, 3, 1, seed=1) - 2
    W = (dictionary(P, E) + 1e-3) * 10 ** (deviation / 10)
    return P, E, W, roll(), model(W, roll())


def to_dB(x):
    return 10 * torch.log10(x)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1e-12, 1.0))
@settings(deadline=None)
def test_amplitudes_return_from_decibels_with_the_floor_added(values, floor):
    x = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(dB2Amp()(Amp2dB(floor)(x)), x + floor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conversions_have_finite_values_and_gradients(dtype):
    x = torch.tensor([0, 1e-30, 1e-10, 1, 1e30], dtype=dtype, requires_grad=True)
    levels = Amp2dB()(x)
    (gradient,) = torch.autograd.grad(levels.sum(), x)
    torch.testing.assert_close(levels[0], torch.tensor(-100, dtype=dtype))
    assert torch.isfinite(levels).all()
    assert gradient[0].item() == pytest.approx(10 / math.log(10) / 1e-10)
    assert torch.isfinite(gradient).all()
    x = torch.tensor([-1e6, -400, 0, 150, 1e6, math.inf], dtype=dtype, requires_grad=True)
    amplitudes = dB2Amp()(x)
    (gradient,) = torch.autograd.grad(amplitudes.sum(), x)
    np.testing.assert_allclose(amplitudes.detach(), [0, 0, 1, 1e15, 1e15, 1e15], atol=1e-39)
    assert torch.isfinite(gradient).all()
    assert (gradient[-2:] == 0).all()


def test_conversions_work_in_a_network():
    network = torch.nn.Sequential(Amp2dB(1e-3), torch.nn.Linear(4, 4).double(), dB2Amp())
    assert torch.autograd.gradcheck(network, uniform(2, 4).requires_grad_())


def test_gradients_of_the_conversions():
    x = torch.tensor([0, 1e-2, 1, 30], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Amp2dB(1e-2), x)
    x = torch.tensor([-60, -1, 0, 20, 200], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(dB2Amp(), x)


@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_gradient_of_the_objective(domain, beta):
    V, P = uniform(6, 5), uniform(6, 3, 2, seed=1)
    V[2] = 0

    def objective(W_dB, E_dB, H_dB):
        PE_dB = Amp2dB(0.01)(dictionary(P, dB2Amp()(E_dB)))
        options = {"sigma": 3.0, "domain": domain, "beta": beta, "floor": 0.1}
        return decibel_objective(V, W_dB, PE_dB, dB2Amp()(H_dB), **options)

    shapes = (6, 3, 2), (2, 3, 2), (3, 2, 5)
    levels = [(4 * uniform(*shape, seed=3) - 2).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(objective, levels)


@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_objective_is_that_of_the_equation(domain, beta):
    V, W = uniform(4, 3) + 0.1, 0.1 + uniform(4, 2, 2, seed=1)
    PE, H = 0.1 + uniform(4, 2, 2, seed=2), uniform(2, 2, 3, seed=3)
    sigma, floor, expected = 2.5, 0.05, 0.0
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
                expected += deviation**2 / (2 * sigma**2)
    value = decibel_objective(
        V, to_dB(W), to_dB(PE), H, sigma=sigma, domain=domain, beta=beta, floor=floor
    )
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert value.dtype == torch.float64


@pytest.mark.parametrize("estimate_H", [False, True])
@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_line_search_never_raises_the_objective(domain, beta, estimate_H):
    P, _, _, H, V = harmonic_problem()
    result = factorize_decibel(
        V, P, weights(), H=H, estimate_H=estimate_H, domain=domain, beta=beta, floor=1e-3,
        sigma=30.0, n_iter=40, tol=0.0,
    )  # fmt: skip
    assert result.objective.shape == (41,)
    assert (result.objective.diff() <= 1e-12 * result.objective[:-1]).all()
    assert result.objective[-1] < 0.5 * result.objective[0]


def test_adam_comes_near_the_line_search():
    P, _, _, H, V = harmonic_problem()
    options = {"H": H, "estimate_H": False, "floor": 1e-3, "tol": 0.0}
    best = factorize_decibel(V, P, weights(), n_iter=200, **options).objective
    adam = factorize_decibel(
        V, P, weights(), n_iter=600, optimizer="adam", learning_rate=0.3, **options
    ).objective
    assert adam[-1] - best[-1] < 1e-2 * (adam[0] - best[-1])


def test_sigma_goes_from_free_to_rigid():
    P, _, _, H, V = harmonic_problem()
    options = {"H": H, "estimate_H": False, "floor": 1e-6, "n_iter": 300, "tol": 0.0}
    deviations, divergences = [], []
    for sigma in (math.inf, 10.0, 1.0, 1e-3, 0.0):
        result = factorize_decibel(V, P, weights(), sigma=sigma, **options)
        PE = dictionary(P, result.E)
        floor = 1e-6 * dictionary(P, weights() * level(V, P, weights(), H)).max()
        deviations.append((to_dB(result.W) - to_dB(PE + floor)).abs().max().item())
        divergences.append(beta_divergence(V + 1e-6, model(result.W, H) + 1e-6, 0.5).item())
    assert deviations[1:] == sorted(deviations[1:], reverse=True)
    assert divergences[:-1] == sorted(divergences[:-1])
    assert deviations[-2] < 0.01
    assert deviations[-1] < 1e-9
    assert divergences[-2] == pytest.approx(divergences[-1], rel=1e-2)


def level(V, P, E, H):
    return V.sum() / model(dictionary(P, E), H).sum()


def test_with_no_prior_the_divergence_is_that_of_multiplicative_updates():
    V, P = 0.1 + uniform(12, 20), torch.eye(12, dtype=torch.float64)[:, None].expand(-1, 3, -1)
    E, H = 0.1 + uniform(12, 3, seed=1), 0.1 + uniform(3, 20, seed=2)
    free = factorize_harmonic(V, P, E, H=H, beta=1, n_iter=300, tol=0.0).objective
    result = factorize_decibel(
        V, P, E[..., None], H=H[:, None], beta=1, sigma=math.inf, n_iter=300, tol=0.0
    )
    assert result.objective[-1] < 1.02 * free[-1]


def test_dictionary_is_recovered_with_the_true_activations():
    P, E, W, H, V = harmonic_problem()
    result = factorize_decibel(
        V, P, weights(), H=H, estimate_H=False, sigma=30.0, n_iter=500, tol=0.0
    )
    assert (to_dB(result.W) - to_dB(W)).abs()[P.sum(-1) > 0.01].max() < 0.5
    # Rigid templates recover the weights that they are given.
    V = model(dictionary(P, E), H)
    result = factorize_decibel(
        V, P, weights(), H=H, estimate_H=False, sigma=0.0, dynamic_range=150.0, n_iter=500, tol=0.0
    )
    torch.testing.assert_close(result.E, E, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_what_is_fixed_stays_fixed_and_what_is_zero_stays_zero(optimizer):
    P, _, _, H, V = harmonic_problem()
    E = weights()
    E[1, 2] = 0
    arguments = [V, P, E, H]
    copies = [x.clone() for x in arguments]
    options = {"optimizer": optimizer, "n_iter": 10}
    fixed = factorize_decibel(V, P, E, H=H, estimate_H=False, **options)
    assert torch.equal(fixed.H, H)
    masked = factorize_decibel(V, P, E, H=H, **options)
    assert ((masked.H == 0) == (H == 0)).all()
    assert not torch.allclose(masked.H, H)
    assert ((masked.E == 0) == (E == 0)).all()
    torch.testing.assert_close(
        torch.linalg.vector_norm(masked.W, dim=0), torch.ones(3, 1, dtype=torch.float64)
    )
    for x, copy in zip(arguments, copies, strict=True):
        assert torch.equal(x, copy)
    for result in (fixed, masked):
        assert not any(x.requires_grad for x in result)


def test_a_dictionary_is_adapted_to_a_recording():
    _, _, W, H, V = harmonic_problem()
    W0 = W * 10 ** (0.3 * (2 * uniform(*W.shape, seed=5) - 1))
    prior = {"P": W0[..., None], "E": torch.ones(1, 3, 1, dtype=torch.float64), "estimate_E": False}
    kept = factorize_decibel(V, **prior, sigma=1e-3, n_iter=100)
    floor = 1e-6 * W0.max()
    torch.testing.assert_close(kept.W, W0 + floor, rtol=1e-3, atol=0)
    assert torch.equal(kept.E, prior["E"])
    adapted = factorize_decibel(V, **prior, sigma=30.0, H=H, estimate_H=False, n_iter=300, tol=0.0)
    error = [(to_dB(X / X.sum()) - to_dB(W / W.sum())).square().mean() for X in (adapted.W, W0)]
    assert error[0] < 0.25 * error[1]


def test_timbres_have_their_own_spectra():
    P, H = templates(), roll(2)
    E = weights() * (0.1 + uniform(3, 3, 2, seed=7))
    V = model(dictionary(P, E), H)
    start = weights() * (0.5 + uniform(3, 3, 2, seed=8))
    options = {"H": H, "estimate_H": False, "floor": 1e-3, "n_iter": 200}
    result = factorize_decibel(V, P, start, **options)
    assert result.W.shape == (AXIS.n_bins, 3, 2)
    assert result.E.shape == (3, 3, 2)
    assert result.objective[-1] < 0.2 * result.objective[0]
    own = factorize_decibel(V, P[:, :, None].expand(-1, -1, 2, -1), start, **options)
    torch.testing.assert_close(own.W, result.W)


@pytest.mark.parametrize("domain", ["linear", "decibel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_and_zeros_are_finite(dtype, domain):
    P, E, H = (x.to(dtype) for x in (templates(), weights(), roll()))
    P[:, 1] = 0  # a key beyond the axis
    for V in (torch.zeros(AXIS.n_bins, 7), model(dictionary(P, E), H)):
        for start in (None, H, torch.zeros_like(H)):
            for optimizer in ("lbfgs", "adam"):
                result = factorize_decibel(
                    V.to(dtype), P, E, H=start, domain=domain, optimizer=optimizer, n_iter=15
                )
                assert all(torch.isfinite(x).all() for x in result)


@pytest.mark.parametrize(("domain", "beta"), DISTANCES)
def test_single_precision_agrees_with_double(domain, beta):
    P, _, _, H, V = harmonic_problem()
    options = {"estimate_H": False, "domain": domain, "beta": beta, "floor": 1e-2, "n_iter": 10}
    double = factorize_decibel(V, P, weights(), H=H, optimizer="adam", **options)
    single = factorize_decibel(
        V.float(), P.float(), weights().float(), H=H.float(), optimizer="adam", **options
    )
    assert (single.W.dtype, single.objective.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.objective, double.objective, rtol=1e-3, atol=0)
    # Adam's steps have the same size however small, and uncertain, a gradient.
    torch.testing.assert_close(single.W.double(), double.W, rtol=0, atol=1e-2 * double.W.max())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_processor():
    P, _, _, H, V = harmonic_problem()
    expected = factorize_decibel(V, P, weights(), H=H, floor=1e-2, n_iter=10)
    result = factorize_decibel(
        *(x.cuda() for x in (V, P, weights())), H=H.cuda(), floor=1e-2, n_iter=10
    )
    for x, y in zip(result, expected, strict=True):
        assert x.is_cuda
        torch.testing.assert_close(x.cpu(), y, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_the_level_of_the_data_only_weighs_the_prior(scale):
    P, _, _, H, V = harmonic_problem()
    options = {"estimate_H": False, "beta": 0, "n_iter": 10, "tol": 0.0}
    one = factorize_decibel(V, P, weights(), H=H, **options, floor=1e-3)
    other = factorize_decibel(scale * V, P, weights(), H=H, **options, floor=1e-3 * scale)
    torch.testing.assert_close(other.W, scale * one.W, rtol=1e-5, atol=0)


def test_default_floors():
    P, _, _, H, V = harmonic_problem()
    for domain, floor in (("linear", data_floor(V)), ("decibel", 1e-4 * V.max())):
        options = {"estimate_H": False, "domain": domain, "dynamic_range": 40.0, "n_iter": 3}
        expected = factorize_decibel(V, P, weights(), H=H, floor=floor, **options).objective
        assert torch.equal(factorize_decibel(V, P, weights(), H=H, **options).objective, expected)


def test_iterations_stop_at_the_tolerance_and_tell_no_objective_without():
    P, _, _, H, V = harmonic_problem()
    options = {"H": H, "estimate_H": False, "floor": 1e-3}
    objective = factorize_decibel(V, P, weights(), n_iter=1000, tol=1e-3, **options).objective
    assert 11 < len(objective) < 1001
    assert objective[-11] - objective[-1] <= 1e-3 * objective[-11]
    silent = factorize_decibel(V, P, weights(), n_iter=5, tol=None, **options)
    assert silent.objective.shape == (0,)
    loud = factorize_decibel(V, P, weights(), n_iter=5, tol=0.0, **options)
    torch.testing.assert_close(silent.W, loud.W)


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf])
@pytest.mark.parametrize("name", ["V", "P", "E", "H"])
def test_data_without_meaning_is_refused_by_name(name, bad):
    arrays = {"V": (6, 5), "P": (6, 4, 3), "E": (3, 4, 1), "H": (4, 1, 5)}
    arrays = {key: uniform(*shape) for key, shape in arrays.items()}
    arrays[name].view(-1)[7] = bad
    with pytest.raises(ParameterError, match=f"^{name} holds"):
        factorize_decibel(**arrays)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": -1.0}, "sigma"),
        ({"sigma": math.nan}, "sigma"),
        ({"domain": "log"}, "domain"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"dynamic_range": 0.0}, "dynamic_range"),
        ({"n_iter": -1}, "n_iter"),
        ({"estimate_H": False, "H": None}, "H must be given"),
        ({"estimate_H": False, "estimate_E": False, "sigma": 0.0}, "nothing to estimate"),
        ({"V": torch.ones(6, 4)}, "do not fit"),
        ({"V": torch.ones(6)}, "do not fit"),
        ({"E": torch.ones(3, 4)}, "do not fit"),
        ({"P": torch.ones(6, 4, 2)}, "do not fit"),
        ({"P": torch.ones(6, 4, 2, 3)}, "do not fit"),
        ({"H": torch.ones(4, 5)}, "do not fit"),
        ({"V": torch.ones(6, 0)}, "V is empty"),
    ],
)
def test_parameters_outside_their_domain_are_refused(options, message):
    arguments = {
        "V": torch.ones(6, 5),
        "P": torch.ones(6, 4, 3),
        "E": torch.ones(3, 4, 1),
        "H": torch.ones(4, 1, 5),
    }
    with pytest.raises(ParameterError, match=message):
        factorize_decibel(**{**arguments, **options})


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_conversions_refuse_floors_and_ceilings_without_meaning(bad):
    with pytest.raises(ParameterError, match="floor"):
        Amp2dB(bad)
    if not math.isfinite(bad):
        with pytest.raises(ParameterError, match="ceiling"):
            dB2Amp(bad)


class TestSmoothDeviations:
    POSITIONS = torch.arange(6, dtype=torch.float64)

    def problem(self, *, silent=()):
        """Six keys of random spectra, of which some are silent, and a common tilt to be found."""
        W = 0.1 + uniform(12, 6, 2)
        H = uniform(6, 2, 40, seed=1) ** 4
        H[list(silent)] = 0
        tilt = torch.linspace(-3, 3, 12, dtype=torch.float64)
        V = 100 * model(W * 10 ** (tilt[:, None, None] / 10), H)
        return tilt, {"V": V, "P": W[..., None], "E": torch.ones(1, 6, 2).double(), "H": H}

    def solve(self, problem, bases, sigma=3.0, **options):
        fixed = {"estimate_E": False, "estimate_H": False, "tol": 0.0}
        return factorize_decibel(**problem, **fixed, sigma=sigma, bases=bases, **options)

    def test_a_basis_has_its_correlation(self):
        B = smooth_basis(self.POSITIONS, 2.0)
        distance = self.POSITIONS[:, None] - self.POSITIONS
        torch.testing.assert_close(B @ B.T, torch.exp(-(distance**2) / 8), atol=1e-3, rtol=0)
        assert smooth_basis(self.POSITIONS, 1e3).shape == (6, 1)
        torch.testing.assert_close(
            smooth_basis(self.POSITIONS, 0.01).abs().sum(1), torch.ones(6).double()
        )
        with pytest.raises(ParameterError, match="length"):
            smooth_basis(self.POSITIONS, 0.0)

    def test_identities_are_no_bases(self):
        _, problem = self.problem()
        plain = self.solve(problem, (None, None, None), n_iter=10)
        identities = self.solve(problem, [torch.eye(n).double() for n in (12, 6, 2)], n_iter=10)
        torch.testing.assert_close(identities.W, plain.W)
        torch.testing.assert_close(identities.objective, plain.objective)

    def test_the_objective_never_rises_and_the_tilt_is_found(self):
        tilt, problem = self.problem()
        bases = (None, smooth_basis(self.POSITIONS, 2.0), torch.ones(2, 1).double())
        result = self.solve(problem, bases, n_iter=50)
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

    def test_the_prior_wins_if_it_is_narrow(self):
        _, problem = self.problem()
        bases = (None, smooth_basis(self.POSITIONS, 2.0), None)
        assert self.solve(problem, bases, sigma=1e-4).deviation.abs().max() < 1e-3
        free = self.solve(problem, bases, sigma=math.inf, n_iter=30)
        assert free.deviation.abs().max() > 2

    @pytest.mark.parametrize(
        "bases", [(None, None), (None, torch.ones(5, 1), None), (torch.ones(12), None, None)]
    )
    def test_refuses_bases_that_do_not_fit(self, bases):
        with pytest.raises(ParameterError, match="bases"):
            self.solve(self.problem()[1], bases)
