"""Activations of notes that begin with a fixed sequence of spectra, in an unknown room.

The first timbres of a key are the successive frames of its attack: one activation drives them
all, frame after frame, as in convolutive factorisation [1]_. Its other timbres (sustain, decay)
are activated freely, and continue the sound for as long as the key is held::

    V̂[f, n] = r[f] · Σ_k ( Σ_{j<T} W[f, k, j] A[k, n - j]  +  Σ_{j≥T} W[f, k, j] S[k, j-T, n] )

An attack that must explain T frames at once marks an onset far more clearly than the rise of an
ordinary activation. The response r is the frequency response of piano, room and microphones, the
same for all notes, relative to those of the dictionary. It is a smooth curve ``r = G u`` over
broad bands G, so that it can learn an equaliser but not a chord.

A room also prolongs the sounds. If its decay along time R is given
(:mod:`harmnmf.nmf.solvers.reverberation`), it is applied to the model, ``V̂ ← R V̂``: what the room
adds after a sound needs no activations, and echoes are not taken for notes. R is not estimated from
the recording: sustained timbres explain any reverberation as well as R does, and an estimate that
starts with some drifts towards none.

References
----------
.. [1] P. Smaragdis, "Convolutive speech bases and their application to supervised speech
   separation", IEEE TASLP 15(1), 2007, pp. 1-12.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from harmnmf.signal.harmonics import FrequencyAxis
from harmnmf.validation import check_integer, check_number

from .divergence import beta_divergence, gradient_terms, majorisation_exponent
from .loop import SolverOptions, check_nonnegative, data_floor, iterate, multiplicative_update
from .reverberation import Reverberation

__all__ = ["NoteActivations", "estimate_note_activations", "raised_cosine_bands", "room_bands"]

# Iteration that first updates the response, when the activations have found the notes.
_FIRST_RESPONSE = 5
_RESPONSE_PERIOD = 3
_RESPONSE_SPACING = 1 / 6  # octaves: the response is smooth over a third of an octave


class NoteActivations(NamedTuple):
    """Attacks A, sustained timbres S, the response r, and the record of the iterations."""

    A: torch.Tensor
    S: torch.Tensor
    response: torch.Tensor
    objective: torch.Tensor
    n_iter: int
    converged: bool


def raised_cosine_bands(positions: torch.Tensor, spacing: float) -> torch.Tensor:
    """Make raised-cosine bands that overlap by half and add up to one.

    Parameters
    ----------
    positions : Tensor, shape (n_bins,)
        Positions of the bins, ascending.
    spacing : float
        Distance from the centre of a band to the next; the first is at the first bin.

    Returns
    -------
    Tensor, shape (n_bins, n_bands)
        The bands G; each row adds up to 1.

    Examples
    --------
    >>> raised_cosine_bands(torch.arange(5.0), spacing=2.0)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 1.0000, 0.0000],
            [0.0000, 0.5000, 0.5000],
            [0.0000, 0.0000, 1.0000]])
    """
    x = positions - positions[0]
    centres = spacing * torch.arange(math.ceil(float(x[-1]) / spacing) + 1, dtype=x.dtype)
    distance = (x[:, None] - centres) / spacing
    bands = torch.where(distance.abs() < 1, 0.5 + 0.5 * torch.cos(torch.pi * distance), 0.0)
    return bands / bands.sum(dim=1, keepdim=True)


def room_bands(axis: FrequencyAxis, device: str = "cpu") -> torch.Tensor | None:
    """Make the bands G of a response that is smooth over a third of an octave.

    The result has shape (n_bins, n_bands), or is None if the axis is not logarithmic.

    Examples
    --------
    >>> room_bands(FrequencyAxis.logarithmic(fmin=100.0, bins_per_octave=12, n_bins=4)).shape
    torch.Size([4, 3])
    """
    if axis.scale != "logarithmic":
        return None
    bins = torch.arange(axis.n_bins, dtype=torch.float32)
    return raised_cosine_bands(bins, max(1.0, axis.resolution * _RESPONSE_SPACING)).to(device)


def estimate_note_activations(
    V: torch.Tensor,
    W: torch.Tensor,
    n_attack: int,
    *,
    bands: torch.Tensor | None = None,
    reverberation: Reverberation | None = None,
    beta: float = 0.5,
    floor: float | torch.Tensor | None = None,
    max_iter: int = 20,
    tol: float | None = None,
) -> NoteActivations:
    """Estimate the attacks and the sustained activations of a dictionary's keys.

    All activations are updated simultaneously, as in
    :func:`harmnmf.nmf.solvers.multiplicative.estimate_activations`; every third iteration updates
    the response instead, ``u ← u · [Gᵀ(V̂₀ · V · V̂^(β-2))1 / Gᵀ(V̂₀ · V̂^(β-1))1]^γ``, where V̂₀ is
    the model without the response and γ is
    :func:`harmnmf.nmf.solvers.divergence.majorisation_exponent`.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram, not negative.
    W : Tensor, shape (n_bins, n_pitches, n_timbres)
        Dictionary whose first `n_attack` timbres are the successive frames of the attack.
    n_attack : int
        T above, from 1 to n_timbres.
    bands : Tensor, shape (n_bins, n_bands), optional
        Bands G of the response, such as :func:`room_bands`. Default: the response stays at 1.
    reverberation : Reverberation, optional
        Decay R of the room along time. Default: none.
    beta : float, default=0.5
        The beta-divergence: 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito.
    floor, max_iter, tol
        As in :class:`~harmnmf.nmf.solvers.loop.SolverOptions`, except that convergence is judged
        over one iteration, or over three if there are bands.

    Returns
    -------
    NoteActivations
        A of shape (..., n_pitches, n_frames): A[k, n] is how strongly key k begins in frame n;
        S of shape (..., n_pitches, n_timbres - n_attack, n_frames); the response, of shape
        (..., n_bins), scaled so that the model has the same sum with it as without; and the
        record of the iterations, with the objective, float64, (n_objectives, ...).

    Raises
    ------
    ParameterError
        If an array is empty, or holds negative or non-finite values, or `n_attack` is out of range.

    Examples
    --------
    A key with a bright attack of two frames and a dark sustain, struck in frame 3:

    >>> W = torch.tensor([[[0.0, 1.0, 3.0]], [[4.0, 1.0, 0.0]]])
    >>> V = torch.zeros(2, 8)
    >>> V[:, 3:5], V[0, 5:] = W[:, 0, :2], 1.0
    >>> A = estimate_note_activations(V, W, n_attack=2, max_iter=100).A
    >>> int(A[0].argmax()), round(float(A[0].max()), 2)
    (3, 1.0)
    """
    check_nonnegative(V=V, W=W, bands=bands)
    n_bins, n_pitches, n_timbres = W.shape
    check_integer("n_attack", n_attack, 1, n_timbres)
    check_number("beta", beta)
    options = SolverOptions(floor=floor, max_iter=max_iter, tol=tol)
    floor = data_floor(V) if floor is None else floor
    gamma = majorisation_exponent(beta)
    V = V + floor
    batch, n_frames = V.shape[:-2], V.shape[-1]
    # Timbre by timbre, so that the rows of each frame of the attack are those of A, delayed.
    Wf = W.permute(0, 2, 1).reshape(n_bins, n_timbres * n_pitches).contiguous()
    n_attack_rows = n_attack * n_pitches

    start = V.mean(dim=(-2, -1), keepdim=True) / (Wf.mean() * Wf.shape[1]).clamp_min(floor)
    A = start.expand(*batch, n_pitches, n_frames).clone()
    S = start.expand(*batch, Wf.shape[1] - n_attack_rows, n_frames).clone()
    H = torch.zeros(*batch, Wf.shape[1], n_frames, dtype=V.dtype, device=V.device)
    G = torch.ones(n_bins, 1, dtype=V.dtype, device=V.device) if bands is None else bands
    u = torch.ones(*batch, G.shape[1], 1, dtype=V.dtype, device=V.device)

    def unfiltered_model() -> torch.Tensor:
        for j in range(min(n_attack, n_frames)):
            rows = slice(j * n_pitches, (j + 1) * n_pitches)
            H[..., rows, j:] = A[..., : n_frames - j]
        H[..., n_attack_rows:, :] = S
        return Wf @ H if reverberation is None else reverberation.apply(Wf @ H)

    def gather(rows: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(A)
        for j in range(min(n_attack, n_frames)):
            total[..., : n_frames - j] += rows[..., j * n_pitches : (j + 1) * n_pitches, j:]
        return total

    def step(iteration: int) -> None:
        nonlocal A, S, u
        r = G @ u
        unfiltered = unfiltered_model()
        negative, positive = gradient_terms(V, r * unfiltered + floor, beta)
        terms = negative, positive.expand_as(V)
        turn = iteration - _FIRST_RESPONSE
        if bands is not None and turn >= 0 and turn % _RESPONSE_PERIOD == 0:
            sums = (G.T @ (unfiltered * term).sum(dim=-1, keepdim=True) for term in terms)
            u = multiplicative_update(u, sums, gamma)
            return
        if reverberation is not None:
            terms = reverberation.adjoint(terms[0]), reverberation.adjoint(terms[1])
        Wr = (r * Wf).mT
        terms = Wr @ terms[0], Wr @ terms[1]
        A = multiplicative_update(A, map(gather, terms), gamma)
        S = multiplicative_update(S, (term[..., n_attack_rows:, :] for term in terms), gamma)

    def objective() -> torch.Tensor:
        return beta_divergence(V, (G @ u) * unfiltered_model() + floor, beta)

    # An update of the response may change little while the activations have far to go.
    period = 1 if bands is None else _RESPONSE_PERIOD
    run = iterate(step, objective, options, period=period)
    r = (G @ u)[..., 0]
    spectrum = unfiltered_model().sum(dim=-1)
    total = spectrum.sum(dim=-1)
    level = torch.where(total > 0, (r * spectrum).sum(dim=-1) / total, 1.0)
    A, S = (X * level[..., None, None] for X in (A, S))
    return NoteActivations(
        A,
        S.unflatten(-2, (n_timbres - n_attack, n_pitches)).transpose(-3, -2),
        r / level[..., None],
        *run,
    )
