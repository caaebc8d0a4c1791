from __future__ import annotations

import math

import pytest
import torch
from factorizations import assert_never_rises, dictionary, sparse, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.nmf.solvers.bayesian import BayesianOptions, factorize_bayesian
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, factorize_harmonic

ALGORITHMS = ["em", "sage", "multiplicative"]
algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)
strengths = pytest.mark.parametrize("smoothness", [0.0, 20.0])


def powers(P, n_frames, seed=0):
    """Draw |x|² of Gaussian components under templates P."""
    H = uniform(P.shape[1], n_frames, seed=seed) ** 4
    variance = P.sum(dim=-1) @ H + 1e-3
    return -variance * torch.log(uniform(*variance.shape, seed=seed + 1))


def problem(n_bins=20, n_pitches=4, n_templates=3, n_frames=15, seed=0):
    P = sparse(n_bins, n_pitches, n_templates, seed=seed)
    E = 0.1 + uniform(n_templates, n_pitches, seed=seed + 1)
    return powers(P, n_frames, seed=seed + 2), P, E


def solve(V, P, E, H=None, **options):
    return factorize_bayesian(V, P, E, H, BayesianOptions(**options))


def negative_log_posterior(V, P, E, H, floor, smoothness):
    value = beta_divergence(V + floor, dictionary(P, E) @ H + floor, 0)
    ratio = H[:, :-1] / H[:, 1:]
    return value + smoothness * (ratio - ratio.log() - 1).sum()


def component_powers(V, P, E, H, floor):
    """Posterior powers |mean|² + variance of all components, one by one."""
    n_bins, n_pitches, n_templates = P.shape
    U = torch.zeros(n_bins, n_pitches, n_templates, V.shape[1], dtype=torch.float64)
    V_hat = dictionary(P, E) @ H + floor
    for f in range(n_bins):
        for n in range(V.shape[1]):
            x = math.sqrt(V[f, n] + floor)
            for k in range(n_pitches):
                for m in range(n_templates):
                    prior = H[k, n] * E[m, k] * P[f, k, m]
                    gain = prior / V_hat[f, n]
                    mean, variance = gain * x, prior * (1 - gain)
                    U[f, k, m, n] = mean**2 + variance
    return U


def test_em_step_maximises_the_likelihood_of_all_components_formed_one_by_one():
    V, P, E = problem(n_bins=9, n_pitches=3, n_templates=2, n_frames=4)
    H, floor = 0.1 + uniform(3, 4, seed=5), 0.01
    H[1, 2] = 0
    E[1, 0] = 0
    expected_H, expected_E = torch.zeros_like(H), torch.zeros_like(E)
    U = component_powers(V, P, E, H, floor)
    for k in range(3):
        for n in range(4):
            shares = [
                U[f, k, m, n] / (E[m, k] * P[f, k, m])
                for f in range(9)
                for m in range(2)
                if E[m, k] * P[f, k, m] > 0 and H[k, n] > 0
            ]
            expected_H[k, n] = sum(shares) / max(len(shares), 1)
    U = component_powers(V, P, E, expected_H, floor)
    for k in range(3):
        for m in range(2):
            shares = [
                U[f, k, m, n] / (expected_H[k, n] * P[f, k, m])
                for f in range(9)
                for n in range(4)
                if P[f, k, m] * expected_H[k, n] > 0 and E[m, k] > 0
            ]
            expected_E[m, k] = sum(shares) / max(len(shares), 1)
    result = solve(V, P, E, H, floor=floor, max_iter=1)
    scale = torch.linalg.vector_norm(dictionary(P, expected_E), dim=0)
    torch.testing.assert_close(result.E, expected_E / scale)
    torch.testing.assert_close(result.H, expected_H * scale[:, None])


def test_em_step_is_that_of_the_paper_where_templates_have_no_zeros():
    V, E, H = 0.1 + uniform(9, 4), 0.1 + uniform(2, 3, seed=1), 0.1 + uniform(3, 4, seed=2)
    P = 0.1 + uniform(9, 3, 2, seed=3)
    (F, N), M = V.shape, 2

    def gain(E, H):
        V_hat = torch.einsum("kn,mk,fkm->fn", H, E, P)
        share = torch.einsum("kn,mk,fkm->fnkm", H, E, P) / V_hat[..., None, None]
        return share * (V / V_hat - 1)[..., None, None]

    new_H = H * (1 + gain(E, H).sum(dim=(0, 3)).T / (F * M))
    new_E = E * (1 + gain(E, new_H).sum(dim=(0, 1)).T / (F * N))
    norm = torch.linalg.vector_norm(dictionary(P, new_E), dim=0)
    result = solve(V, P, E, H, floor=0.0, max_iter=1)
    torch.testing.assert_close(result.H, new_H * norm[:, None])
    torch.testing.assert_close(result.E, new_E / norm)


def test_sage_counts_bins_for_each_activation_and_updates_the_model_after_each_pitch():
    V, P, E = problem()
    H, floor = 0.1 + uniform(4, 15, seed=5), 0.01
    new_E, new_H = E.clone(), H.clone()
    for k in range(4):
        W = dictionary(P, new_E)
        V_hat = W @ new_H + floor
        gain = W[:, k : k + 1] * new_H[k] / V_hat * ((V + floor) / V_hat - 1)
        new_H[k] *= 1 + gain.sum(dim=0) / (W[:, k] > 0).sum()
        V_hat = W @ new_H + floor
        for m in range(3):
            gain = P[:, k, m, None] * E[m, k] * new_H[k] / V_hat * ((V + floor) / V_hat - 1)
            new_E[m, k] *= 1 + gain.sum() / (15 * (P[:, k, m] > 0).sum())
    norm = torch.linalg.vector_norm(dictionary(P, new_E), dim=0)
    result = solve(V, P, E, H, floor=floor, algorithm="sage", max_iter=1)
    torch.testing.assert_close(result.H, new_H * norm[:, None])
    torch.testing.assert_close(result.E, new_E / norm)


def test_multiplicative_updates_are_those_without_a_prior():
    V, P, E = problem()
    H = 0.1 + uniform(4, 15, seed=5)
    options = {"max_iter": 20, "tol": 0.0}
    theirs = factorize_harmonic(
        V, P, E, H, MultiplicativeOptions(beta=0, accelerate=False, **options)
    )
    ours = solve(V, P, E, H, algorithm="multiplicative", **options)
    torch.testing.assert_close(ours.E, theirs.E)
    torch.testing.assert_close(ours.H, theirs.H)
    torch.testing.assert_close(ours.objective[::10], theirs.objective)


@algorithms
@strengths
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_objective_never_rises(algorithm, smoothness, seed):
    V, P, E = problem(seed=seed)
    result = solve(V, P, E, algorithm=algorithm, smoothness=smoothness, max_iter=30, tol=0.0)
    assert (result.n_iter, result.converged, result.objective.shape) == (30, False, (31,))
    assert_never_rises(result.objective)


@algorithms
@strengths
def test_last_objective_is_that_of_the_result(algorithm, smoothness):
    V, P, E = problem()
    P[:, 2] = 0  # a key beyond the axis
    result = solve(
        V, P, E, algorithm=algorithm, smoothness=smoothness, floor=0.01, max_iter=7, tol=0.0
    )
    torch.testing.assert_close(result.W, dictionary(P, result.E))
    torch.testing.assert_close(
        torch.linalg.vector_norm(result.W, dim=0), torch.tensor([1, 1, 0, 1]).double()
    )
    expected = negative_log_posterior(V, P, result.E, result.H, 0.01, smoothness)
    torch.testing.assert_close(result.objective[-1], expected)


@algorithms
@strengths
def test_gradient_vanishes_at_convergence(algorithm, smoothness):
    V, P, E = problem(n_bins=12, n_pitches=2, n_templates=2, n_frames=6)
    V, floor = V + 0.1, 1e-3
    result = solve(
        V, P, E, algorithm=algorithm, smoothness=smoothness, floor=floor, max_iter=300, tol=None
    )
    logs = [x.log().requires_grad_() for x in (result.E, result.H)]
    E, H = (x.exp() for x in logs)
    negative_log_posterior(V, P, E, H, floor, smoothness).backward()
    for x in logs:
        assert x.grad.abs().max() < 1e-10


@algorithms
@strengths
def test_zeros_stay_zero_and_arguments_are_not_changed(algorithm, smoothness):
    V, P, E = problem()
    E[1, 2] = 0
    H = sparse(4, 15, seed=3)
    arguments = [V, P, E, H]
    copies = [x.clone() for x in arguments]
    result = solve(V, P, E, H, algorithm=algorithm, smoothness=smoothness, max_iter=5)
    assert ((result.H == 0) == (H == 0)).all()
    assert ((result.E == 0) == (E == 0)).all()
    for x, copy in zip(arguments, copies, strict=True):
        assert torch.equal(x, copy)


@algorithms
def test_activations_grow_smoother_with_the_prior(algorithm):
    V, P, E = problem(n_bins=40, n_frames=40)
    variation = [
        solve(V, P, E, algorithm=algorithm, smoothness=smoothness, max_iter=50, tol=None)
        .H.log()
        .diff()
        .abs()
        .sum()
        for smoothness in (0, 1, 10, 1000)
    ]
    assert variation[0] > 1.2 * variation[1]
    assert variation[1] > 1.2 * variation[2]
    assert variation[2] > 3 * variation[3]


@algorithms
def test_a_weak_prior_has_the_limit_of_none(algorithm):
    V, P, E = problem()
    weak, none = (
        solve(V, P, E, algorithm=algorithm, smoothness=smoothness, max_iter=10, tol=0.0)
        for smoothness in (1e-12, 0.0)
    )
    for x, y in zip(weak[:4], none[:4], strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-9)


@algorithms
def test_the_chain_breaks_where_a_note_ends(algorithm):
    V, P, E = problem(n_frames=10)
    H = torch.ones(4, 10, dtype=torch.float64)
    H[:, 5] = 0
    # The objective has no link from frame 4 to 6, or to the silent frame between them.
    options = {"algorithm": algorithm, "smoothness": 5.0, "floor": 1e-3, "tol": 0.0, "max_iter": 5}
    result = solve(V, P, E, H, **options)
    parts = [
        negative_log_posterior(V[:, n], P, result.E, result.H[:, n], 1e-3, 5.0)
        for n in (slice(5), slice(6, None))
    ]
    silent = beta_divergence(V[:, 5:6] + 1e-3, torch.full((20, 1), 1e-3).double(), 0)
    torch.testing.assert_close(result.objective[-1], sum(parts) + silent)
    assert_never_rises(result.objective)


@algorithms
@strengths
def test_batches_equal_their_members(algorithm, smoothness):
    V, P, E = problem()
    # Levels differ, and one member is silent: each has its own floor.
    V = V * torch.tensor([1, 1e4, 0], dtype=torch.float64)[:, None, None]
    E = E * (1 + uniform(3, *E.shape, seed=9))
    E[1, 2, 0] = 0
    options = {"algorithm": algorithm, "smoothness": smoothness, "max_iter": 8, "tol": 0.0}
    batch = solve(V, P, E, **options)
    assert batch.objective.shape == (9, 3)
    for i in range(3):
        single = solve(V[i], P, E[i], **options)
        torch.testing.assert_close(batch.E[i], single.E)
        torch.testing.assert_close(batch.H[i], single.H, rtol=1e-7, atol=0)
        torch.testing.assert_close(batch.objective[:, i], single.objective)


@algorithms
@strengths
def test_scales_of_the_data_and_of_the_weights(algorithm, smoothness):
    V, P, E = problem()
    H, scale = 0.1 + uniform(4, 15, seed=5), 10 ** (6 * uniform(4, seed=6) - 3)
    options = {"algorithm": algorithm, "smoothness": smoothness, "max_iter": 10, "tol": 0.0}
    one = solve(V, P, E, H, **options)
    shared = solve(V, P, E / scale, H * scale[:, None], **options)
    for x, y in zip(shared[:4], one[:4], strict=True):
        torch.testing.assert_close(x, y)
    for factor in (1e-6, 1e6):
        other = solve(factor * V, P, E, factor * H, **options)
        torch.testing.assert_close(other.E, one.E)
        torch.testing.assert_close(other.H, factor * one.H)
        torch.testing.assert_close(other.objective, one.objective)


@algorithms
@strengths
def test_single_precision_agrees_with_double(algorithm, smoothness):
    V, P, E = problem(n_bins=40, n_frames=30)
    options = {"algorithm": algorithm, "smoothness": smoothness, "floor": 1e-4, "max_iter": 20}
    double = solve(V, P, E, **options)
    single = solve(V.float(), P.float(), E.float(), **options)
    assert (single.H.dtype, single.objective.dtype) == (torch.float32, torch.float64)
    # Rounding errors of eps = 1.2e-7 add up over 20 iterations.
    torch.testing.assert_close(single.E.double(), double.E, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single.H.double(), double.H, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single.objective, double.objective, rtol=1e-5, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@algorithms
@strengths
def test_cuda_agrees_with_the_processor(algorithm, smoothness):
    V, P, E = problem()
    options = {"algorithm": algorithm, "smoothness": smoothness, "max_iter": 10}
    expected = solve(V, P, E, **options)
    result = solve(V.cuda(), P.cuda(), E.cuda(), **options)
    for x, y in zip(result[:3], expected[:3], strict=True):
        assert x.is_cuda
        torch.testing.assert_close(x.cpu(), y, rtol=1e-8, atol=1e-12)


@algorithms
@strengths
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_and_missing_templates_give_finite_values(algorithm, smoothness, dtype):
    V, P, E = (x.to(dtype) for x in problem())
    quiet, partial = V.clone(), P.clone()
    quiet[:, 3:6] = 0  # silent frames
    quiet[:4] = 0  # silent bins
    partial[4:8] = 0  # bins without a template
    partial[:, 2] = 0  # a pitch without a spectrum
    partial[:, 1, 1] = 0  # a template beyond the axis
    options = {"algorithm": algorithm, "smoothness": smoothness, "max_iter": 50, "tol": 0.0}
    for data, templates in ((0 * V, P), (quiet, P), (quiet, partial), (V, 0 * P)):
        result = solve(data, templates, E, **options)
        assert all(torch.isfinite(x).all() for x in result[:4])
        if dtype == torch.float64 and templates.any():
            assert_never_rises(result.objective)


@pytest.mark.parametrize("name", ["V", "P", "E", "H"])
def test_invalid_data_are_errors_that_name_the_array(name):
    V, P, E = problem()
    arrays = {"V": V, "P": P, "E": E, "H": uniform(4, 15)}
    arrays[name].view(-1)[7] = math.nan
    with pytest.raises(ParameterError, match=f"^{name} holds NaN"):
        factorize_bayesian(**arrays)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "gibbs"}, "algorithm must be one of em, sage, multiplicative, not 'gibbs'"),
        ({"smoothness": -1.0}, "smoothness"),
        ({"smoothness": math.nan}, "smoothness"),
        ({"smoothness": math.inf}, "smoothness"),
        ({"max_iter": -1}, "max_iter"),
    ],
)
def test_invalid_options_are_errors(options, message):
    with pytest.raises(ParameterError, match=message):
        BayesianOptions(**options)
