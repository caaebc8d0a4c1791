"""Activations in a window that slides along a stream."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from factorizations import sparse, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.nmf.solvers.convolutive import estimate_note_activations, raised_cosine_bands
from harmnmf.nmf.solvers.divergence import beta_divergence, majorisation_exponent
from harmnmf.nmf.solvers.reverberation import Reverberation
from harmnmf.nmf.solvers.sliding import SlidingActivations

FLOOR = 1e-8
ROOM = Reverberation(level=0.3, decay=0.7)
DRY = Reverberation(level=0.0, decay=0.0)


def bands(n_bins, spacing=4.0):
    return raised_cosine_bands(torch.arange(n_bins, dtype=torch.float64), spacing)


class Played:
    """A solver, and everything that the model of its window depends on."""

    def __init__(self, W, n_attack, n_window, room=DRY, **options):
        self.W, self.n_attack, self.room = W, n_attack, room
        self.solver = SlidingActivations(
            W, n_attack, n_window=n_window, reverberation=room, **options
        )
        self.attacks = torch.zeros(W.shape[1], 0, dtype=W.dtype)  # all that have left the window
        self.past = torch.zeros(len(W), 0, dtype=W.dtype)  # the model without the room
        self.V = torch.full((len(W), n_window), FLOOR, dtype=W.dtype)
        self._dry = torch.zeros_like(self.V)

    def push(self, V):
        """Push frames, and keep the model of those that leave: that of the last iteration."""
        n_new = V.shape[1]
        self.attacks = torch.cat([self.attacks, self.solver.A[:, :n_new]], dim=1)
        self.past = torch.cat([self.past, self._dry[:, :n_new]], dim=1)
        self.V = torch.cat([self.V[:, n_new:], V + FLOOR], dim=1)
        before = self.after(V, self.solver.n_iter - 1)
        self._dry = self.dry(before.A, before.S)
        self.solver.push(V)

    def after(self, V, n_iter):
        """A copy of the solver that makes another number of iterations with new frames."""
        copy = deepcopy(self.solver)
        copy.n_iter = n_iter
        copy.push(V)
        return copy

    def dry(self, A, S):
        """Model of the window without the room, term by term."""
        all_attacks = torch.cat([self.attacks, A], dim=1)
        n_before = self.attacks.shape[1]
        frames = []
        for n in range(A.shape[1]):
            frame = sum(self.W[:, :, self.n_attack + i] @ S[:, i, n] for i in range(S.shape[1]))
            for j in range(self.n_attack):
                if n_before + n - j >= 0:
                    frame = frame + self.W[:, :, j] @ all_attacks[:, n_before + n - j]
            frames.append(frame)
        return torch.stack(frames, dim=1)

    def model(self, A, S, response=1.0):
        """Model of the window: V̂ = r · R(Σ_j W_j A delayed + W S), with all of the past."""
        sound = torch.cat([self.past, self.dry(A, S)], dim=1)
        n_before = self.past.shape[1]
        frames = []
        for n in range(n_before, sound.shape[1]):
            echo = torch.zeros_like(sound[:, n])
            for delay in range(1, n + 1):
                factor = self.room.level * self.room.decay ** (delay - 1)
                echo = echo + factor * sound[:, n - delay]
            frames.append(sound[:, n] + echo)
        response = torch.as_tensor(response, dtype=sound.dtype).expand(len(sound))
        return response[:, None] * torch.stack(frames, dim=1)


def ratio_of_terms(V, V_hat, beta, parameters):
    """Quotients of the two terms of the gradient, by automatic differentiation."""
    gradients = torch.autograd.grad(beta_divergence(V, V_hat, beta), parameters, retain_graph=True)
    weighted = (V_hat * (V_hat ** (beta - 1)).detach()).sum()
    positives = torch.autograd.grad(weighted, parameters)
    return [(p - g) / p for p, g in zip(positives, gradients, strict=True)]


def played(beta=0.5, n_attack=3, room=ROOM, n_window=6, lengths=(2, 1, 3, 6, 2), **options):
    """A stream of a few pushes, and the frames of the next."""
    W, V = 0.1 + uniform(9, 3, n_attack + 2, seed=1), 0.1 + uniform(9, sum(lengths) + 2)
    stream = Played(W, n_attack, n_window, room, beta=beta, **options)
    for part in V.split([*lengths, 2], dim=1)[:-1]:
        stream.push(part)
    return stream, V[:, -2:]


@pytest.mark.parametrize("beta", [-1, 0, 0.5, 1, 2, 3])
@pytest.mark.parametrize(("n_attack", "n_window"), [(1, 6), (3, 6), (5, 3)])
@pytest.mark.parametrize("room", [DRY, ROOM], ids=["dry", "reverberant"])
def test_an_iteration_multiplies_by_the_terms_of_the_gradient(beta, n_attack, n_window, room):
    lengths = (2, 1, 3, 3, 2)
    stream, V = played(beta, n_attack, room, n_window, lengths, bands=bands(9))
    start, once = stream.after(V, 0), stream.after(V, 1)
    stream.push(V)
    A, S = start.A.clone().requires_grad_(), start.S.clone().requires_grad_()
    V_hat = stream.model(A, S, bands(9) @ start.u) + FLOOR
    ratios = ratio_of_terms(stream.V, V_hat, beta, (A, S))
    gamma = majorisation_exponent(beta)
    torch.testing.assert_close(once.A, start.A * ratios[0] ** gamma)
    torch.testing.assert_close(once.S, start.S * ratios[1] ** gamma)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 2])
def test_iterations_never_raise_the_divergence_of_the_window(beta):
    stream, V = played(beta, n_iter=2)
    states = [stream.after(V, n_iter) for n_iter in range(0, 40, 3)]
    stream.push(V)
    divergences = torch.stack(
        [beta_divergence(stream.V, stream.model(x.A, x.S) + FLOOR, beta) for x in states]
    )
    assert (divergences.diff() <= 1e-12 * divergences[:-1].abs()).all()
    assert divergences[-1] < 0.8 * divergences[0]


@pytest.mark.parametrize("beta", [0, 0.5, 1])
@pytest.mark.parametrize("n_attack", [1, 4])
def test_a_whole_signal_in_the_window_is_the_factorisation_of_a_file(beta, n_attack):
    V, W = sparse(12, 15), sparse(12, 3, n_attack + 2, seed=1)
    solver = SlidingActivations(W, n_attack, n_window=15, n_iter=60, reverberation=ROOM, beta=beta)
    solver.push(V)
    whole = estimate_note_activations(
        V, W, n_attack, reverberation=ROOM, beta=beta, floor=FLOOR, max_iter=60, tol=0.0
    )
    torch.testing.assert_close(solver.A, whole.A)
    torch.testing.assert_close(solver.S, whole.S)


def synthetic(n_frames, n_bins=40, n_pitches=5, n_attack=4, seed=0):
    """A dictionary, and notes that are exactly of its spectra: V, W, and the attacks."""
    W = sparse(n_bins, n_pitches, n_attack + 1, seed=seed) + 0.01
    A = torch.zeros(n_pitches, n_frames, dtype=torch.float64)
    S = torch.zeros(n_pitches, 1, n_frames, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for start in range(5, n_frames - 20, 7):
        key = int(torch.randint(n_pitches, (), generator=generator))
        A[key, start] = 0.5
        S[key, 0, start + n_attack : start + 12] = 0.3
    stream = Played(W, n_attack, n_frames)
    return stream.dry(A, S), W, A


def test_pushes_find_the_onsets_of_a_stream():
    V, W, A = synthetic(120)
    solver = SlidingActivations(W, 4, n_window=8, n_iter=10)
    attacks = []
    for part in V.split(2, dim=1):
        solver.push(part)
        attacks.append(solver.A[:, :2].clone())  # 6 frames later they are known
    found = torch.cat(attacks, dim=1)[:, 6:]
    wanted = A[:, : found.shape[1]]
    assert set(map(tuple, (found > 0.25).nonzero().tolist())) == set(
        map(tuple, (wanted > 0.25).nonzero().tolist())
    )
    torch.testing.assert_close(found[wanted > 0], wanted[wanted > 0], rtol=0.1, atol=0)


def test_a_long_note_needs_few_iterations():
    """The window goes on from what it had, and finds the model that a new one needs longer for."""
    W = sparse(30, 4, 5, seed=1) + 0.01
    V = (W[:, 1, -1] * 0.6)[:, None].expand(-1, 60)
    stream = Played(W, 3, 10, n_iter=2)
    for part in V.split(2, dim=1):
        stream.push(part)
    new = Played(W, 3, 10, n_iter=2)
    new.push(V[:, -10:])
    warm, cold = (
        beta_divergence(x.V, x.model(x.solver.A, x.solver.S) + FLOOR, 0.5) for x in (stream, new)
    )
    assert warm < 0.05 * cold
    assert stream.solver.S[1, -1, 0] == pytest.approx(0.6, rel=0.05)
    assert stream.solver.A[:, 0].max() < 0.01


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(-6, 6))
def test_the_gain_of_a_stream_scales_its_activations(lengths, exponent):
    W, V = sparse(9, 3, 5, seed=1), 0.01 + sparse(9, sum(lengths))
    gain = 2.0**exponent
    quiet, loud = (SlidingActivations(W, 3, n_window=6, bands=bands(9)) for _ in range(2))
    for part in V.split(lengths, dim=1):
        quiet.push(part)
        loud.push(gain * part)
    torch.testing.assert_close(loud.A, gain * quiet.A, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(loud.S, gain * quiet.S, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(loud.u, quiet.u, rtol=1e-3, atol=1e-5)


def response_of(V, W, u=None, n_window=8, memory=1500.0, n_iter=6):
    solver = SlidingActivations(
        W, 4, n_window=n_window, n_iter=n_iter, bands=bands(len(W), 8.0), u=u, memory=memory
    )
    for part in V.split(2, dim=1):
        solver.push(part)
    return bands(len(W), 8.0) @ solver.u


def test_a_smooth_equaliser_is_the_response():
    V, W, _ = synthetic(400)
    true = torch.exp(torch.sin(torch.linspace(0, 4, len(W), dtype=torch.float64)))
    r = response_of(true[:, None] * V, W)
    assert torch.corrcoef(torch.stack([r.log(), true.log()]))[0, 1] > 0.97
    # The response leaves the sum of the model as it is.
    true = true * V.sum() / (true[:, None] * V).sum()
    assert (r / true).log().abs().mean() < 0.4 * true.log().abs().mean()
    file = estimate_note_activations(
        true[:, None] * V, W, 4, bands=bands(len(W), 8.0), max_iter=60
    ).response
    assert torch.corrcoef(torch.stack([r.log(), file.log()]))[0, 1] > 0.97


def test_the_response_follows_a_change():
    V, W, _ = synthetic(200)
    rising = torch.exp(torch.linspace(-1, 1, len(W), dtype=torch.float64))
    both = torch.cat([V / rising[:, None], V * rising[:, None]], dim=1)
    r = response_of(both, W, memory=60.0)
    assert torch.corrcoef(torch.stack([r.log(), rising.log()]))[0, 1] > 0.9


@pytest.mark.parametrize("memory", [0.5, 2.0, 1e6])
def test_any_memory_gives_a_response(memory):
    V, W, _ = synthetic(40)
    r = response_of(V, W, memory=memory)
    assert torch.isfinite(r).all()
    assert (r > 0).all()


def test_the_response_begins_with_the_one_that_is_known():
    V, W, _ = synthetic(30)
    true = torch.exp(torch.sin(torch.linspace(0, 4, len(W), dtype=torch.float64)))
    known = torch.exp(torch.sin(torch.arange(bands(len(W), 8.0).shape[1]) * 4 * 8 / 39))
    errors = [
        (response_of(true[:, None] * V, W, u) / true).log().std()
        for u in (None, known.to(torch.float64))
    ]
    assert errors[1] < 0.5 * errors[0]


def test_silence_is_no_response():
    V, W, _ = synthetic(30)
    G = bands(len(W), 8.0)
    u = 0.5 + uniform(G.shape[1], seed=3)
    solver = SlidingActivations(W, 4, n_window=8, bands=G, u=u, reverberation=ROOM)
    silence = torch.zeros(len(W), 2, dtype=torch.float64)
    for _ in range(50):
        solver.push(silence)
    assert torch.equal(solver.u, u)
    for x in (solver.A, solver.S):
        assert torch.isfinite(x).all()
        assert 0 <= x.min() <= x.max() < 1e-6
    for part in V[:, :8].split(2, dim=1):
        solver.push(part)
    assert solver.A.max() > 0.1  # the first note


def test_what_is_not_audible_does_not_count_for_the_response():
    V, W, _ = synthetic(60)
    V = torch.linspace(0.3, 2.0, len(W), dtype=torch.float64)[:, None] * V
    noise = 1e-3 * uniform(len(W), 60, seed=5)
    G = bands(len(W), 8.0)
    whole, interrupted = (SlidingActivations(W, 4, n_window=8, bands=G) for _ in range(2))
    for part in V.split(2, dim=1):
        whole.push(part)
        interrupted.push(part)
    for part in noise.split(2, dim=1):
        whole.push(0 * part, audible=0.01)
        interrupted.push(part, audible=0.01)
    torch.testing.assert_close(interrupted.u, whole.u, rtol=0.01, atol=0)
    before = interrupted.u
    for part in noise.split(2, dim=1):
        interrupted.push(part, audible=0.01)
    assert torch.equal(interrupted.u, before)
    for part in noise.split(2, dim=1):
        interrupted.push(part)
    assert not torch.equal(interrupted.u, before)


def test_without_bands_the_response_stays():
    V, W, _ = synthetic(40)
    solver = SlidingActivations(W, 4)
    for part in V.split(2, dim=1):
        solver.push(part)
    torch.testing.assert_close(solver.u, torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_attack": 0},
        {"n_attack": 6},
        {"n_window": 0},
        {"n_iter": 0},
        {"memory": 0.0},
        {"memory": float("nan")},
        {"u": torch.ones(4, dtype=torch.float64)},
    ],
    ids=str,
)
def test_errors(wrong):
    with pytest.raises(ParameterError):
        SlidingActivations(uniform(9, 3, 5), **{"n_attack": 3, "bands": bands(9)} | wrong)
