"""The estimator over the solvers, with the manners of scikit-learn.

A solver is chosen by its name, and whatever it is, data, dictionary and activations are
magnitudes, so that solvers are compared by changing one word.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn import exceptions
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from harmnmf.device import resolve_device
from harmnmf.errors import ConvergenceWarning, NotFittedError, ParameterError
from harmnmf.nmf.solvers.bayesian import factorize_bayesian
from harmnmf.nmf.solvers.decibel import factorize_decibel
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.loop import PERIOD, check_nonnegative
from harmnmf.nmf.solvers.multiplicative import estimate_activations, factorize_harmonic
from harmnmf.signal.spectrogram import LogFrequency

from .templates import harmonic_templates, initial_weights

__all__ = ["HarmonicNMF"]

_SOLVERS = ("multiplicative", "bayesian", "decibel")
# On piano recordings steps of 1 dB from where two multiplicative updates lead came as low in 110
# iterations as any steps from the beginning in 200, and lower than L-BFGS. Nearer to the minimum
# such steps climb at first, which is taken for convergence.
_DECIBEL_START = 2
_DECIBEL_STEP = 1.0
# The floor, relative to the largest magnitude: -50 dB. On piano recordings keys were told from
# silence better with it than with rounding errors for a floor, most of all by "bayesian", for
# which noise between partials is as surprising as a note.
_FLOOR = 10 ** (-50 / 20)
# The last template of a key's last timbre starts this much above that of its first, 20 dB.
_BRIGHTEST = 10.0

_Array = NDArray[np.floating]


class HarmonicNMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Harmonic factorisation of spectrograms, as an estimator of scikit-learn.

    Every component is the spectrum of a key: a weighted sum of narrow-band harmonic templates,
    or near one. `fit` learns weights and activations, `transform` estimates the activations of
    other recordings with the components as they are.

    As in scikit-learn a row is a sample, and here a sample is a frame: `X` is the transposed
    view ``V.T`` of a spectrogram of shape (n_bins, n_frames), and so are all other arrays. It is
    what ``librosa.decompose.decompose(V, transformer=HarmonicNMF(templates))`` passes.

    Parameters
    ----------
    templates : ndarray, shape (n_bins, n_pitches, n_templates), optional
        Narrow-band harmonic templates, as :func:`harmnmf.harmonic_templates` makes them for a
        front end. Default: those of a piano's 88 keys for
        :class:`harmnmf.signal.spectrogram.LogFrequency`.
    weights : ndarray, shape (n_templates, n_pitches), optional
        Start of the weights, for instance :func:`harmnmf.nmf.templates.initial_weights`, which is
        the default with the default templates; with others, ones. What is zero stays zero.
    solver : {"multiplicative", "bayesian", "decibel"}, default="multiplicative"
        How to fit: :func:`~harmnmf.nmf.solvers.multiplicative.factorize_harmonic`,
        :func:`~harmnmf.nmf.solvers.bayesian.factorize_bayesian` or
        :func:`~harmnmf.nmf.solvers.decibel.factorize_decibel`. "bayesian" models powers: it gets
        the squares of `X`, `templates`, `weights` and `H`, and the square roots of its results
        are kept, so that ``X**2 ≈ H**2 @ components_**2``; with the others,
        ``X ≈ H @ components_``.
    n_timbres : int, default=1
        Number of components of each pitch. Each starts brighter than the one before it: more than
        one need more than one template.
    beta : float, default=0.5
        The beta-divergence: 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito. Not used by
        "bayesian", which is Itakura-Saito between powers.
    algorithm : {"multiplicative", "em", "sage"}, default="multiplicative"
        Used only by "bayesian". EM needs many times more iterations.
    smoothness : float, default=0.0
        How much activations are tied together in time. Used only by "bayesian", and by its
        `fit` only: `transform` takes every frame by itself.
    sigma : float, default=3.0
        Standard deviation of the components about the harmonic templates, in decibels that are
        10 log₁₀ of magnitudes, half the usual ones. Used only by "decibel", whose components may
        thus deviate from the templates, and are nowhere zero.
    n_iter : int, default=200
        Largest number of iterations of `fit`, and the number of those of `transform`.
    tol : float or None, default=1e-3
        `fit` stops when the objective falls by no more than this fraction in ten iterations;
        0 never stops, and None records no objectives.
    device : str, default="auto"
        Where to compute: a PyTorch device, or "auto" for a GPU if there is one.

    Attributes
    ----------
    components_ : ndarray, shape (n_components, n_bins)
        Spectra of unit Euclidean norm. Component ``k * n_timbres + j`` is timbre j of pitch k.
    weights_ : ndarray, shape (n_templates, n_components)
        Weights of the templates in the components.
    n_components_ : int
        n_pitches times n_timbres.
    n_features_in_ : int
        n_bins.
    n_iter_ : int
        Number of iterations that were made.
    objective_ : ndarray, float64, shape (n_objectives,)
        The objective before the first iteration and after each, with "multiplicative" after every
        ten and the last; empty if `tol` is None.
    reconstruction_err_ : float
        Divergence of the model from the data, powers with "bayesian". Data where every template
        that may sound is zero count neither here nor in the objective, but with "decibel":
        nothing could explain them, and with β < 1 they would drown the rest.

    Notes
    -----
    A constant 50 dB below the largest magnitude that `fit` sees is added to data and model, in
    `transform` too: what is weaker counts little.

    Warns
    -----
    ConvergenceWarning
        If `fit` reaches `n_iter` before `tol` is met.

    Examples
    --------
    >>> from harmnmf import FrequencyAxis, harmonic_templates
    >>> axis = FrequencyAxis.logarithmic(fmin=220.0, bins_per_octave=36, n_bins=144)
    >>> templates = harmonic_templates(axis, [60, 64, 67], window_durations=0.1)
    >>> chord = templates[:, [0, 2]].sum(axis=(1, 2))  # C and G
    >>> X = np.tile(chord + 0.001, (5, 1))  # five frames, with a little noise
    >>> for solver in ("multiplicative", "bayesian", "decibel"):
    ...     H = HarmonicNMF(templates, solver=solver).fit_transform(X)
    ...     print(H.shape, (H > 0.1 * H.max()).all(axis=0))
    (5, 3) [ True False  True]
    (5, 3) [ True False  True]
    (5, 3) [ True False  True]
    """

    components_: _Array
    weights_: _Array
    n_components_: int
    n_features_in_: int
    n_iter_: int
    objective_: NDArray[np.float64]
    reconstruction_err_: float

    def __init__(
        self,
        templates: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        solver: str = "multiplicative",
        n_timbres: int = 1,
        beta: float = 0.5,
        algorithm: str = "multiplicative",
        smoothness: float = 0.0,
        sigma: float = 3.0,
        n_iter: int = 200,
        tol: float | None = 1e-3,
        device: str = "auto",
    ) -> None:
        self.templates = templates
        self.weights = weights
        self.solver = solver
        self.n_timbres = n_timbres
        self.beta = beta
        self.algorithm = algorithm
        self.smoothness = smoothness
        self.sigma = sigma
        self.n_iter = n_iter
        self.tol = tol
        self.device = device

    def fit(self, X: ArrayLike, y: object = None, *, H: ArrayLike | None = None) -> HarmonicNMF:
        """Learn the components of a recording.

        Parameters
        ----------
        X, y, H
            As in :meth:`fit_transform`.

        Returns
        -------
        HarmonicNMF
            Itself.

        Raises
        ------
        ParameterError
            As in :meth:`fit_transform`.
        """
        self.fit_transform(X, H=H)
        return self

    def fit_transform(
        self, X: ArrayLike, y: object = None, *, H: ArrayLike | None = None
    ) -> _Array:
        """Learn the components of a recording together with its activations.

        Parameters
        ----------
        X : array_like, shape (n_frames, n_bins)
            Magnitudes, not negative. Computed in float64 if given so, otherwise in float32.
        y : object
            Ignored.
        H : array_like, shape (n_frames, n_components), optional
            Start of the activations, by default the same in all components. What is zero stays
            zero: the piano roll of a score says which keys may sound, and when.

        Returns
        -------
        ndarray, shape (n_frames, n_components)
            Activations.

        Raises
        ------
        ParameterError
            If `X`, `H`, `templates` or `weights` is empty, holds negative or non-finite values,
            or does not fit the others, or an option is outside its domain.
        """
        if self.solver not in _SOLVERS:
            raise ParameterError(
                f"solver must be one of {', '.join(_SOLVERS)}, not {self.solver!r}"
            )
        V = self._tensor("X", X) ** self._power
        n_bins, n_frames = V.shape
        P, E = (self._like(V, array) ** self._power for array in self._templates(n_bins))
        if H is None:
            H0 = torch.ones_like(V[:1]).expand(E.shape[1], n_frames)
        else:
            H0 = self._tensor("H", H).to(V.dtype) ** self._power
            if H0.shape != (E.shape[1], n_frames):
                raise ParameterError(
                    f"H must have shape {(n_frames, E.shape[1])}, (n_frames, n_components), "
                    f"not {tuple(H0.mT.shape)}"
                )
        self._floor = _FLOOR**self._power * (float(V.max()) or 1.0)
        if self.solver != "decibel":
            V = V * (torch.einsum("fkm,mk->fk", P, E) @ H0 > 0)
        W, E, H1, objective = self._solve(V, P, E, None if H is None else H0)

        self.components_ = _array(W.mT, self._power)
        self.weights_ = _array(E, self._power)
        self.n_components_, self.n_features_in_ = self.components_.shape
        self.objective_ = _array(objective)
        every, period = (PERIOD, 1) if self.solver == "multiplicative" else (1, PERIOD)
        self.n_iter_ = self.n_iter
        if self.tol is not None:
            self.n_iter_ = min(self.n_iter, every * (len(objective) - 1))
        V, V_hat = V + self._floor, W @ H1 + self._floor
        self.reconstruction_err_ = float(beta_divergence(V, V_hat, self._beta))
        last = self.objective_[-1 - period :]
        if self.tol and not (len(last) > period and last[0] - last[-1] <= self.tol * abs(last[0])):
            warnings.warn(
                f"not converged after {self.n_iter} iterations; increase n_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        return _array(H1.mT, self._power)

    def transform(self, X: ArrayLike) -> _Array:
        """Estimate the activations of the components in a recording.

        Frames do not depend on each other, and all take `n_iter` iterations, so that a recording
        may come in blocks.

        Parameters
        ----------
        X : array_like, shape (n_frames, n_bins)
            Magnitudes, not negative, made by the same front end as those of `fit`.

        Returns
        -------
        ndarray, shape (n_frames, n_components)
            Activations.

        Raises
        ------
        NotFittedError
            If there are no components yet.
        ParameterError
            If `X` is empty, holds negative or non-finite values, or has other bins.
        """
        self._check_fitted()
        V = self._tensor("X", X)
        if len(V) != self.n_features_in_:
            raise ParameterError(_wrong_bins(len(V), self.n_features_in_))
        W = self._like(V, self.components_.T)
        H, _ = estimate_activations(
            V**self._power,
            W**self._power,
            beta=self._beta,
            floor=self._floor,
            n_iter=self.n_iter,
            tol=None,
        )
        return _array(H.mT, self._power)

    def inverse_transform(self, H: ArrayLike) -> _Array:
        """Compute the magnitudes that activations stand for.

        Parameters
        ----------
        H : array_like, shape (n_frames, n_components)
            Activations.

        Returns
        -------
        ndarray, shape (n_frames, n_bins)
            ``H @ components_``; with "bayesian", the root of ``H**2 @ components_**2``.

        Raises
        ------
        NotFittedError
            If there are no components yet.
        ParameterError
            If `H` has another number of components.
        """
        self._check_fitted()
        H = np.asarray(H)
        if H.ndim != 2 or H.shape[1] != self.n_components_:
            raise ParameterError(
                f"H must have shape (n_frames, {self.n_components_}), not {H.shape}"
            )
        X: _Array = (H**self._power @ self.components_**self._power) ** (1 / self._power)
        return X

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    @property
    def _power(self) -> int:
        return 2 if self.solver == "bayesian" else 1

    @property
    def _beta(self) -> float:
        return 0 if self.solver == "bayesian" else self.beta

    def _solve(
        self,
        V: torch.Tensor,
        P: torch.Tensor,
        E: torch.Tensor,
        H: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Call the solver; give W (n_bins, n_components), E, H and the objective."""
        if self.solver == "decibel":
            E, H, _ = factorize_harmonic(
                V, P, E, H=H, beta=self.beta, floor=self._floor, n_iter=_DECIBEL_START, tol=None
            )
            W, E, H, objective, _ = factorize_decibel(
                V,
                P,
                E[..., None],
                H=H[:, None],
                sigma=self.sigma,
                beta=self.beta,
                floor=self._floor,
                optimizer="adam",
                learning_rate=_DECIBEL_STEP,
                n_iter=self.n_iter,
                tol=self.tol,
            )
            return W[..., 0], E[..., 0], H[:, 0], objective
        if self.solver == "bayesian":
            E, H, objective = factorize_bayesian(
                V,
                P,
                E,
                H=H,
                algorithm=self.algorithm,
                smoothness=self.smoothness,
                floor=self._floor,
                n_iter=self.n_iter,
                tol=self.tol,
            )
        else:
            E, H, objective = factorize_harmonic(
                V, P, E, H=H, beta=self.beta, floor=self._floor, n_iter=self.n_iter, tol=self.tol
            )
        W = torch.einsum("fkm,mk->fk", P, E)
        if self.solver == "bayesian":
            # From unit norm of the powers to unit norm of the magnitudes.
            total = W.sum(dim=0)
            scale = torch.where(total > 0, total, 1.0)
            W, E, H = W / scale, E / scale, H * scale[:, None]
        return W, E, H, objective

    def _templates(self, n_bins: int) -> tuple[_Array, _Array]:
        """Templates (n_bins, n_components, n_templates), weights (n_templates, n_components)."""
        if self.templates is None:
            front_end = LogFrequency()
            P = harmonic_templates(front_end.axis, window_durations=front_end.window_durations)
            E = initial_weights() if self.weights is None else np.asarray(self.weights)
        else:
            P = np.asarray(self.templates)
            if P.ndim != 3:
                raise ParameterError(
                    "templates must have shape (n_bins, n_pitches, n_templates), as "
                    f"harmonic_templates makes them, not {P.shape}"
                )
            E = np.ones(P.shape[:0:-1]) if self.weights is None else np.asarray(self.weights)
        if len(P) != n_bins:
            raise ParameterError(_wrong_bins(n_bins, len(P)))
        if E.shape != P.shape[:0:-1]:
            raise ParameterError(
                f"weights must have shape {P.shape[:0:-1]}, (n_templates, n_pitches), not {E.shape}"
            )
        for name, array in (("templates", P), ("weights", E)):
            check_nonnegative(**{name: torch.from_numpy(np.array(array, dtype=np.float64))})
        n = self.n_timbres
        if not isinstance(n, int | np.integer) or n < 1:
            raise ParameterError(f"n_timbres must be a positive integer, not {n!r}")
        # Timbres that start equal would stay equal.
        if n > 1 and len(E) == 1:
            raise ParameterError("n_timbres above 1 needs more than one template for each pitch")
        tilt = _BRIGHTEST ** np.outer(np.linspace(0, 1, len(E)), np.linspace(0, 1, n))
        E = (E[:, :, None] * tilt[:, None]).reshape(len(E), -1)
        return np.repeat(P, n, axis=1), E

    def _tensor(self, name: str, X: ArrayLike) -> torch.Tensor:
        """Put data on the device, frames last, and refuse what no magnitudes can be."""
        array = np.asarray(X)
        if array.ndim != 2:
            raise ParameterError(f"{name} must have two dimensions, but has shape {array.shape}")
        if np.iscomplexobj(array):
            raise ParameterError(f"{name} is complex; give its magnitudes, np.abs({name})")
        dtype = np.float64 if array.dtype == np.float64 else np.float32
        # PyTorch takes no read-only or reversed views; this copies nothing else.
        V = torch.from_numpy(np.require(array.T, dtype, ["C", "W"]))
        # Here errors name what the caller gave: the solvers know it as V.
        check_nonnegative(**{name: V})
        return V.to(resolve_device(self.device))

    def _like(self, V: torch.Tensor, array: _Array) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=V.dtype, device=V.device)

    def _check_fitted(self) -> None:
        if not hasattr(self, "components_"):
            raise _NotFitted("this HarmonicNMF has no components yet; call fit first")


class _NotFitted(NotFittedError, exceptions.NotFittedError):
    """Caught as harmnmf's and as scikit-learn's."""


def _wrong_bins(n_bins: int, expected: int) -> str:
    return (
        f"X has {n_bins} features, but HarmonicNMF is expecting {expected} features as input: "
        "X is (n_frames, n_bins), V.T, and its bins are those of the templates"
    )


def _array(X: torch.Tensor, power: int = 1) -> NDArray:
    """Give the root of a tensor as an array of its own."""
    return (X if power == 1 else X.sqrt()).numpy(force=True).copy()
