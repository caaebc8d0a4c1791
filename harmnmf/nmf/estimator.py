"""Scikit-learn estimator for harmonic NMF, with a choice of solvers.

Data, components and activations are magnitudes for every solver, so that solvers are compared by
changing one parameter.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn import exceptions
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from harmnmf.device import resolve_device
from harmnmf.errors import HarmnmfError, ParameterError
from harmnmf.nmf.solvers.bayesian import BayesianOptions
from harmnmf.nmf.solvers.decibel import DecibelOptions
from harmnmf.nmf.solvers.divergence import beta_divergence
from harmnmf.nmf.solvers.multiplicative import (
    MultiplicativeOptions,
    estimate_activations,
)
from harmnmf.validation import check_choice, check_integer

from .estimator_input import MAGNITUDES, check_magnitudes, initial_factors, parameter_errors
from .solver_table import SOLVERS, Solver

__all__ = ["ConvergenceWarning", "HarmonicNMF", "NotFittedError"]

# -50 dB relative to the largest magnitude. On piano recordings this floor separates notes from
# silence better than one at the machine precision, above all with "bayesian": the Itakura-Saito
# divergence does not depend on scale, so that noise between partials weighs as much as notes.
_FLOOR = 10 ** (-50 / 20)

_Array = NDArray[np.floating]


class ConvergenceWarning(exceptions.ConvergenceWarning):
    """The maximum number of iterations was reached before convergence."""


class NotFittedError(HarmnmfError, exceptions.NotFittedError):
    """An estimator was used before it was fitted."""


class HarmonicNMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Harmonic non-negative matrix factorisation of spectrograms.

    Every component is the spectrum of a key: a weighted sum of narrow-band harmonic templates, or
    close to one. `fit` learns weights and activations; `transform` estimates the activations of
    other recordings with the components fixed.

    As in scikit-learn a row is a sample, here a frame: `X` is the transpose ``V.T`` of a
    spectrogram of shape (n_bins, n_frames), which is also what
    ``librosa.decompose.decompose(V, transformer=HarmonicNMF(templates))`` passes.

    Parameters
    ----------
    templates : ndarray, shape (n_bins, n_pitches, n_templates), optional
        Narrow-band harmonic templates, with the bins of `X`. Default: :func:`harmonic_templates`
        of a piano's 88 keys for :class:`harmnmf.signal.spectrogram.LogFrequency`.
    weights : ndarray, shape (n_templates, n_pitches), optional
        Initial weights. Default: :func:`harmnmf.nmf.templates.initial_weights` with the default
        templates, otherwise ones. Zeros stay zero.
    solver : {"multiplicative", "bayesian", "decibel"}, default="multiplicative"
        Algorithm, from :mod:`harmnmf.nmf.solvers`: beta-divergence with hard templates [1]_,
        Itakura-Saito divergence with a smoothness prior [2]_, or soft templates, a prior in
        decibels [3]_. ``X ≈ H @ components_``, but "bayesian" factorises squares and returns
        square roots: ``X**2 ≈ H**2 @ components_**2``.
    n_timbres : int, default=1
        Number of components of each pitch, each of which starts brighter than the one before.
    beta : float, default=0.5
        The beta-divergence: 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito. Ignored by
        "bayesian", which is Itakura-Saito between powers.
    algorithm : {"multiplicative", "em", "sage"}, default="multiplicative"
        Algorithm of "bayesian". EM needs many times more iterations.
    smoothness : float, default=0.0
        Strength of the prior that smooths activations in time. Used only by "bayesian", and only
        in `fit`: `transform` treats frames independently.
    sigma : float, default=3.0
        Standard deviation of the components from the harmonic templates, in dB (10 log₁₀ of
        magnitudes). Used only by "decibel", whose components are nowhere zero. It weighs against
        the divergence of data scaled to a largest magnitude of 1.
    max_iter : int, default=200
        Maximum number of iterations of `fit`, and number of iterations of `transform`.
    tol : float or None, default=1e-3
        `fit` stops when the objective falls by no more than this fraction in ten iterations.
        0: never stop. None: never stop, and compute no objectives.
    device : str, default="auto"
        PyTorch device, or "auto" for a GPU if there is one.

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
    feature_names_in_ : ndarray, shape (n_bins,)
        Column names of `X`, if it has any.
    n_iter_ : int
        Number of iterations done.
    objective_ : ndarray, float64, shape (n_objectives,)
        Objective before the first iteration and after each, with "multiplicative" after every ten
        and the last; empty if `tol` is None.
    reconstruction_err_ : float
        Divergence of the model from the data (of powers with "bayesian").
    floor_ : float
        Constant added to data and model, 50 dB below the largest magnitude in `fit` (of powers
        with "bayesian").

    Warns
    -----
    ConvergenceWarning
        If `fit` reaches `max_iter` before `tol` is met. It is a subclass of scikit-learn's.

    Notes
    -----
    Except with "decibel", bins of a frame in which all allowed components are zero count neither in
    the objective nor in the error: no model explains them, and for β < 1 they would dominate.

    References
    ----------
    .. [1] E. Vincent, N. Bertin and R. Badeau, "Adaptive harmonic spectral decomposition for
       multiple pitch estimation", IEEE TASLP 18(3), 2010, pp. 528-537.
    .. [2] N. Bertin, R. Badeau and E. Vincent, "Enforcing harmonicity and smoothness in Bayesian
       non-negative matrix factorization applied to polyphonic music transcription", IEEE TASLP
       18(3), 2010, pp. 538-549.
    .. [3] T. Lu, "Harmonic Constraint in Music Spectrogram Reconstruction", 2021.

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
        max_iter: int = 200,
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
        self.max_iter = max_iter
        self.tol = tol
        self.device = device

    def fit(
        self, X: ArrayLike, y: object = None, *, activations: ArrayLike | None = None
    ) -> HarmonicNMF:
        """Learn the components of a recording.

        Parameters
        ----------
        X, y, activations
            As in :meth:`fit_transform`.

        Returns
        -------
        HarmonicNMF
            The estimator itself.
        """
        self.fit_transform(X, activations=activations)
        return self

    def fit_transform(
        self, X: ArrayLike, y: object = None, *, activations: ArrayLike | None = None
    ) -> _Array:
        """Learn the components of a recording together with its activations.

        Parameters
        ----------
        X : array_like, shape (n_frames, n_bins)
            Magnitudes, not negative. Computed in float64 if given so, otherwise in float32.
        y : object
            Ignored.
        activations : array_like, shape (n_frames, n_components), optional
            Initial activations, by default equal for all components. Zeros stay zero, so that the
            piano roll of a score can restrict which keys sound in which frames.

        Returns
        -------
        ndarray, shape (n_frames, n_components)
            Activations.

        Raises
        ------
        ParameterError
            If an array is empty, holds negative or non-finite values, or does not fit the others,
            or a parameter is outside its domain.
        """
        self._check_parameters()
        solver = self._solver
        X = self._validate(X, reset=True)
        templates, weights = initial_factors(
            self.templates, self.weights, self.n_timbres, X.shape[1]
        )
        shape = len(X), weights.shape[1]
        start = (
            np.ones(shape) if activations is None else check_magnitudes("activations", activations)
        )
        if start.shape != shape:
            raise ParameterError(
                f"activations must have shape {shape}, (n_frames, n_components), not {start.shape}"
            )
        V, P, E, H = self._tensors(X.dtype, X.T, templates, weights, start.T)
        self.floor_ = _FLOOR**solver.power * (float(V.max()) or 1.0)
        if solver.ignores_unexplained:
            V = V * (torch.einsum("fkm,mk->fk", P, E) @ H > 0)
        result = solver.solve(self, V, P, E, None if activations is None else H)

        self.components_ = self._array(result.W.mT)
        self.weights_ = self._array(result.E)
        self.n_components_ = len(self.components_)
        self.objective_ = result.objective.numpy(force=True)
        self.n_iter_ = result.n_iter
        V_hat = result.W @ result.H + self.floor_
        self.reconstruction_err_ = float(beta_divergence(V + self.floor_, V_hat, self._beta))
        if self.tol and not result.converged:
            warnings.warn(
                f"not converged after {self.max_iter} iterations; increase max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self._array(result.H.mT)

    def transform(self, X: ArrayLike) -> _Array:
        """Estimate the activations of the components in a recording.

        Frames are independent of each other and all take `max_iter` iterations, so that a
        recording may be passed in blocks.

        Parameters
        ----------
        X : array_like, shape (n_frames, n_bins)
            Magnitudes, not negative, made by the same front end as in `fit`.

        Returns
        -------
        ndarray, shape (n_frames, n_components)
            Activations.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ParameterError
            If `X` is invalid or has other bins.
        """
        self._check_fitted()
        X = self._validate(X, reset=False)
        V, W = self._tensors(X.dtype, X.T, self.components_.T)
        options = MultiplicativeOptions(
            beta=self._beta, floor=self.floor_, max_iter=self.max_iter, tol=None
        )
        return self._array(estimate_activations(V, W, options=options).H.mT)

    def inverse_transform(self, X: ArrayLike) -> _Array:
        """Compute the magnitudes that the model gives for activations.

        Parameters
        ----------
        X : array_like, shape (n_frames, n_components)
            Activations.

        Returns
        -------
        ndarray, shape (n_frames, n_bins)
            ``X @ components_``; with "bayesian", the square root of ``X**2 @ components_**2``.

        Raises
        ------
        NotFittedError, ParameterError
            As in :meth:`transform`.
        """
        self._check_fitted()
        H = check_magnitudes("X", X)
        if H.shape[1] != self.n_components_:
            raise ParameterError(
                f"X must have shape (n_frames, {self.n_components_}), not {H.shape}"
            )
        power = self._solver.power
        V: _Array = (H**power @ self.components_**power) ** (1 / power)
        return V

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def _check_parameters(self) -> None:
        """Check all parameters, whichever of them the solver uses."""
        check_choice("solver", self.solver, SOLVERS)
        check_integer("n_timbres", self.n_timbres)
        MultiplicativeOptions(beta=self.beta, max_iter=self.max_iter, tol=self.tol)
        BayesianOptions(algorithm=self.algorithm, smoothness=self.smoothness)
        DecibelOptions(sigma=self.sigma)

    @property
    def _solver(self) -> Solver:
        return SOLVERS[self.solver]

    @property
    def _beta(self) -> float:
        beta = self._solver.beta
        return self.beta if beta is None else beta

    def _validate(self, X: ArrayLike, *, reset: bool) -> _Array:
        with parameter_errors():
            valid: _Array = validate_data(self, X, reset=reset, **MAGNITUDES)
        return valid

    def _check_fitted(self) -> None:
        self._check_parameters()
        if not hasattr(self, "components_"):
            raise NotFittedError("this HarmonicNMF is not fitted yet; call fit first")

    def _tensors(self, dtype: np.dtype, *arrays: _Array) -> list[torch.Tensor]:
        """Move magnitudes to the device, raised to the power that the solver factorises."""
        device = resolve_device(self.device)
        # PyTorch takes no read-only or reversed views; require copies nothing else.
        contiguous = (np.require(array, dtype, ["C", "W"]) for array in arrays)
        return [torch.from_numpy(array).to(device) ** self._solver.power for array in contiguous]

    def _array(self, X: torch.Tensor) -> _Array:
        """Convert a result of the solver to an array of magnitudes."""
        array: _Array = (X if self._solver.power == 1 else X.sqrt()).numpy(force=True).copy()
        return array
