from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from factorizations import assert_never_rises, sparse, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.nmf.solvers.convolutive import estimate_note_activations, raised_cosine_bands
from harmnmf.nmf.solvers.divergence import beta_divergence, majorisation_exponent
from harmnmf.nmf.solvers.loop import data_floor
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, estimate_activations

BETAS = [-1, 0, 0.5, 1, 1.5, 2, 3]
# Number of iterations before the first update of the response.
FIRST_TURN = 5


def bands(n_bins, spacing):
    return raised_cosine_bands(torch.arange(n_bins, dtype=torch.float64), spacing)


def model(W, A, S, response):
    """V̂ of the module's docstring, frame by frame."""
    n_bins, n_pitches, n_timbres = W.shape
    n_frames, n_attack = A.shape[-1], n_timbres - S.shape[1]
    V_hat = torch.zeros(n_bins, n_frames, dtype=W.dtype)
    for n in range(n_frames):
        for k in range(n_pitches):
            for j in range(n_timbres):
                if j >= n_attack:
                    V_hat[:, n] = V_hat[:, n] + response * W[:, k, j] * S[k, j - n_attack, n]
                elif n - j >= 0:
                    V_hat[:, n] = V_hat[:, n] + response * W[:, k, j] * A[k, n - j]
    return V_hat


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n_frames", [1, 2, 3, 7])
def test_one_iteration_multiplies_by_the_terms_of_the_gradient(beta, n_frames):
    n_bins, n_pitches, n_timbres, n_attack = 6, 2, 5, 3
    V, W = 0.1 + uniform(n_bins, n_frames), 0.1 + uniform(n_bins, n_pitches, n_timbres, seed=1)
    floor, gamma = 0.01, majorisation_exponent(beta)
    options = {"beta": beta, "floor": floor, "tol": 0.0}
    start = estimate_note_activations(V, W, n_attack, max_iter=0, **options)
    A, S = start.A.clone().requires_grad_(), start.S.clone().requires_grad_()
    assert A.shape == (n_pitches, n_frames)
    assert S.shape == (n_pitches, n_timbres - n_attack, n_frames)

    V_hat = model(W, A, S, torch.ones(n_bins)) + floor
    objective = beta_divergence(V + floor, V_hat, beta)
    torch.testing.assert_close(start.objective, objective.detach()[None])
    gradients = torch.autograd.grad(objective, (A, S), retain_graph=True)
    # The positive term is what V̂^(β-1) alone gives; the negative one follows from the gradient.
    weighted = (V_hat * (V_hat ** (beta - 1)).detach()).sum()
    positives = torch.autograd.grad(weighted, (A, S))
    once = estimate_note_activations(V, W, n_attack, max_iter=1, **options)
    for X, new, gradient, positive in zip(
        (A, S), (once.A, once.S), gradients, positives, strict=True
    ):
        expected = X * ((positive - gradient) / positive) ** gamma
        torch.testing.assert_close(new, expected.detach())


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
    objective = beta_divergence(V + floor, V_hat, beta)
    (gradient,) = torch.autograd.grad(objective, u, retain_graph=True)
    weighted = (V_hat * (V_hat ** (beta - 1)).detach()).sum()
    (positive,) = torch.autograd.grad(weighted, u)
    response = G @ ((positive - gradient) / positive) ** gamma
    dry = model(W, before.A, before.S, torch.ones(8))
    level = (response[:, None] * dry).sum() / dry.sum()
    torch.testing.assert_close(after.response, response / level)
    torch.testing.assert_close(after.A, before.A * level)
    torch.testing.assert_close(after.S, before.S * level)


@pytest.mark.parametrize("n_attack", [1, 3, 5])
@pytest.mark.parametrize("n_frames", [2, 12])
@pytest.mark.parametrize("spacing", [None, 4.0])
def test_result_gives_the_last_objective(n_attack, n_frames, spacing):
    V, W = sparse(10, n_frames), sparse(10, 3, 5, seed=1)
    G = None if spacing is None else bands(10, spacing)
    result = estimate_note_activations(V, W, n_attack, bands=G, floor=0.01, max_iter=12, tol=0.0)
    V_hat = model(W, *result[:3])
    torch.testing.assert_close(result.objective[-1], beta_divergence(V + 0.01, V_hat + 0.01, 0.5))


@pytest.mark.parametrize("beta", BETAS)
@given(
    seed=st.integers(0, 2**32), n_attack=st.integers(1, 4), spacing=st.sampled_from([1, 5, None])
)
@settings(max_examples=5, deadline=None)
def test_objective_never_rises(beta, seed, n_attack, spacing):
    V, W = sparse(20, 15, seed=seed), sparse(20, 3, 4, seed=seed + 1)
    G = None if spacing is None else bands(20, spacing)
    # With zeros in the data, divergences with beta <= 0 are finite only above the floor.
    options = {"bands": G, "beta": beta, "floor": 1e-3, "max_iter": 30, "tol": 0.0}
    _, _, _, objective, n_iter, converged = estimate_note_activations(V, W, n_attack, **options)
    assert (n_iter, converged, objective.shape) == (30, False, (31,))
    assert_never_rises(objective)


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
    onsets = [(0, 5, 1.0), (1, 5, 0.5), (2, 12, 0.8), (0, 14, 0.6), (2, 30, 1.0)]
    for k, n, strength in onsets:
        A[k, n] = strength
        S[k, 0, n + 3 : n + 8] = strength * torch.linspace(1, 0.2, 5, dtype=torch.float64)
        S[k, 1, n + 3 : n + 8] = strength * 0.1
    return A, S, onsets


def test_onsets_of_overlapping_notes_are_recovered():
    W = piano()
    A, S, onsets = struck()
    V = model(W, A, S, torch.ones(24))
    result = estimate_note_activations(V, W, 3, max_iter=1000)
    found = [(k, n) for k, n in (result.A > 0.1).nonzero().tolist()]
    assert sorted(found) == sorted((k, n) for k, n, _ in onsets)
    # Multiplicative updates reach zero only in the limit.
    torch.testing.assert_close(result.A, A, rtol=0, atol=0.01)
    torch.testing.assert_close(result.S, S, rtol=0, atol=0.01)


def test_an_unknown_response_is_recovered_up_to_its_level():
    W, G = piano(), bands(24, 8.0)
    A, S, _ = struck()
    true = G @ torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
    dry = model(W, A, S, torch.ones(24))
    level = (true[:, None] * dry).sum() / dry.sum()
    assert level != pytest.approx(1, abs=0.1)
    V = model(W, A, S, true)
    result = estimate_note_activations(V, W, 3, bands=G, max_iter=4000)
    # The response turns slowly, and zeros are reached only in the limit.
    torch.testing.assert_close(result.response, true / level, rtol=0.01, atol=0)
    torch.testing.assert_close(result.A, A * level, rtol=0, atol=0.02)
    flat = estimate_note_activations(V, W, 3, max_iter=4000)
    assert (flat.A - A * level).abs().max() > 0.1


@given(seed=st.integers(0, 2**32), max_iter=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_response_keeps_the_sum_of_the_model_and_is_smooth(seed, max_iter):
    V, W, G = uniform(20, 15, seed=seed), sparse(20, 3, 4, seed=seed + 1), bands(20, 7.0)
    A, S, response, *_ = estimate_note_activations(V, W, 2, bands=G, max_iter=max_iter)
    wet, dry = model(W, A, S, response), model(W, A, S, torch.ones(20))
    assert wet.sum().item() == pytest.approx(dry.sum().item())
    # It lies in the space that the bands span.
    rest = response - G @ torch.linalg.lstsq(G, response[:, None]).solution[:, 0]
    assert rest.abs().max() < 1e-12
    assert (response > 0).all()
    if max_iter <= FIRST_TURN:
        assert (response - 1).abs().max() < 1e-12


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


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("spacing", [None, 6.0])
def test_batches_equal_their_members(beta, spacing):
    # Levels differ, and one member is silent: each has its own floor and response.
    levels = torch.tensor([[1, 1e4, 0], [1e-6, 3, 7]], dtype=torch.float64)[..., None, None]
    V, W = levels * (0.1 + uniform(2, 3, 20, 15)), sparse(20, 4, 5, seed=1)
    G = None if spacing is None else bands(20, spacing)
    options = {"bands": G, "beta": beta, "max_iter": 8, "tol": 0.0}
    batch = estimate_note_activations(V, W, 3, **options)
    assert batch.A.shape == (2, 3, 4, 15)
    assert batch.S.shape == (2, 3, 4, 2, 15)
    assert batch.response.shape == (2, 3, 20)
    assert batch.objective.shape == (9, 2, 3)
    for i in range(2):
        for j in range(3):
            single = estimate_note_activations(V[i, j], W, 3, **options)
            for x, y in zip(batch[:3], single[:3], strict=True):
                # The order of summation differs, and exponents amplify that.
                torch.testing.assert_close(x[i, j], y, rtol=1e-8, atol=0)
            torch.testing.assert_close(batch.objective[:, i, j], single.objective)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("spacing", [None, 6.0])
@pytest.mark.parametrize("scale", [1e-6, 0.3, 1e6])
def test_activations_scale_with_the_data(beta, spacing, scale):
    V, W = sparse(20, 15), sparse(20, 4, 5, seed=1)
    G = None if spacing is None else bands(20, spacing)
    one = estimate_note_activations(V, W, 3, bands=G, beta=beta, max_iter=10)
    other = estimate_note_activations(scale * V, W, 3, bands=G, beta=beta, max_iter=10)
    # Powers of very large and very small numbers round differently.
    torch.testing.assert_close(other.A, scale * one.A, rtol=1e-8, atol=0)
    torch.testing.assert_close(other.S, scale * one.S, rtol=1e-8, atol=0)
    torch.testing.assert_close(other.response, one.response, rtol=1e-8, atol=0)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("shift", [1, 7, 20])
def test_delayed_data_give_delayed_activations(beta, shift):
    n_frames, n_attack, max_iter = 60, 3, 4
    V, W = sparse(20, n_frames), sparse(20, 4, 5, seed=1)
    one = estimate_note_activations(V, W, n_attack, beta=beta, max_iter=max_iter)
    other = estimate_note_activations(V.roll(shift, -1), W, n_attack, beta=beta, max_iter=max_iter)
    # In each iteration a frame, and so an end, influences those less than n_attack away.
    margin = max_iter * (n_attack - 1)
    for x, y in ((one.A, other.A), (one.S, other.S)):
        torch.testing.assert_close(
            y[..., margin + shift : n_frames - margin],
            x[..., margin : n_frames - margin - shift],
            rtol=1e-8,
            atol=0,
        )


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5, 6])
def test_recordings_may_be_shorter_than_an_attack(beta, n_frames):
    V, W = 0.1 + uniform(20, n_frames), 0.01 + sparse(20, 4, 5, seed=1)
    short = estimate_note_activations(V, W, 5, beta=beta, max_iter=10, tol=0.0)
    assert short.A.shape == (4, n_frames)
    assert short.S.shape == (4, 0, n_frames)
    assert torch.isfinite(short.A).all()
    assert short.objective[-1] < short.objective[0]
    # Frames of an attack beyond the end are not part of the model.
    floor = data_floor(V)
    V_hat = model(W, *short[:3])
    torch.testing.assert_close(short.objective[-1], beta_divergence(V + floor, V_hat + floor, beta))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", BETAS)
def test_silence_gives_finite_values(beta, dtype):
    V, W, G = uniform(40, 30, dtype=dtype), uniform(40, 4, 5, dtype=dtype), bands(40, 8.0).to(dtype)
    for options in ({}, {"bands": G}):
        result = estimate_note_activations(0 * V, W, 3, beta=beta, tol=0.0, **options)
        assert all(torch.isfinite(x).all() for x in result[:4])
        assert max(result.A.max(), result.S.max()) < 10 * torch.finfo(dtype).eps
    V[:, 10:20] = 0  # silent frames
    V[30:] = 0  # silent bins
    W[:, 1] = 0  # a key without a spectrum
    for dictionary in (W, 0 * W):
        result = estimate_note_activations(V, dictionary, 3, bands=G, beta=beta, tol=0.0)
        assert all(torch.isfinite(x).all() for x in result[:4])


@pytest.mark.parametrize("beta", BETAS)
def test_single_precision_agrees_with_double(beta):
    V, W, G = 0.1 + uniform(40, 30), 0.01 + uniform(40, 4, 5, seed=1), bands(40, 8.0)
    double = estimate_note_activations(V, W, 3, bands=G, beta=beta)
    single = estimate_note_activations(V.float(), W.float(), 3, bands=G.float(), beta=beta)
    for x, y in zip(single[:3], double[:3], strict=True):
        assert x.dtype == torch.float32
        # Rounding errors of eps = 1.2e-7 add up over 20 iterations.
        torch.testing.assert_close(x.double(), y, rtol=3e-5, atol=3e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("beta", BETAS)
def test_cuda_agrees_with_the_processor(beta):
    V, W, G = 0.1 + uniform(40, 30), 0.01 + uniform(40, 4, 5, seed=1), bands(40, 8.0)
    expected = estimate_note_activations(V, W, 3, bands=G, beta=beta, tol=0.0)
    result = estimate_note_activations(V.cuda(), W.cuda(), 3, bands=G.cuda(), beta=beta, tol=0.0)
    for x, y in zip(result[:4], expected[:4], strict=True):
        assert x.is_cuda
        torch.testing.assert_close(x.cpu(), y, rtol=1e-8, atol=1e-12)


def test_an_update_of_the_response_does_not_stop_the_iterations():
    # One band can only change the level, which is right already: its updates change nothing.
    V, W, G = uniform(40, 60), sparse(40, 5, 5, seed=1), torch.ones(40, 1, dtype=torch.float64)
    full = estimate_note_activations(V, W, 3, bands=G, max_iter=300, tol=0.0).objective
    stopped = estimate_note_activations(V, W, 3, bands=G, max_iter=300, tol=1e-2)
    assert full[FIRST_TURN] - full[FIRST_TURN + 1] < 1e-3 * full[FIRST_TURN]
    fall = (full[:-3] - full[3:]) / full[:-3]
    n_iter = int((fall <= 1e-2).nonzero()[0]) + 3
    assert FIRST_TURN + 1 < n_iter < 300
    assert (stopped.n_iter, stopped.converged) == (n_iter, True)
    torch.testing.assert_close(stopped.objective, full[: n_iter + 1])


def test_without_a_tolerance_there_are_no_objectives():
    V, W = uniform(20, 15), uniform(20, 3, 4)
    expected = estimate_note_activations(V, W, 2, max_iter=7, tol=0.0)
    result = estimate_note_activations(V, W, 2, max_iter=7)
    assert (result.objective.shape, result.n_iter, result.converged) == ((0,), 7, False)
    torch.testing.assert_close(result.A, expected.A)


def test_arguments_are_not_changed():
    arguments = uniform(20, 15), uniform(20, 3, 4, seed=1), bands(20, 5.0)
    copies = [x.clone() for x in arguments]
    V, W, G = arguments
    estimate_note_activations(V, W, 2, bands=G)
    for x, copy in zip(arguments, copies, strict=True):
        assert torch.equal(x, copy)


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


@pytest.mark.parametrize("name", ["V", "W", "bands"])
def test_invalid_data_are_errors_that_name_the_array(name):
    arrays = {"V": uniform(6, 5), "W": uniform(6, 2, 3), "bands": bands(6, 2.0)}
    arrays[name].view(-1)[7] = math.nan
    with pytest.raises(ParameterError, match=f"^{name} holds NaN"):
        estimate_note_activations(arrays["V"], arrays["W"], 2, bands=arrays["bands"])


@pytest.mark.parametrize("n_attack", [-1, 0, 4])
def test_the_attack_must_consist_of_timbres(n_attack):
    with pytest.raises(ParameterError, match="n_attack must be from 1 to 3"):
        estimate_note_activations(uniform(6, 5), uniform(6, 2, 3), n_attack)
