"""Activations of notes while they are played: factorisation in a window that slides.

The model is that of :mod:`harmnmf.nmf.solvers.convolutive`, attacks A and sustained timbres S of a
dictionary W in a room with the decay R and the response ``r = G u``. With W and R given, only the
last frames are open: an attack that began in a frame is confirmed or taken back by those that
follow, and after `n_window` frames its activation stays as it is. Whenever the window moves on, it
starts from the activations that it had, so that a few iterations suffice.

The response is estimated from the audible frames that have left the window, weighted by an
exponential decay, as in online factorisation [1]_. Of these frames only two sums per band are
kept::

    N = Σ_n λ^n u_n^(1/γ) · Gᵀ(V̂₀ · V · V̂^(β-2))[n]        P = Σ_n λ^n Gᵀ(V̂₀ · V̂^(β-1))[n]
    u ← [(N + p u₀^(1/γ)) / (P + p)]^γ

where n counts the audible frames since, ``λ = exp(-1 / memory)``, u_n is u when the frame left, V̂₀
the model without the response, γ
:func:`~harmnmf.nmf.solvers.divergence.majorisation_exponent`, and u₀ the response to begin with,
whose weight p is that of 100 frames. Then u is scaled so that the model has the same sum with the
response as without.

References
----------
.. [1] A. Lefèvre, F. Bach and C. Févotte, "Online algorithms for nonnegative matrix factorization
   with the Itakura-Saito divergence", Proc. WASPAA, 2011, pp. 313-316.
"""

from __future__ import annotations

import math

import torch

from harmnmf.errors import ParameterError
from harmnmf.validation import check_integer, check_number

from .divergence import gradient_terms, majorisation_exponent
from .loop import multiplicative_update
from .reverberation import Reverberation

__all__ = ["SlidingActivations"]

# Added to data and model; magnitudes are at most 1.
_FLOOR = 1e-8
_INAUDIBLE = 100 * _FLOOR
# Frames that the response to begin with counts for.
_PRIOR = 100.0


class SlidingActivations:
    """Estimate the activations of a dictionary's keys in the last frames of a stream.

    Parameters
    ----------
    W : Tensor, shape (n_bins, n_pitches, n_timbres)
        Dictionary whose first `n_attack` timbres are the successive frames of the attack.
    n_attack : int
        Frames of the attack.
    n_window : int, default=10
        Frames whose activations may still change.
    n_iter : int, default=4
        Iterations for each push.
    bands : Tensor, shape (n_bins, n_bands), optional
        Bands G of the response. Default: the response stays at 1.
    u : Tensor, shape (n_bands,), optional
        Gains of the bands to begin with. Default: 1.
    memory : float, default=1500.0
        Audible frames after which what was heard counts for the response by a factor of 1/e.
    reverberation : Reverberation, optional
        Decay of the room along time. Default: none.
    beta : float, default=0.5
        The beta-divergence.

    Attributes
    ----------
    A : Tensor, shape (n_pitches, n_window)
        Attacks in the window.
    S : Tensor, shape (n_pitches, n_timbres - n_attack, n_window)
        Sustained timbres in the window.
    u : Tensor, shape (n_bands,)
        Gains of the bands of the response.

    Examples
    --------
    >>> W = torch.tensor([[[0.0, 1.0, 3.0]], [[4.0, 1.0, 0.0]]])
    >>> V = torch.zeros(2, 8)
    >>> V[:, 3:5], V[0, 5:] = W[:, 0, :2], 1.0
    >>> solver = SlidingActivations(W, n_attack=2, n_window=8, n_iter=100)
    >>> solver.push(V)
    >>> int(solver.A[0].argmax()), round(float(solver.A[0].max()), 2)
    (3, 1.0)
    """

    def __init__(
        self,
        W: torch.Tensor,
        n_attack: int,
        *,
        n_window: int = 10,
        n_iter: int = 4,
        bands: torch.Tensor | None = None,
        u: torch.Tensor | None = None,
        memory: float = 1500.0,
        reverberation: Reverberation | None = None,
        beta: float = 0.5,
    ) -> None:
        n_bins, n_pitches, n_timbres = W.shape
        check_integer("n_attack", n_attack, 1, n_timbres)
        check_integer("n_window", n_window)
        check_integer("n_iter", n_iter)
        check_number("memory", memory, above=0)
        self.n_iter = n_iter
        self.beta = beta
        self.reverberation = Reverberation(0.0, 0.0) if reverberation is None else reverberation
        self._n_attack, self._n_window, self._memory = n_attack, n_window, memory
        # Timbre by timbre, so that the rows of each frame of the attack are those of A, delayed.
        self._Wf = W.permute(0, 2, 1).reshape(n_bins, n_timbres * n_pitches).contiguous()
        self._G = W.new_ones(n_bins, 1) if bands is None else bands
        self._is_adaptive = bands is not None
        self.u = W.new_ones(self._G.shape[1]) if u is None else u.clone()
        if len(self.u) != self._G.shape[1]:
            raise ParameterError(f"u must have {self._G.shape[1]} bands, not {len(self.u)}")
        self._u0 = self.u
        # Sums over the frames of the past: N and P, and the spectrum of the model.
        self._negative, self._positive = W.new_zeros(2, self._G.shape[1])
        self._spectrum = W.new_zeros(n_bins)
        self._n_heard = 0.0
        self._set_response()
        # Frames before the window, whose attacks last into it, and the frames of the window.
        self._attacks = W.new_zeros(n_pitches, n_attack - 1 + n_window)
        self._sustained = W.new_zeros((n_timbres - n_attack) * n_pitches, n_window)
        self._V = W.new_full((n_bins, n_window), _FLOOR)
        # Reverberation of the frames before the window in its first frame.
        self._tail = W.new_zeros(n_bins, 1)
        # Of the last iteration: the model without the response, before and after the reverberation,
        # and the terms of the gradient.
        self._dry = self._wet = W.new_zeros(n_bins, n_window)
        self._terms = W.new_zeros(n_bins, n_window), W.new_zeros(n_bins, n_window)
        self._decay = self.reverberation.decay ** torch.arange(n_window).to(W)

    @property
    def A(self) -> torch.Tensor:
        """Attacks in the window, (n_pitches, n_window)."""
        return self._attacks[:, self._n_attack - 1 :]

    @property
    def S(self) -> torch.Tensor:
        """Sustained timbres in the window, (n_pitches, n_timbres - n_attack, n_window)."""
        return self._sustained.unflatten(0, (-1, len(self._attacks))).transpose(0, 1)

    def push(self, V: torch.Tensor, audible: float = _INAUDIBLE) -> None:
        """Take the next frames, (n_bins, n_frames), at least one and at most a window of them.

        Frames that now leave the window count for the response if their loudest bin exceeds
        `audible`.
        """
        n_new = V.shape[1]
        self._leave(n_new, audible)
        V = V + _FLOOR
        start = V.mean() / (self._Wf.mean() * self._Wf.shape[1])
        self._V = torch.cat([self._V[:, n_new:], V], dim=1)
        attacks = start.expand(len(self._attacks), n_new)
        self._attacks = torch.cat([self._attacks[:, n_new:], attacks], dim=1)
        # Notes last: what sounded in the last frame is likely to sound on.
        sustained = (self._sustained[:, -1:] + start).expand(-1, n_new)
        self._sustained = torch.cat([self._sustained[:, n_new:], sustained], dim=1)
        gamma = majorisation_exponent(self.beta)
        n_rows, n_window = self._n_attack * len(self._attacks), self._n_window
        for _ in range(self.n_iter):
            self._dry, self._wet = self._model()
            self._terms = self._gradient_terms(self._r[:, None] * self._wet + _FLOOR)
            both = torch.cat([self.reverberation.adjoint(x) for x in self._terms], dim=1)
            terms = (self._Wr.T @ both).split(n_window, dim=1)
            A = multiplicative_update(self.A, map(self._gather, terms), gamma)
            self._attacks[:, self._n_attack - 1 :] = A
            self._sustained = multiplicative_update(
                self._sustained, (x[n_rows:] for x in terms), gamma
            )

    def _model(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Model of the window without the response of the room: dry, and with reverberation."""
        n_attack, n_window = self._n_attack, self._n_window
        delayed = [
            self._attacks[:, n_attack - 1 - j : n_attack - 1 - j + n_window]
            for j in range(n_attack)
        ]
        X = self._Wf @ torch.cat([*delayed, self._sustained])
        return X, self.reverberation.apply(X) + self._tail * self._decay

    def _gradient_terms(self, model: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        negative, positive = gradient_terms(self._V, model, self.beta)
        return negative, positive.expand_as(self._V)

    def _gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Sum the terms of the frames of an attack, as far as they are in the window."""
        n_pitches, n_window = len(self._attacks), self._n_window
        total = rows[:n_pitches].clone()
        for j in range(1, min(self._n_attack, n_window)):
            total[:, : n_window - j] += rows[j * n_pitches : (j + 1) * n_pitches, j:]
        return total

    def _leave(self, n_frames: int, audible: float) -> None:
        """Learn from the frames that leave the window, and keep their reverberation.

        The model is that of the last iteration: another product would cost half as much as one.
        """
        heard = self._V[:, :n_frames].amax(dim=0) > audible
        if self._is_adaptive and heard.any():
            self._update_response(heard.nonzero()[:, 0])
        dry, wet = self._dry[:, n_frames - 1, None], self._wet[:, n_frames - 1, None]
        self._tail = self.reverberation.decay * (wet - dry) + self.reverberation.level * dry

    def _update_response(self, frames: torch.Tensor) -> None:
        """Update the response with frames of the window."""
        gamma = majorisation_exponent(self.beta)
        wet = self._wet[:, frames]
        negative, positive = (
            self._G.T @ (wet * term[:, frames]).sum(dim=1) for term in self._terms
        )
        kept = math.exp(-len(frames) / self._memory)
        # A frame alone leads to u · (negative / positive)^gamma.
        self._negative = kept * self._negative + self.u ** (1 / gamma) * negative
        self._positive = kept * self._positive + positive
        self._spectrum = kept * self._spectrum + wet.sum(dim=1)
        self._n_heard = kept * self._n_heard + len(frames)
        prior = self._positive.mean() * _PRIOR / self._n_heard
        if not prior > 0:
            return
        start = self._u0 ** (1 / gamma)
        u = ((self._negative + prior * start) / (self._positive + prior)) ** gamma
        level = (self._G @ u) @ self._spectrum / self._spectrum.sum()
        self.u = u / level
        self._set_response()

    def _set_response(self) -> None:
        self._r = self._G @ self.u
        self._Wr = self._r[:, None] * self._Wf
