from __future__ import annotations

import math

import pytest
import torch
from factorizations import dictionary, sparse, uniform

from harmnmf import ParameterError
from harmnmf.nmf.solvers.bayesian import BayesianOptions, factorize_bayesian
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, factorize_harmonic

algorithms = pytest.mark.parametrize("algorithm", ["em", "sage", "multiplicative"])
strengths = pytest.mark.parametrize("smoothness", [0.0, 20.0])


def problem(n_bins=20, n_pitches=4, n_templates=3, n_frames=15):
    """Templates, weights, and |x|² of Gaussian components."""
    P = sparse(n_bins, n_pitches, n_templates)
    E = 0.1 + uniform(n_templates, n_pitches, seed=1)
    variance = P.sum(dim=-1) @ uniform(n_pitches, n_frames, seed=2) ** 4 + 1e-3
    return -variance * torch.log(uniform(*variance.shape, seed=3)), P, E


def solve(V, P, E, H=None, **options):
    return factorize_bayesian(V, P, E, H, BayesianOptions(**options))


def negative_log_posterior(V, P, E, H, floor, smoothness):
    value = beta_divergence(V + floor, dictionary(P, E) @ H + floor, 0)
    ratio = H[:, :-1] / H[:, 1:]
    return value + smoothness * (ratio - ratio.log() - 1).sum()


def test_em_step_maximises_the_complete_data_likelihood():
    V, P, E = problem(n_bins=9, n_pitches=3, n_templates=2, n_frames=4)
    H, floor = 0.1 + uniform(3, 4, seed=5), 0.01
    H[1, 2] = E[1, 0] = 0

    def mean_share(E, H, factor, dim):
        """Mean posterior power |mean|² + variance of the components over their variance."""
        prior = torch.einsum("kn,mk,fkm->fkmn", H, E, P)
        gain = prior / (prior.sum(dim=(1, 2)) + floor)[:, None, None]
        power = gain**2 * (V + floor)[:, None, None] + prior * (1 - gain)
        shares = torch.where(prior > 0, power * factor / prior, 0.0).sum(dim=dim)
        return shares / (prior > 0).sum(dim=dim).clamp_min(1)

    new_H = mean_share(E, H, H[:, None], dim=(0, 2))
    new_E = mean_share(E, new_H, E.T[..., None], dim=(0, 3)).T
    scale = torch.linalg.vector_norm(dictionary(P, new_E), dim=0)
    result = solve(V, P, E, H, floor=floor, max_iter=1)
    torch.testing.assert_close(result.E, new_E / scale)
    torch.testing.assert_close(result.H, new_H * scale[:, None])


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
def test_activations_grow_smoother_with_the_prior(algorithm):
    V, P, E = problem()
    variation = [
        solve(V, P, E, algorithm=algorithm, smoothness=smoothness, max_iter=50, tol=None)
        .H.log()
        .diff()
        .abs()
        .sum()
        for smoothness in (0, 10, 1000)
    ]
    assert variation[0] > 1.5 * variation[1] > 4 * variation[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "gibbs"}, "algorithm must be one of em, sage, multiplicative, not 'gibbs'"),
        ({"smoothness": -1.0}, "smoothness"),
        ({"smoothness": math.nan}, "smoothness"),
    ],
)
def test_invalid_options_are_errors(options, message):
    with pytest.raises(ParameterError, match=message):
        BayesianOptions(**options)
