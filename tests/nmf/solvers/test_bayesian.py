from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.nmf.solvers.bayesian import factorize_bayesian, posterior_power
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.loop import data_floor
from harmnmf.nmf.solvers.multiplicative import factorize_harmonic

ALGORITHMS = ["em", "sage", "multiplicative"]
SMOOTHNESS = [0.0, 0.3, 20.0]
algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)
strengths = pytest.mark.parametrize("smoothness", SMOOTHNESS)


def uniform(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def sparse(*shape, seed=0):
    values = uniform(*shape, seed=seed)
    return torch.where(values > 0.5, values, 0.0)


def powers(P, n_frames, seed=0):
    """Draw |x|² of Gaussian components under templates P."""
    H = uniform(P.shape[1], n_frames, seed=seed) ** 4
    variance = P.sum(dim=-1) @ H + 1e-3
    return -variance * torch.log(uniform(*variance.shape, seed=seed + 1))


def problem(n_bins=20, n_pitches=4, n_templates=3, n_frames=15, seed=0):
    P = sparse(n_bins, n_pitches, n_templates, seed=seed)
    E = 0.1 + uniform(n_templates, n_pitches, seed=seed + 1)
    return powers(P, n_frames, seed=seed + 2), P, E


def dictionary(P, E):
    return torch.einsum("fkm,...mk->...fk", P, E)


def negative_log_posterior(V, P, E, H, floor, smoothness):
    value = beta_divergence(V + floor, dictionary(P, E) @ H + floor, 0)
    ratio = H[:, :-1] / H[:, 1:]
    return value + smoothness * (ratio - ratio.log() - 1).sum()


def assert_never_rises(objective):
    # Rounding leaves some eps = 2e-16 of sums of a few hundred terms.
    assert (objective.diff(dim=0) <= 1e-12 * objective[:-1].abs()).all()
    assert (objective[-1] < objective[0]).all()


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
    result = factorize_bayesian(V, P, E, H=H, floor=floor, n_iter=1)
    scale = torch.linalg.vector_norm(dictionary(P, expected_E), dim=0)
    torch.testing.assert_close(result.E, expected_E / scale)
    torch.testing.assert_close(result.H, expected_H * scale[:, None])


def test_em_step_is_that_of_the_paper_where_templates_have_no_zeros():
    V, E, H = 0.1 + uniform(9, 4), 0.1 + uniform(2, 3, seed=1), 0.1 + uniform(3, 4, seed=2)
    P = 0.1 + uniform(9, 3, 2, seed=3)
    (F, N), M = V.shape, 2
    V_hat = torch.einsum("kn,mk,fkm->fn", H, E, P)
    share = torch.einsum("kn,mk,fkm->fnkm", H, E, P) / V_hat[..., None, None]
    gain = share * (V / V_hat - 1)[..., None, None]
    new_H = H * (1 + gain.sum(dim=(0, 3)).T / (F * M))
    fixed = factorize_bayesian(V, P, E, H=H, floor=0.0, n_iter=1, update_E=False)
    torch.testing.assert_close(fixed.H, new_H)
    assert torch.equal(fixed.E, E)
    V_hat = torch.einsum("kn,mk,fkm->fn", new_H, E, P)
    share = torch.einsum("kn,mk,fkm->fnkm", new_H, E, P) / V_hat[..., None, None]
    gain = share * (V / V_hat - 1)[..., None, None]
    new_E = E * (1 + gain.sum(dim=(0, 1)).T / (F * N))
    W = dictionary(P, new_E)
    result = factorize_bayesian(V, P, E, H=H, floor=0.0, n_iter=1)
    torch.testing.assert_close(result.E, new_E / torch.linalg.vector_norm(W, dim=0))


def test_sage_of_one_pitch_counts_bins_and_refreshes_the_model():
    V, P, E = problem()
    H, floor = 0.1 + uniform(4, 15, seed=5), 0.01
    new = H.clone()
    for k in range(4):
        W = dictionary(P, E)
        V_hat = W @ new + floor
        share = W[:, k : k + 1] * new[k] / V_hat
        gain = (share * ((V + floor) / V_hat - 1)).sum(dim=0)
        new[k] *= 1 + gain / (W[:, k] > 0).sum()
    result = factorize_bayesian(
        V, P, E, H=H, floor=floor, algorithm="sage", update_E=False, n_iter=1
    )
    torch.testing.assert_close(result.H, new)


def test_multiplicative_updates_are_those_without_a_prior():
    V, P, E = problem()
    H = 0.1 + uniform(4, 15, seed=5)
    theirs = factorize_harmonic(V, P, E, H=H, beta=0, accelerate=False, n_iter=20, tol=0.0)
    ours = factorize_bayesian(V, P, E, H=H, algorithm="multiplicative", n_iter=20, tol=0.0)
    torch.testing.assert_close(ours.E, theirs.E)
    torch.testing.assert_close(ours.H, theirs.H)
    torch.testing.assert_close(ours.objective[::10], theirs.objective)


@algorithms
@strengths
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_objective_never_rises(algorithm, smoothness, seed):
    V, P, E = problem(seed=seed)
    options = {"algorithm": algorithm, "smoothness": smoothness, "n_iter": 40, "tol": 0.0}
    for H, update_E in ((None, True), (uniform(4, 15, seed=seed + 4), False)):
        result = factorize_bayesian(V, P, E, H=H, update_E=update_E, **options)
        assert result.objective.shape == (41,)
        assert_never_rises(result.objective)


@algorithms
@strengths
def test_last_objective_is_that_of_the_result(algorithm, smoothness):
    V, P, E = problem()
    P[:, 2] = 0  # a key beyond the axis
    result = factorize_bayesian(
        V, P, E, algorithm=algorithm, smoothness=smoothness, floor=0.01, n_iter=7, tol=0.0
    )
    torch.testing.assert_close(
        torch.linalg.vector_norm(dictionary(P, result.E), dim=0),
        torch.tensor([1, 1, 0, 1], dtype=torch.float64),
    )
    expected = negative_log_posterior(V, P, result.E, result.H, 0.01, smoothness)
    torch.testing.assert_close(result.objective[-1], expected)


@algorithms
@strengths
def test_gradient_vanishes_at_convergence(algorithm, smoothness):
    V, P, E = problem(n_bins=12, n_pitches=2, n_templates=2, n_frames=6)
    V, floor = V + 0.1, 1e-3
    result = factorize_bayesian(
        V, P, E, algorithm=algorithm, smoothness=smoothness, floor=floor, n_iter=300, tol=None
    )
    logs = [x.log().requires_grad_() for x in (result.E, result.H)]
    E, H = (x.exp() for x in logs)
    negative_log_posterior(V, P, E, H, floor, smoothness).backward()
    for x in logs:
        assert x.grad.abs().max() < 1e-10


@algorithms
@strengths
def test_what_starts_at_zero_stays_zero_and_arguments_are_left_alone(algorithm, smoothness):
    V, P, E = problem()
    E[1, 2] = 0
    H = sparse(4, 15, seed=3)
    arguments = [V, P, E, H]
    copies = [x.clone() for x in arguments]
    result = factorize_bayesian(V, P, E, H=H, algorithm=algorithm, smoothness=smoothness, n_iter=5)
    assert ((result.H == 0) == (H == 0)).all()
    assert ((result.E == 0) == (E == 0)).all()
    W = dictionary(P, result.E)
    assert (W[dictionary(P, E) == 0] == 0).all()
    assert (W == 0).any()
    for x, copy in zip(arguments, copies, strict=True):
        assert torch.equal(x, copy)


@algorithms
def test_activations_grow_smoother_with_the_prior(algorithm):
    V, P, E = problem(n_bins=40, n_frames=40)
    options = {"algorithm": algorithm, "n_iter": 100, "update_E": False}
    variation = [
        factorize_bayesian(V, P, E, smoothness=smoothness, **options).H.log().diff().abs().sum()
        for smoothness in (0, 1, 10, 1000)
    ]
    assert variation[0] > 1.2 * variation[1]
    assert variation[1] > 1.2 * variation[2]
    assert variation[2] > 3 * variation[3]


@algorithms
def test_an_infinitely_weak_prior_is_none(algorithm):
    V, P, E = problem()
    options = {"algorithm": algorithm, "n_iter": 10, "tol": 0.0}
    for x, y in zip(
        factorize_bayesian(V, P, E, smoothness=1e-12, **options),
        factorize_bayesian(V, P, E, **options),
        strict=True,
    ):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-9)


@algorithms
def test_the_chain_breaks_where_a_note_ends(algorithm):
    V, P, E = problem(n_frames=10)
    H = torch.ones(4, 10, dtype=torch.float64)
    H[:, 5] = 0
    options = {"algorithm": algorithm, "smoothness": 5.0, "update_E": False, "floor": 1e-3}
    whole = factorize_bayesian(V, P, E, H=H, n_iter=5, **options).H
    first = factorize_bayesian(V[:, :5], P, E, H=H[:, :5], n_iter=5, **options).H
    last = factorize_bayesian(V[:, 6:], P, E, H=H[:, 6:], n_iter=5, **options).H
    torch.testing.assert_close(whole, torch.cat([first, H[:, 5:6], last], dim=1))


@algorithms
def test_blocks_of_frames_equal_the_whole(algorithm):
    V, P, E = problem(n_frames=30)
    options = {"algorithm": algorithm, "update_E": False, "floor": data_floor(V), "tol": None}
    whole = factorize_bayesian(V, P, E, **options).H
    blocks = torch.tensor_split(V, [3, 4, 20], dim=1)
    joined = torch.cat([factorize_bayesian(block, P, E, **options).H for block in blocks], dim=1)
    torch.testing.assert_close(joined, whole)


@algorithms
@strengths
def test_batches_equal_their_members(algorithm, smoothness):
    V, P, E = problem()
    # Levels differ, and one member is silent: each has its own floor.
    V = V * torch.tensor([1, 1e4, 0], dtype=torch.float64)[:, None, None]
    E = E * (1 + uniform(3, *E.shape, seed=9))
    E[1, 2, 0] = 0
    options = {"algorithm": algorithm, "smoothness": smoothness, "n_iter": 8, "tol": 0.0}
    batch = factorize_bayesian(V, P, E, **options)
    posterior = posterior_power(V, P, batch.E, batch.H)
    assert batch.objective.shape == (9, 3)
    for i in range(3):
        single = factorize_bayesian(V[i], P, E[i], **options)
        torch.testing.assert_close(batch.E[i], single.E)
        torch.testing.assert_close(batch.H[i], single.H, rtol=1e-7, atol=0)
        torch.testing.assert_close(batch.objective[:, i], single.objective)
        expected = posterior_power(V[i], P, single.E, single.H)
        torch.testing.assert_close(posterior.mean[i], expected.mean)
        torch.testing.assert_close(posterior.variance[i], expected.variance)


@algorithms
@strengths
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_activations_scale_with_the_data(algorithm, smoothness, scale):
    V, P, E = problem()
    options = {"algorithm": algorithm, "smoothness": smoothness, "n_iter": 10, "tol": 0.0}
    one, other = (factorize_bayesian(c * V, P, E, **options) for c in (1, scale))
    torch.testing.assert_close(other.E, one.E)
    torch.testing.assert_close(other.H, scale * one.H)
    torch.testing.assert_close(other.objective, one.objective)


@algorithms
@strengths
def test_objective_does_not_depend_on_how_weights_and_activations_share_a_power(
    algorithm, smoothness
):
    V, P, E = problem()
    H, scale = 0.1 + uniform(4, 15, seed=5), 10 ** (6 * uniform(4, seed=6) - 3)
    options = {"algorithm": algorithm, "smoothness": smoothness, "n_iter": 10, "tol": 0.0}
    one = factorize_bayesian(V, P, E, H=H, **options)
    other = factorize_bayesian(V, P, E / scale, H=H * scale[:, None], **options)
    for x, y in zip(other, one, strict=True):
        torch.testing.assert_close(x, y)


@algorithms
@strengths
def test_single_precision_agrees_with_double(algorithm, smoothness):
    V, P, E = problem(n_bins=40, n_frames=30)
    options = {"algorithm": algorithm, "smoothness": smoothness, "floor": 1e-4, "n_iter": 20}
    double = factorize_bayesian(V, P, E, **options)
    single = factorize_bayesian(V.float(), P.float(), E.float(), **options)
    assert (single.E.dtype, single.H.dtype) == (torch.float32, torch.float32)
    assert single.objective.dtype == torch.float64
    # Rounding errors of eps = 1.2e-7 add up over 20 iterations.
    torch.testing.assert_close(single.E.double(), double.E, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single.H.double(), double.H, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(single.objective, double.objective, rtol=1e-5, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@algorithms
@strengths
def test_cuda_agrees_with_the_processor(algorithm, smoothness):
    V, P, E = problem()
    options = {"algorithm": algorithm, "smoothness": smoothness, "n_iter": 10}
    expected = factorize_bayesian(V, P, E, **options)
    result = factorize_bayesian(V.cuda(), P.cuda(), E.cuda(), **options)
    for x, y in zip(result, expected, strict=True):
        assert x.is_cuda
        torch.testing.assert_close(x.cpu(), y, rtol=1e-8, atol=1e-12)


@algorithms
@strengths
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_stays_finite(algorithm, smoothness, dtype):
    V, P, E = (x.to(dtype) for x in problem())
    quiet = V.clone()
    quiet[:, 3:6] = 0
    for data in (torch.zeros_like(V), quiet):
        result = factorize_bayesian(
            data, P, E, algorithm=algorithm, smoothness=smoothness, n_iter=100, tol=0.0
        )
        assert all(torch.isfinite(x).all() for x in result)
        # The level of the start is that of the floor.
        assert result.H[:, 4].max() < 0.1 * V.max()
        posterior = posterior_power(data, P, result.E, result.H)
        assert all(torch.isfinite(x).all() for x in posterior)


@algorithms
@strengths
def test_what_no_template_explains_does_no_harm(algorithm, smoothness):
    V, P, E = problem()
    V[:4] = 0  # silent bins
    P[4:8] = 0  # bins without a template
    P[:, 2] = 0  # a pitch without a spectrum
    P[:, 1, 1] = 0  # a template beyond the axis
    result = factorize_bayesian(
        V, P, E, algorithm=algorithm, smoothness=smoothness, n_iter=50, tol=0.0
    )
    assert all(torch.isfinite(x).all() for x in result)
    assert_never_rises(result.objective)
    silent = factorize_bayesian(V, 0 * P, E, algorithm=algorithm, smoothness=smoothness)
    assert all(torch.isfinite(x).all() for x in silent)


def test_posterior_power_sums_that_of_the_components():
    V, P, E = problem(n_bins=9, n_pitches=3, n_templates=1, n_frames=4)
    H = uniform(3, 4, seed=5)
    mean, variance = posterior_power(V, P, E, H, floor=0.01)
    expected = component_powers(V, P, E, H, 0.01).sum(dim=(0, 2))
    torch.testing.assert_close(mean + variance, expected)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_posterior_variance_lies_between_zero_and_that_of_the_prior(seed):
    V, P, E = problem(seed=seed)
    H = sparse(4, 15, seed=seed + 5)
    mean, variance = posterior_power(V, P, E, H)
    prior = H * dictionary(P, E).sum(dim=0)[:, None]
    assert (mean >= 0).all()
    assert (variance >= 0).all()
    assert (variance <= prior * (1 + 1e-12)).all()


def test_a_note_alone_is_surer_than_one_among_others():
    V, P, E = problem()
    alone, H = torch.zeros(4, 15, dtype=torch.float64), torch.ones(4, 15, dtype=torch.float64)
    alone[1] = 1
    one, among = posterior_power(V, P, E, alone), posterior_power(V, P, E, H)
    assert (one.variance[1] < 1e-6 * one.mean[1]).all()
    assert (among.variance[1] > 0.1 * among.mean[1]).all()


def test_without_a_tolerance_no_objective_is_computed():
    assert factorize_bayesian(*problem(), n_iter=2, tol=None).objective.shape == (0,)


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf])
@pytest.mark.parametrize("name", ["V", "P", "E", "H"])
def test_data_without_meaning_is_refused_by_name(name, bad):
    V, P, E = problem()
    arrays = {"V": V, "P": P, "E": E, "H": uniform(4, 15)}
    arrays[name].view(-1)[7] = bad
    with pytest.raises(ParameterError, match=f"^{name} holds"):
        factorize_bayesian(**arrays)
    with pytest.raises(ParameterError, match=f"^{name} holds"):
        posterior_power(**arrays)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "gibbs"}, "algorithm must be one of em, sage, multiplicative, not 'gibbs'"),
        ({"smoothness": -1.0}, "smoothness"),
        ({"smoothness": math.nan}, "smoothness"),
        ({"smoothness": math.inf}, "smoothness"),
        ({"n_iter": -1}, "n_iter"),
    ],
)
def test_options_without_meaning_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        factorize_bayesian(*problem(), **options)


def test_nothing_is_refused_by_name():
    V, P, E = problem()
    with pytest.raises(ParameterError, match="V is empty"):
        factorize_bayesian(V[:, :0], P, E)
