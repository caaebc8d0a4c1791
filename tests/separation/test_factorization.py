"""Score-informed factorisation: constraints, planted factors, and the penalty of the noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.separation.factorization import (
    estimate_score_activations,
    learn_spectra,
    noise_bands,
)
from harmnmf.separation.framing import Framing
from harmnmf.signal.harmonics import FrequencyAxis

FLOOR = 1e-4
PENALTY = 0.5
N_BINS, N_KEYS, N_TIMBRES, N_FRAMES = 60, 3, 3, 80


def random(*shape, seed=0):
    values = np.random.default_rng(seed).gamma(0.5, size=shape)
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture
def score():
    """Where timbres sound: keys one after another, and two at once."""
    sounds = torch.zeros(N_KEYS, N_TIMBRES, N_FRAMES, dtype=torch.bool)
    for key, (first, last) in enumerate([(5, 40), (20, 60), (50, 75)]):
        sounds[key, :, first:last] = True
        sounds[key, 0, first + 5 :] = False
    return sounds


@pytest.fixture
def noise():
    return noise_bands(FrequencyAxis.linear(n_fft=2 * (N_BINS - 1), sample_rate=2000))


def spectra(seed=0):
    W = random(N_BINS, N_KEYS, N_TIMBRES, seed=seed)
    return W / W.sum(dim=0)


def objective(V, W, H, N, G, penalty=PENALTY):
    """Divergence and penalty, with the floor added to both."""
    model = W.flatten(1) @ H.flatten(0, 1) + N @ G
    divergence = beta_divergence(V + FLOOR, model + FLOOR, 1.0).sum()
    return float(divergence + penalty * G.sum())


@pytest.mark.parametrize("rate", [1000, 1920, 8000, 11025, 15360, 44100, 96000, 122881])
def test_noise_bands_are_an_octave_wide(rate):
    axis = Framing(rate).axis
    bands = noise_bands(axis).double().numpy()
    np.testing.assert_allclose(bands.sum(axis=0), 1, rtol=1e-4)
    assert (bands >= 0).all()
    assert (bands.max(axis=1) > 0).all()  # each bin is in one
    hz = axis.frequencies
    for band in range(1, bands.shape[1] - 1):
        inside = hz[bands[:, band] > 1e-9]
        assert inside[-1] / inside[0] <= 4 + 1e-6  # at half of its height, half as wide
        assert 60 * 2 ** (band - 1) <= inside[0] <= inside[-1] <= 60 * 2 ** (band + 1)


def test_zeros_stay_zero(score, noise):
    W = spectra()
    W[:20, 1] = 0
    W = W / W.sum(dim=0)
    V = random(N_BINS, N_FRAMES, seed=1)
    found = estimate_score_activations(V, W, score, noise, FLOOR)
    assert found.H.shape == score.shape
    assert found.G.shape == (noise.shape[1], N_FRAMES)
    assert (found.H[~score] == 0).all()
    assert (found.H[score] > 0).all()
    learned = learn_spectra(V, W, score, noise, FLOOR)
    assert (learned[:20, 1] == 0).all()
    np.testing.assert_allclose(learned.sum(dim=0), 1, rtol=1e-4)


def test_keys_that_do_not_sound_keep_their_spectra(score, noise):
    score[1] = False
    W, V = spectra(), random(N_BINS, N_FRAMES, seed=1)
    learned = learn_spectra(V, W, score, noise, FLOOR)
    np.testing.assert_array_equal(learned[:, 1], W[:, 1])
    assert not np.allclose(learned[:, 0], W[:, 0], rtol=0.1)
    assert (estimate_score_activations(V, W, score, noise, FLOOR).H[1] == 0).all()


def test_keys_without_a_spectrum_are_silent(score, noise):
    """As those above half the sample rate."""
    W, V = spectra(), random(N_BINS, N_FRAMES, seed=1)
    W[:, 2] = 0
    learned = learn_spectra(V, W, score, noise, FLOOR)
    assert (learned[:, 2] == 0).all()
    assert torch.isfinite(learned).all()
    H, G = estimate_score_activations(V, learned, score, noise, FLOOR)
    assert torch.isfinite(H).all()
    assert torch.isfinite(G).all()


def test_silence_has_no_activations(score, noise):
    V = torch.zeros(N_BINS, N_FRAMES)
    H, G = estimate_score_activations(V, spectra(), score, noise, FLOOR)
    assert (H == 0).all()
    assert (G == 0).all()
    np.testing.assert_array_equal(learn_spectra(V, spectra(), score, noise, FLOOR), spectra())


def test_frames_are_independent(score, noise):
    W, V = spectra(), random(N_BINS, N_FRAMES, seed=1)
    whole = estimate_score_activations(V, W, score, noise, FLOOR)
    for cuts in ([1], [7, 33, 64]):
        blocks = [
            estimate_score_activations(v, W, sounds, noise, FLOOR)
            for v, sounds in zip(
                torch.tensor_split(V, cuts, dim=1),
                torch.tensor_split(score, cuts, dim=2),
                strict=True,
            )
        ]
        for name in ("H", "G"):
            joined = torch.cat([getattr(block, name) for block in blocks], dim=-1)
            np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-3, atol=1e-6)


def test_the_level_does_not_matter(score, noise):
    W, V = spectra(), random(N_BINS, N_FRAMES, seed=1)
    soft = estimate_score_activations(V, W, score, noise, FLOOR)
    loud = estimate_score_activations(100 * V, W, score, noise, 100 * FLOOR)
    np.testing.assert_allclose(loud.H, 100 * soft.H, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(loud.G, 100 * soft.G, rtol=1e-2, atol=1e-3)


def test_planted_activations_are_found(score, noise):
    """Of keys whose spectra hardly overlap, in data that the model can make."""
    W = torch.full((N_BINS, N_KEYS, N_TIMBRES), 1e-6)
    for key in range(N_KEYS):
        for timbre in range(N_TIMBRES):
            W[key + 6 * timbre :: 19, key, timbre] = 1.0
    W = W / W.sum(dim=0)
    planted = random(*score.shape, seed=2) * score
    V = W.flatten(1) @ planted.flatten(0, 1)
    H, G = estimate_score_activations(V, W, score, noise, FLOOR)
    np.testing.assert_allclose(H[score], planted[score], rtol=0.05, atol=0.02)
    assert G.sum() < 0.01 * H.sum()


def test_planted_spectra_are_learned(score, noise):
    """From spectra that have zeros where the planted ones have, and else nothing of them."""
    planted = torch.zeros(N_BINS, N_KEYS, N_TIMBRES)
    for key in range(N_KEYS):
        planted[key::4, key] = random(len(planted[key::4]), N_TIMBRES, seed=key) + 0.1
    planted = planted / planted.sum(dim=0)
    start = (planted > 0).float()
    start = start / start.sum(dim=0)
    # Each key has one timbre only, so that they cannot be exchanged.
    score[:, [0, 2]] = False
    V = planted.flatten(1) @ ((random(*score.shape, seed=3) + 0.1) * score).flatten(0, 1)
    learned = learn_spectra(V, start, score, noise, FLOOR)
    before = (start - planted)[:, :, 1].abs().sum()
    after = (learned - planted)[:, :, 1].abs().sum()
    assert after < 0.05 * before


def test_noise_is_noise(score, noise):
    V = noise @ random(noise.shape[1], N_FRAMES, seed=4)
    W = torch.zeros(N_BINS, N_KEYS, N_TIMBRES)
    W[10:13] = 1 / 3
    H, G = estimate_score_activations(V, W, score, noise, FLOOR)
    assert (noise @ G).sum() > 4 * H.sum()


def test_the_penalty_is_that_of_plain_updates(score, noise):
    """The penalty stands in the denominator of the plain update of the noise."""
    W, V = spectra(), random(N_BINS, N_FRAMES, seed=1)
    found = estimate_score_activations(V, W, score, noise, FLOOR)
    dictionary = torch.cat([W.flatten(1), noise], dim=1).double().numpy()
    cost = np.r_[np.zeros(N_KEYS * N_TIMBRES), np.full(noise.shape[1], PENALTY)]
    level = V.double().numpy().sum(axis=0)
    allowed = score.flatten(0, 1).numpy()
    H = np.concatenate([allowed * level, np.tile(0.1 * level, (noise.shape[1], 1))])

    def value(H):
        G = torch.from_numpy(H[len(allowed) :])
        return objective(
            V.double(), W.double(), torch.from_numpy(H[: len(allowed)]).reshape(score.shape),
            noise.double(), G,
        )  # fmt: skip

    values = [value(H)]
    for _ in range(1000):
        ratio = (V.double().numpy() + FLOOR) / (dictionary @ H + FLOOR)
        H = H * (dictionary.T @ ratio) / (dictionary.sum(axis=0) + cost)[:, None]
        values.append(value(H))
    assert (np.diff(values) <= 1e-6 * values[0]).all()
    reached = objective(V.double(), W.double(), found.H.double(), noise.double(), found.G.double())
    # Fifteen accelerated updates get at least as far as fifteen plain ones, and near the end.
    assert reached <= values[15]
    assert reached - values[-1] < 0.05 * (values[0] - values[-1])
    # Without the penalty the noise would take more.
    for _ in range(1000):
        ratio = (V.double().numpy() + FLOOR) / (dictionary @ H + FLOOR)
        H = H * (dictionary.T @ ratio) / dictionary.sum(axis=0)[:, None]
    assert H[len(allowed) :].sum() > 1.1 * float(found.G.sum())


def test_the_divergence_of_a_bin_of_zero_is_the_penalty():
    """KL(0 | λΣG) = λΣG; a floor ε under both takes ε log(1 + λΣG / ε) of it."""
    cost = random(1, 5).double()
    zeros = torch.zeros_like(cost)
    assert float(beta_divergence(zeros, cost, 1.0)) == pytest.approx(float(cost.sum()))
    with_floor = beta_divergence(zeros + FLOOR, cost + FLOOR, 1.0)
    taken = FLOOR * torch.log1p(cost / FLOOR).sum()
    assert float(with_floor) == pytest.approx(float(cost.sum() - taken))
