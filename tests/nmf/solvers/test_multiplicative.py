from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from factorizations import assert_never_rises, dictionary, sparse, uniform
from sklearn.decomposition import non_negative_factorization

from harmnmf import FrequencyAxis, harmonic_templates
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
    v, W, H = V + floor, dictionary(P, E), torch.ones(3, 4, dtype=torch.float64)
    v_hat = W @ H + floor
    new_H = H * ((W.T @ (v * v_hat ** (beta - 2))) / (W.T @ v_hat ** (beta - 1))) ** gamma
    v_hat = W @ new_H + floor
    above = torch.einsum("fkm,kn,fn->mk", P, new_H, v * v_hat ** (beta - 2))
    below = torch.einsum("fkm,kn,fn->mk", P, new_H, v_hat ** (beta - 1))
    new_E = E * (above / below) ** gamma
    norm = torch.linalg.vector_norm(dictionary(P, new_E), dim=0)
    options = MultiplicativeOptions(beta=beta, accelerate=False, floor=floor, max_iter=1, tol=None)
    result = factorize_harmonic(V, P, E, None, options)
    torch.testing.assert_close(result.E, new_E / norm)
    torch.testing.assert_close(result.H, new_H * norm[:, None])


def test_notes_are_recovered_from_a_mixture():
    axis = FrequencyAxis.logarithmic(fmin=150.0, bins_per_octave=24, n_bins=72)
    pitches, durations = [52, 55, 59], 20 / axis.frequencies
    P = harmonic_templates(axis, pitches, window_durations=durations, n_templates=3)
    P, start = (torch.from_numpy(X) for X in (P, initial_weights(pitches, n_templates=3)))
    E = start * (0.2 + uniform(3, 3))
    W = dictionary(P, E) / torch.linalg.vector_norm(dictionary(P, E), dim=0)
    # Each key alone once, and every two together.
    H = torch.tensor(
        [[1, 0, 0, 2, 0, 3, 0.5], [0, 1, 0, 1, 2, 0, 0.5], [0, 0, 3, 0, 1, 1, 0.5]],
        dtype=torch.float64,
    )
    options = MultiplicativeOptions(max_iter=2000, tol=None)
    result = factorize_harmonic(W @ H, P, start, None, options)
    # Zeros are reached only in the limit.
    torch.testing.assert_close(result.W, W, rtol=0, atol=2e-3)
    torch.testing.assert_close(result.H, H, rtol=0, atol=5e-3)


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


@pytest.mark.parametrize("beta", BETAS)
def test_blocks_of_frames_equal_the_whole(beta):
    V, W = sparse(20, 30), sparse(20, 4, seed=1)
    options = MultiplicativeOptions(beta=beta, floor=data_floor(V), max_iter=10, tol=None)
    whole = estimate_activations(V, W, None, options).H
    blocks = torch.tensor_split(V, [1, 5, 20, 22], dim=1)
    joined = torch.cat([estimate_activations(v, W, None, options).H for v in blocks], dim=1)
    # The order of summation differs, and exponents amplify that.
    torch.testing.assert_close(joined, whole, rtol=1e-8, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", BETAS)
def test_activations_of_silence_fall_to_the_floor(beta, dtype):
    V, W = torch.zeros(50, 20, dtype=dtype), uniform(50, 4, dtype=dtype)
    options = MultiplicativeOptions(beta=beta, max_iter=200, tol=None)
    H = estimate_activations(V, W, None, options).H
    assert H.max() < 10 * torch.finfo(dtype).eps
