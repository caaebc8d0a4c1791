from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from factorizations import assert_never_rises, dictionary, sparse, uniform
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import non_negative_factorization

from harmnmf import FrequencyAxis, ParameterError, harmonic_templates
from harmnmf.nmf.solvers.divergence import beta_divergence, majorisation_exponent
from harmnmf.nmf.solvers.loop import data_floor
from harmnmf.nmf.solvers.multiplicative import (
    MultiplicativeOptions,
    estimate_activations,
    factorize,
    factorize_harmonic,
)
from harmnmf.nmf.templates import initial_weights

BETAS = [-1, 0, 0.5, 1, 1.5, 2, 3]
PITCHES = [52, 55, 59]
AXIS = FrequencyAxis.logarithmic(fmin=150.0, bins_per_octave=24, n_bins=72)


def templates():
    P = harmonic_templates(AXIS, PITCHES, window_durations=20 / AXIS.frequencies, n_templates=3)
    return torch.from_numpy(P)


def weights():
    return torch.from_numpy(initial_weights(PITCHES, n_templates=3))


@pytest.mark.parametrize("beta", BETAS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_objective_never_rises(beta, seed):
    V = sparse(20, 15, seed=seed)
    W = sparse(20, 4, seed=seed + 1)
    P, E = sparse(20, 4, 3, seed=seed + 2), 0.1 + uniform(3, 4, seed=seed + 3)
    # With zeros in the data, divergences with beta <= 0 are finite only above the floor.
    options = MultiplicativeOptions(beta=beta, tol=0.0, floor=1e-3, max_iter=55)
    for result in (
        estimate_activations(V, W, None, options),
        factorize(V, W, None, options),
        factorize_harmonic(V, P, E, None, options),
    ):
        assert (result.n_iter, result.converged) == (55, False)
        assert result.objective.shape == (7,)
        assert_never_rises(result.objective)


@pytest.mark.parametrize("beta", BETAS)
def test_no_single_update_raises_the_objective(beta):
    V, W, H = sparse(20, 15), sparse(20, 4, seed=1), None
    P, E, H_harmonic = sparse(20, 4, 3, seed=2), 0.1 + uniform(3, 4, seed=3), None
    options = MultiplicativeOptions(beta=beta, accelerate=False, tol=0.0, floor=1e-3, max_iter=1)
    for _ in range(50):
        W, H, objective, *_ = factorize(V, W, H, options)
        assert_never_rises(objective)
        _, E, H_harmonic, objective, *_ = factorize_harmonic(V, P, E, H_harmonic, options)
        assert_never_rises(objective)


@pytest.mark.parametrize("beta", BETAS)
def test_objective_never_rises_above_the_default_floor(beta):
    V, W = 0.01 + uniform(20, 15), 0.01 + uniform(20, 4, seed=1)
    options = MultiplicativeOptions(beta=beta, max_iter=60, tol=0.0)
    assert_never_rises(estimate_activations(V, W, None, options).objective)


@pytest.mark.parametrize("update_W", [False, True])
@pytest.mark.parametrize("beta", [0, 1, 1.5, 2])  # where scikit-learn has the same exponent
def test_factors_equal_those_of_scikit_learn(beta, update_W):
    V, W = 0.01 + uniform(30, 20), 0.01 + uniform(30, 5, seed=1)
    # With fixed components, scikit-learn starts from this constant.
    start = torch.full((5, 20), math.sqrt(V.mean().item() / 5), dtype=torch.float64)
    Ht, Wt, _ = non_negative_factorization(
        V.T.numpy(),
        W=np.ascontiguousarray(start.T.numpy()) if update_W else None,
        H=np.ascontiguousarray(W.T.numpy()),
        n_components=5,
        init="custom",
        update_H=update_W,
        solver="mu",
        beta_loss=beta,
        tol=0,
        max_iter=25,
    )
    solve = factorize if update_W else estimate_activations
    options = MultiplicativeOptions(beta=beta, accelerate=False, floor=0.0, max_iter=25, tol=None)
    result = solve(V, W, start, options)
    norm = np.linalg.norm(Wt, axis=1) if update_W else np.ones(5)
    np.testing.assert_allclose(result.H.numpy(), Ht.T * norm[:, None], rtol=1e-7)
    if update_W:
        np.testing.assert_allclose(result.W.numpy(), Wt.T / norm, rtol=1e-7)


@pytest.mark.parametrize("beta", BETAS)
def test_one_iteration_follows_the_equations(beta):
    V, P, E = 0.1 + uniform(6, 4), sparse(6, 3, 2, seed=1), 0.1 + uniform(2, 3, seed=2)
    floor, gamma = 0.01, majorisation_exponent(beta)
    F, N, K, M = 6, 4, 3, 2
    v = V.numpy() + floor
    w = np.array(
        [[sum(P[f, k, m] * E[m, k] for m in range(M)) for k in range(K)] for f in range(F)]
    )
    h = np.ones((K, N))
    v_hat = w @ h + floor
    new_h = np.empty_like(h)
    for k in range(K):
        for n in range(N):
            above = sum(w[f, k] * v[f, n] * v_hat[f, n] ** (beta - 2) for f in range(F))
            below = sum(w[f, k] * v_hat[f, n] ** (beta - 1) for f in range(F))
            new_h[k, n] = h[k, n] * (above / below) ** gamma
    v_hat = w @ new_h + floor
    new_e = np.empty((M, K))
    for m in range(M):
        for k in range(K):
            above = below = 0.0
            for f in range(F):
                for n in range(N):
                    weight = P[f, k, m].item() * new_h[k, n]
                    above += weight * v[f, n] * v_hat[f, n] ** (beta - 2)
                    below += weight * v_hat[f, n] ** (beta - 1)
            new_e[m, k] = E[m, k] * (above / below) ** gamma
    norm = np.sqrt(
        [
            sum(sum(P[f, k, m].item() * new_e[m, k] for m in range(M)) ** 2 for f in range(F))
            for k in range(K)
        ]
    )
    options = MultiplicativeOptions(beta=beta, accelerate=False, floor=floor, max_iter=1, tol=None)
    result = factorize_harmonic(V, P, E, None, options)
    np.testing.assert_allclose(result.E.numpy(), new_e / norm)
    np.testing.assert_allclose(result.H.numpy(), new_h * norm[:, None])


def test_notes_are_recovered_from_a_mixture():
    P = templates()
    E = weights() * (0.2 + uniform(3, 3))
    E = E / torch.linalg.vector_norm(dictionary(P, E), dim=0)
    # Each key alone once, and every two together.
    H = torch.tensor(
        [[1, 0, 0, 2, 0, 3, 0.5], [0, 1, 0, 1, 2, 0, 0.5], [0, 0, 3, 0, 1, 1, 0.5]],
        dtype=torch.float64,
    )
    V = dictionary(P, E) @ H
    options = MultiplicativeOptions(max_iter=3000, tol=None)
    result = factorize_harmonic(V, P, weights(), None, options)
    # Zeros are reached only in the limit.
    torch.testing.assert_close(result.W, dictionary(P, E), rtol=0, atol=1e-3)
    torch.testing.assert_close(result.H, H, rtol=0, atol=3e-3)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 2])
def test_dictionary_stays_zero_between_partials_whatever_the_data(beta):
    P = templates()
    V = 0.1 + uniform(AXIS.n_bins, 10)  # nothing harmonic about it
    options = MultiplicativeOptions(beta=beta, max_iter=30, tol=None)
    result = factorize_harmonic(V, P, weights(), None, options)
    between = P.sum(dim=-1) == 0
    assert between.any()
    assert (result.W[between] == 0).all()
    assert (result.E > 0).all()


@pytest.mark.parametrize("beta", BETAS)
def test_result_is_normalised_and_has_the_last_objective(beta):
    V, P = sparse(20, 15), sparse(20, 4, 3, seed=1)
    P[:, 2] = 0  # a key beyond the axis
    E = 0.1 + uniform(3, 4, seed=2)
    options = MultiplicativeOptions(beta=beta, floor=0.01, max_iter=7, tol=0.0)
    harmonic = factorize_harmonic(V, P, E, None, options)
    torch.testing.assert_close(harmonic.W, dictionary(P, harmonic.E))
    torch.testing.assert_close(
        torch.linalg.vector_norm(harmonic.W, dim=0), torch.tensor([1, 1, 0, 1]).double()
    )
    for result in (harmonic, estimate_activations(V, harmonic.W, None, options)):
        value = beta_divergence(V + 0.01, harmonic.W @ result.H + 0.01, beta)
        torch.testing.assert_close(result.objective[-1], value)


def test_zeros_stay_zero_and_arguments_are_not_changed():
    V, P, E = uniform(20, 15), sparse(20, 4, 3, seed=1), uniform(3, 4, seed=2)
    E[1, 2] = 0
    H = sparse(4, 15, seed=3)
    arguments = [V, P, E, H]
    copies = [x.clone() for x in arguments]
    options = MultiplicativeOptions(max_iter=5)
    result = factorize_harmonic(V, P, E, H, options)
    assert ((result.H == 0) == (H == 0)).all()
    assert ((result.E == 0) == (E == 0)).all()
    H_fixed = estimate_activations(V, dictionary(P, E), H, options).H
    assert ((H_fixed == 0) == (H == 0)).all()
    for x, copy in zip(arguments, copies, strict=True):
        assert torch.equal(x, copy)


@pytest.mark.parametrize("beta", BETAS)
def test_batches_equal_their_members(beta):
    # Levels differ, and one member is silent: each has its own floor.
    levels = torch.tensor([[1, 1e4, 0], [1e-6, 3, 7]], dtype=torch.float64)[..., None, None]
    V = levels * sparse(2, 3, 20, 15)
    W = sparse(3, 20, 4, seed=1)
    P, E = sparse(20, 4, 3, seed=2), 0.1 + uniform(2, 1, 3, 4, seed=3)
    options = MultiplicativeOptions(beta=beta, max_iter=12, tol=0.0)
    activations = estimate_activations(V, W, None, options)
    factors = factorize_harmonic(V, P, E, None, options)
    shared = factorize_harmonic(V, P, E[0, 0], None, options)
    assert activations.H.shape == factors.H.shape == (2, 3, 4, 15)
    assert activations.objective.shape == (3, 2, 3)
    assert factors.E.shape == shared.E.shape == (2, 3, 3, 4)
    for i in range(2):
        for j in range(3):
            for batch, single in (
                (activations, estimate_activations(V[i, j], W[j], None, options)),
                (factors, factorize_harmonic(V[i, j], P, E[i, 0], None, options)),
                (shared, factorize_harmonic(V[i, j], P, E[0, 0], None, options)),
            ):
                for name in {"E", "H"} & set(single._fields):
                    x, y = getattr(batch, name)[i, j], getattr(single, name)
                    # The order of summation differs, and exponents amplify that.
                    torch.testing.assert_close(x, y, rtol=1e-8, atol=0)
                torch.testing.assert_close(
                    batch.objective[:, i, j],
                    single.objective,
                    rtol=1e-8,
                    atol=1e-8 * single.H.max(),
                )


def test_one_spectrogram_with_several_dictionaries():
    V, W = uniform(20, 15), uniform(3, 20, 4, seed=1)
    options = MultiplicativeOptions(max_iter=5, tol=None)
    together = estimate_activations(V, W, None, options).H
    assert together.shape == (3, 4, 15)
    for i in range(3):
        torch.testing.assert_close(together[i], estimate_activations(V, W[i], None, options).H)


@pytest.mark.parametrize("beta", BETAS)
def test_blocks_of_frames_equal_the_whole(beta):
    V, W = sparse(20, 30), sparse(20, 4, seed=1)
    options = MultiplicativeOptions(beta=beta, floor=data_floor(V), max_iter=10, tol=None)
    whole = estimate_activations(V, W, None, options).H
    blocks = torch.tensor_split(V, [1, 5, 20, 22], dim=1)
    joined = torch.cat([estimate_activations(v, W, None, options).H for v in blocks], dim=1)
    # The order of summation differs, and exponents amplify that.
    torch.testing.assert_close(joined, whole, rtol=1e-8, atol=0)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("scale", [1e-6, 0.3, 1e6])
def test_activations_scale_with_the_data(beta, scale):
    V, W, H = sparse(20, 15), sparse(20, 4, seed=1), 0.1 + uniform(4, 15, seed=2)
    options = MultiplicativeOptions(beta=beta, max_iter=10, tol=None)
    expected = scale * estimate_activations(V, W, H, options).H
    scaled = estimate_activations(scale * V, W, scale * H, options).H
    torch.testing.assert_close(scaled, expected, rtol=1e-8, atol=0)
    P, E = sparse(20, 4, 3, seed=3), 0.1 + uniform(3, 4, seed=4)
    one = factorize_harmonic(V, P, E, H, options)
    other = factorize_harmonic(scale * V, P, E, scale * H, options)
    torch.testing.assert_close(other.E, one.E, rtol=1e-8, atol=0)
    torch.testing.assert_close(other.H, scale * one.H, rtol=1e-8, atol=0)
    if majorisation_exponent(beta) == 1:
        # The first update makes up for the level of the start, up to the floor: 2e-16 * 1e6.
        expected = scale * estimate_activations(V, W, None, options).H
        scaled = estimate_activations(scale * V, W, None, options).H
        torch.testing.assert_close(scaled, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("beta", BETAS)
def test_single_precision_agrees_with_double(beta):
    V, P, E = 0.1 + uniform(40, 30), sparse(40, 6, 3, seed=2), 0.1 + uniform(3, 6, seed=3)
    options = MultiplicativeOptions(beta=beta, max_iter=20)
    double = factorize_harmonic(V, P, E, None, options)
    single = factorize_harmonic(V.float(), P.float(), E.float(), None, options)
    assert (single.E.dtype, single.objective.dtype) == (torch.float32, torch.float64)
    # Rounding errors of eps = 1.2e-7 add up over 20 iterations.
    torch.testing.assert_close(single.E.double(), double.E, rtol=3e-5, atol=3e-6)
    torch.testing.assert_close(single.H.double(), double.H, rtol=3e-5, atol=3e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("beta", BETAS)
def test_cuda_agrees_with_the_processor(beta):
    V, W = 0.1 + uniform(40, 30), 0.1 + sparse(40, 6, seed=1)
    P, E = sparse(40, 6, 3, seed=2), 0.1 + uniform(3, 6, seed=3)
    options = MultiplicativeOptions(beta=beta, max_iter=10)
    for solve, arguments in (
        (estimate_activations, (V, W)),
        (factorize, (V, W)),
        (factorize_harmonic, (V, P, E)),
    ):
        expected = solve(*arguments, options=options)
        result = solve(*(x.cuda() for x in arguments), options=options)
        assert result.H.is_cuda
        torch.testing.assert_close(result.H.cpu(), expected.H, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(
            result.objective.cpu(), expected.objective, rtol=1e-8, atol=1e-12
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", BETAS)
def test_silence_has_finite_and_vanishing_activations(beta, dtype):
    V = torch.zeros(50, 20, dtype=dtype)
    P, E = uniform(50, 4, 3, dtype=dtype), uniform(3, 4, seed=1, dtype=dtype)
    options = MultiplicativeOptions(beta=beta, max_iter=200, tol=0.0)
    for result in (
        estimate_activations(V, dictionary(P, E), None, options),
        factorize_harmonic(V, P, E, None, options),
    ):
        assert torch.isfinite(result.objective).all()
        # From ones, down to the size of the floor.
        assert result.H.max() < 10 * torch.finfo(dtype).eps
    assert torch.isfinite(result.E).all()


@pytest.mark.parametrize("beta", BETAS)
def test_data_that_no_dictionary_explains_do_no_harm(beta):
    V, W = 0.1 + uniform(20, 15), uniform(20, 4, seed=1)
    V[:, 3:5] = 0  # silent frames
    V[:4] = 0  # silent bins
    W[4:8] = 0  # bins without a dictionary
    W[:, 2] = 0  # a component without a spectrum
    result = estimate_activations(V, W, None, MultiplicativeOptions(beta=beta, max_iter=100))
    assert torch.isfinite(result.H).all()
    assert torch.isfinite(result.objective).all()
    assert result.H[[0, 1, 3], 3:5].max() < 1e-3 * result.H[[0, 1, 3], 5:].max()
    assert (result.H[2] == 1).all()


def test_iterations_stop_at_the_tolerance():
    V, P, E = 0.1 + uniform(20, 15), sparse(20, 4, 3, seed=1), 0.1 + uniform(3, 4, seed=2)
    options = MultiplicativeOptions(max_iter=500, tol=1e-3)
    for result in (
        estimate_activations(V, dictionary(P, E), None, options),
        factorize_harmonic(V, P, E, None, options),
    ):
        fall = -result.objective.diff() / result.objective[:-1]
        assert (fall[:-1] > 1e-3).all()
        assert fall[-1] <= 1e-3
        assert (result.n_iter, result.converged) == (10 * len(fall), True)


def test_without_a_tolerance_there_are_no_objectives():
    V, W = uniform(20, 15), uniform(20, 4, seed=1)
    expected = estimate_activations(V, W, None, MultiplicativeOptions(max_iter=3, tol=0.0)).H
    result = estimate_activations(V, W, None, MultiplicativeOptions(max_iter=3, tol=None))
    assert (result.objective.shape, result.n_iter, result.converged) == ((0,), 3, False)
    torch.testing.assert_close(result.H, expected)


@pytest.mark.parametrize("name", ["V", "W", "P", "E"])
def test_invalid_data_are_errors_that_name_the_array(name):
    arrays = {"V": uniform(6, 5), "W": uniform(6, 4), "P": uniform(6, 4, 3), "E": uniform(3, 4)}
    arrays[name].view(-1)[7] = math.nan
    V, W, P, E = arrays.values()
    if name in "VW":
        for solve in (estimate_activations, factorize):
            with pytest.raises(ParameterError, match=f"^{name} holds NaN"):
                solve(V, W)
    if name in "VPE":
        with pytest.raises(ParameterError, match=f"^{name} holds NaN"):
            factorize_harmonic(V, P, E)
