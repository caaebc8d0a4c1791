from __future__ import annotations

import numpy as np
import pytest
import torch
from factorizations import sparse, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.nmf.solvers.convolutive import estimate_note_activations, raised_cosine_bands
from harmnmf.nmf.solvers.divergence import beta_divergence, majorisation_exponent
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, estimate_activations
from harmnmf.nmf.solvers.reverberation import Reverberation

BETAS = [-1, 0, 0.5, 1, 1.5, 2, 3]
# Number of iterations before the first update of the response.
FIRST_TURN = 5


def bands(n_bins, spacing):
    return raised_cosine_bands(torch.arange(n_bins, dtype=torch.float64), spacing)


def model(W, A, S, response=1.0):
    """V̂ of the module's docstring."""
    n_frames, n_attack = A.shape[-1], W.shape[2] - S.shape[1]
    V_hat = torch.einsum("fkj,kjn->fn", W[:, :, n_attack:], S)
    for j in range(min(n_attack, n_frames)):
        delayed = torch.nn.functional.pad(A, (j, 0))[:, :n_frames]
        V_hat = V_hat + W[:, :, j] @ delayed
    return torch.as_tensor(response).expand(len(W))[:, None] * V_hat


def ratio_of_terms(V, V_hat, beta, parameters):
    """Quotients of the two terms of the gradient, by automatic differentiation."""
    gradients = torch.autograd.grad(beta_divergence(V, V_hat, beta), parameters, retain_graph=True)
    # The positive term is what V̂^(β-1) alone gives; the negative one follows from the gradient.
    weighted = (V_hat * (V_hat ** (beta - 1)).detach()).sum()
    positives = torch.autograd.grad(weighted, parameters)
    return [(p - g) / p for p, g in zip(positives, gradients, strict=True)]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_one_iteration_multiplies_by_the_terms_of_the_gradient(beta, n_frames):
    V, W = 0.1 + uniform(6, n_frames), 0.1 + uniform(6, 2, 5, seed=1)
    floor, gamma, n_attack = 0.01, majorisation_exponent(beta), 3
    options = {"beta": beta, "floor": floor, "tol": 0.0}
    start = estimate_note_activations(V, W, n_attack, max_iter=0, **options)
    A, S = start.A.clone().requires_grad_(), start.S.clone().requires_grad_()
    assert (A.shape, S.shape) == ((2, n_frames), (2, 2, n_frames))
    ratios = ratio_of_terms(V + floor, model(W, A, S) + floor, beta, (A, S))
    once = estimate_note_activations(V, W, n_attack, max_iter=1, **options)
    torch.testing.assert_close(once.A, start.A * ratios[0] ** gamma)
    torch.testing.assert_close(once.S, start.S * ratios[1] ** gamma)


@pytest.mark.parametrize("beta", BETAS)
def test_the_response_is_multiplied_by_the_terms_of_its_gradient(beta):
    V, W, G = 0.1 + uniform(8, 9), 0.1 + uniform(8, 3, 4, seed=1), bands(8, 3.0)
    floor, gamma = 0.01, majorisation_exponent(beta)
    options = {"bands": G, "beta": beta, "floor": floor}
    before = estimate_note_activations(V, W, 2, max_iter=FIRST_TURN, **options)
    after = estimate_note_activations(V, W, 2, max_iter=FIRST_TURN + 1, **options)
    torch.testing.assert_close(before.response, torch.ones(8, dtype=torch.float64))
    u = torch.ones(G.shape[1], dtype=torch.float64, requires_grad=True)
    V_hat = model(W, before.A, before.S, G @ u) + floor
    response = G @ ratio_of_terms(V + floor, V_hat, beta, (u,))[0] ** gamma
    level = model(W, before.A, before.S, response).sum() / model(W, before.A, before.S).sum()
    torch.testing.assert_close(after.response, response / level)
    torch.testing.assert_close(after.A, before.A * level)
    torch.testing.assert_close(after.S, before.S * level)


@pytest.mark.parametrize("n_attack", [1, 3, 5])
@pytest.mark.parametrize("n_frames", [1, 2, 12])
@pytest.mark.parametrize("spacing", [None, 4.0])
def test_result_gives_the_last_objective(n_attack, n_frames, spacing):
    V, W = 0.01 + sparse(10, n_frames), sparse(10, 3, 5, seed=1)
    G = None if spacing is None else bands(10, spacing)
    result = estimate_note_activations(V, W, n_attack, bands=G, floor=0.01, max_iter=12, tol=0.0)
    V_hat = model(W, *result[:3])
    torch.testing.assert_close(result.objective[-1], beta_divergence(V + 0.01, V_hat + 0.01, 0.5))


def piano():
    """Three keys whose attack of three frames is brighter than their two sustained timbres."""
    W = 0.02 + sparse(24, 3, 5, seed=3)
    W[:16, :, 3:] += sparse(16, 3, 2, seed=4)
    W[16:, :, 3:] *= 0.1
    return W


def struck(n_frames=40):
    """Onsets that overlap: a chord, a note into another's sustain, one repeated note."""
    A = torch.zeros(3, n_frames, dtype=torch.float64)
    S = torch.zeros(3, 2, n_frames, dtype=torch.float64)
    for k, n, strength in [(0, 5, 1.0), (1, 5, 0.5), (2, 12, 0.8), (0, 14, 0.6), (2, 30, 1.0)]:
        A[k, n] = strength
        S[k, 0, n + 3 : n + 8] = strength * torch.linspace(1, 0.2, 5, dtype=torch.float64)
        S[k, 1, n + 3 : n + 8] = strength * 0.1
    return A, S


def test_onsets_of_overlapping_notes_are_recovered():
    W, (A, S) = piano(), struck()
    result = estimate_note_activations(model(W, A, S), W, 3, max_iter=1000)
    # Multiplicative updates reach zero only in the limit.
    torch.testing.assert_close(result.A, A, rtol=0, atol=0.01)
    torch.testing.assert_close(result.S, S, rtol=0, atol=0.01)


def test_an_unknown_response_is_recovered_up_to_its_level():
    W, G, (A, S) = piano(), bands(24, 8.0), struck()
    true = G @ torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
    V = model(W, A, S, true)
    level = V.sum() / model(W, A, S).sum()
    assert level != pytest.approx(1, abs=0.1)
    result = estimate_note_activations(V, W, 3, bands=G, max_iter=2500)
    # The response turns slowly, and zeros are reached only in the limit.
    torch.testing.assert_close(result.response, true / level, rtol=0.02, atol=0)
    torch.testing.assert_close(result.A, A * level, rtol=0, atol=0.03)


def test_activations_are_dry_in_a_known_room():
    W, (A, S), room = piano(), struck(), Reverberation(level=0.3, decay=0.8)
    V = room.apply(model(W, A, S))
    result = estimate_note_activations(V, W, 3, reverberation=room, max_iter=1000)
    torch.testing.assert_close(result.A, A, rtol=0, atol=0.01)
    torch.testing.assert_close(result.S, S, rtol=0, atol=0.02)
    # Without it, the activations hold the room's reflections.
    wet = estimate_note_activations(V, W, 3, max_iter=1000)
    assert wet.S.sum() > 1.5 * S.sum()


def test_a_room_without_reflections_changes_nothing():
    V, W = sparse(20, 15), sparse(20, 4, 5, seed=1)
    dry = estimate_note_activations(V, W, 3, max_iter=10)
    silent = estimate_note_activations(V, W, 3, reverberation=Reverberation(0.0, 0.9), max_iter=10)
    torch.testing.assert_close(silent.A, dry.A)
    torch.testing.assert_close(silent.S, dry.S)


@given(seed=st.integers(0, 2**32), max_iter=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_response_keeps_the_sum_of_the_model_and_is_smooth(seed, max_iter):
    V, W, G = uniform(20, 15, seed=seed), sparse(20, 3, 4, seed=seed + 1), bands(20, 7.0)
    A, S, response, *_ = estimate_note_activations(V, W, 2, bands=G, max_iter=max_iter)
    assert model(W, A, S, response).sum().item() == pytest.approx(model(W, A, S).sum().item())
    # It lies in the space that the bands span.
    rest = response - G @ torch.linalg.lstsq(G, response[:, None]).solution[:, 0]
    assert rest.abs().max() < 1e-12
    assert (response > 0).all()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n_timbres", [1, 3])
def test_attacks_of_one_frame_are_ordinary_activations(beta, n_timbres):
    V, W = sparse(20, 15), sparse(20, 4, n_timbres, seed=1)
    options = {"beta": beta, "max_iter": 10, "tol": 0.0}
    start = estimate_note_activations(V, W, 1, beta=beta, max_iter=0)
    result = estimate_note_activations(V, W, 1, **options)

    def rows(activations):
        return torch.cat([activations.A[:, None], activations.S], dim=1).flatten(0, 1)

    plain = estimate_activations(
        V, W.flatten(1), rows(start), MultiplicativeOptions(accelerate=False, **options)
    )
    # The order of summation differs, and exponents amplify that.
    torch.testing.assert_close(rows(result), plain.H, rtol=1e-8, atol=0)
    torch.testing.assert_close(result.objective[[0, -1]], plain.objective)
    assert (result.response == 1).all()


def test_an_update_of_the_response_does_not_stop_the_iterations():
    # One band can only change the level, which is right already: its updates change nothing.
    V, W, G = uniform(40, 60), sparse(40, 5, 5, seed=1), torch.ones(40, 1, dtype=torch.float64)
    full = estimate_note_activations(V, W, 3, bands=G, max_iter=300, tol=0.0).objective
    stopped = estimate_note_activations(V, W, 3, bands=G, max_iter=300, tol=1e-2)
    assert full[FIRST_TURN] - full[FIRST_TURN + 1] < 1e-3 * full[FIRST_TURN]
    fall = (full[:-3] - full[3:]) / full[:-3]
    assert stopped.n_iter == int((fall <= 1e-2).nonzero()[0]) + 3 > FIRST_TURN + 1


@given(st.integers(1, 400), st.floats(1, 100))
@settings(max_examples=30, deadline=None)
def test_bands_add_up_to_one_and_overlap_by_half(n_bins, spacing):
    positions = 7 + torch.arange(n_bins, dtype=torch.float64)
    G = raised_cosine_bands(positions, spacing)
    np.testing.assert_allclose(G.sum(dim=1), 1)
    assert ((G > 0).sum(dim=1) <= 2).all()
    # Centres from the first bin to the last one or just beyond.
    assert n_bins - 1 <= (G.shape[1] - 1) * spacing < n_bins - 1 + spacing
    x = (positions[:, None].numpy() - 7) / spacing - np.arange(G.shape[1])
    expected = np.where(np.abs(x) < 1, (1 + np.cos(np.pi * x)) / 2, 0.0)
    np.testing.assert_allclose(G, expected, atol=1e-9)


@pytest.mark.parametrize("n_attack", [0, 4])
def test_the_attack_must_consist_of_timbres(n_attack):
    with pytest.raises(ParameterError, match="n_attack must be an integer from 1 to 3"):
        estimate_note_activations(uniform(6, 5), uniform(6, 2, 3), n_attack)
