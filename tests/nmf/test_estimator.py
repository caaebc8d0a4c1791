from __future__ import annotations

import math
import warnings

import librosa
import numpy as np
import pytest
import sklearn.exceptions
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmnmf import (
    ConvergenceWarning,
    FrequencyAxis,
    HarmnmfError,
    HarmonicNMF,
    ParameterError,
    harmonic_templates,
)
from harmnmf.nmf.solvers.bayesian import BayesianOptions, factorize_bayesian
from harmnmf.nmf.solvers.decibel import DecibelOptions, factorize_decibel
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, factorize_harmonic
from harmnmf.nmf.templates import initial_weights
from harmnmf.signal.spectrogram import LogFrequency

SOLVERS = ["multiplicative", "bayesian", "decibel"]
PITCHES = [52, 55, 59, 62]
AXIS = FrequencyAxis.logarithmic(fmin=150.0, bins_per_octave=24, n_bins=80)
TEMPLATES = harmonic_templates(AXIS, PITCHES, window_durations=20 / AXIS.frequencies, n_templates=3)
WEIGHTS = initial_weights(PITCHES, n_templates=3)
# Number of features in the data of scikit-learn's checks, where it is not 3: X must have the bins
# of the templates.
N_FEATURES = {
    "check_dtype_object": 10,
    "check_estimators_dtypes": 5,
    "check_estimators_fit_returns_self": 2,
    "check_estimators_overwrite_params": 2,
    "check_fit2d_1feature": 1,
    "check_fit2d_1sample": 10,
    "check_fit_check_is_fitted": 2,
    "check_fit_idempotent": 2,
    "check_n_features_in": 2,
    "check_n_features_in_after_fitting": 4,
    "check_readonly_memmap_input": 2,
}


def piece():
    """Each key alone, chords, and a rest, with a little noise: X (n_frames, n_bins) and H."""
    rng = np.random.default_rng(0)
    H = np.zeros((40, 4))
    for n, keys in enumerate([[0], [1], [2], [3], [0, 2], [1, 3], [0, 1, 2], []]):
        H[5 * n : 5 * n + 5, keys] = (
            rng.uniform(0.5, 2, len(keys)) * np.linspace(1, 0.4, 5)[:, None]
        )
    W = np.einsum("fkm,mk->kf", TEMPLATES, WEIGHTS * rng.uniform(0.5, 1.5, WEIGHTS.shape))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    return H @ W + rng.uniform(0, 1e-3, (40, AXIS.n_bins)), H


X, H = piece()


def nmf(solver="multiplicative", **options):
    defaults = {"templates": TEMPLATES, "weights": WEIGHTS, "solver": solver, "device": "cpu"}
    return HarmonicNMF(**{**defaults, **options})


@pytest.mark.filterwarnings("ignore:not converged")
@parametrize_with_checks(
    [
        HarmonicNMF(device="cpu"),
        HarmonicNMF(solver="bayesian", max_iter=1000, tol=1e-6, device="cpu"),
        HarmonicNMF(solver="decibel", device="cpu"),
    ],
)
def test_checks_of_scikit_learn(estimator, check):
    # Two keys, each with a bin of its own; they share the other bins.
    n_bins = N_FEATURES.get(check.func.__name__, 3)
    templates = np.full((n_bins, 2, 1), 0.3)
    templates[:2] = np.eye(2)[:n_bins, :, None]
    check(estimator.set_params(templates=templates))


every_solver = pytest.mark.parametrize("solver", SOLVERS)


@every_solver
def test_notes_are_found_without_warnings(solver):
    model = nmf(solver)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = model.fit_transform(X)
    assert ((estimate > 0.15) == (H > 0)).all()
    np.testing.assert_allclose(estimate[H > 0], H[H > 0], rtol=0.4)
    assert model.components_.shape == (model.n_components_, model.n_features_in_) == (4, 80)
    assert model.weights_.shape == (3, 4)
    period = 10 if solver == "multiplicative" else 1
    assert model.objective_.shape == (math.ceil(model.n_iter_ / period) + 1,)
    assert model.objective_.dtype == np.float64
    assert 0 < model.reconstruction_err_ <= model.objective_[-1] * (1 + 1e-9)
    assert model.get_feature_names_out().tolist() == [f"harmonicnmf{k}" for k in range(4)]


@every_solver
def test_transform_converges_to_the_activations_of_fit(solver):
    model = nmf(solver, max_iter=500, tol=None)
    expected = model.fit_transform(X)
    np.testing.assert_allclose(model.transform(X), expected, atol=0.02)


@every_solver
def test_zero_activations_stay_zero(solver):
    estimate = nmf(solver).fit_transform(X, activations=(H > 0).astype(float))
    assert ((estimate > 0) == (H > 0)).all()


@every_solver
def test_timbres_of_a_key_differ_and_zero_weights_stay_zero(solver):
    weights = WEIGHTS.copy()
    weights[1, 2] = 0
    model = nmf(solver, weights=weights, n_timbres=2, tol=0.0)
    estimate = model.fit_transform(X)
    assert estimate.shape == (40, 8)
    assert ((model.weights_ == 0) == (np.repeat(weights, 2, axis=1) == 0)).all()
    first, second = model.components_[::2], model.components_[1::2]
    assert (np.abs(first - second).max(axis=1) > 1e-3).all()
    # Both belong to the same key, next to each other.
    keys = TEMPLATES.sum(axis=2)
    assert (model.components_ @ keys).argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    found = np.linalg.norm(estimate.reshape(40, 4, 2), axis=2)
    assert ((found > 0.15) == (H > 0)).all()


@every_solver
def test_single_precision_agrees_with_double(solver):
    options = {"max_iter": 30, "tol": None}
    double, single = nmf(solver, **options), nmf(solver, **options)
    expected, estimate = double.fit_transform(X), single.fit_transform(X.astype(np.float32))
    for x, y in (
        (estimate, expected),
        (single.components_, double.components_),
        (single.transform(X.astype(np.float32)), double.transform(X)),
    ):
        assert (x.dtype, y.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(x, y, atol=0.01)
    assert single.transform(X).dtype == np.float64
    assert nmf(solver, **options).fit_transform((100 * X).astype(int)).dtype == np.float32


@every_solver
def test_librosa_decomposes_with_it(solver):
    V = X.T.astype(np.float32)
    model = nmf(solver)
    for fit in (True, False):
        components, activations = librosa.decompose.decompose(V, transformer=model, fit=fit)
        np.testing.assert_array_equal(components, model.components_.T)
        V_hat = model.inverse_transform(activations.T).T
        assert np.linalg.norm(V_hat - V) < 0.1 * np.linalg.norm(V)


@pytest.mark.filterwarnings("ignore:not converged")
@every_solver
def test_silence_and_a_key_above_the_axis_give_finite_values(solver):
    templates = TEMPLATES.copy()
    templates[:, 1] = 0
    model = nmf(solver, templates=templates, max_iter=20)
    for data in (np.zeros_like(X), X):
        estimate = model.fit_transform(data)
        for array in (estimate, model.components_, model.weights_, model.transform(X)):
            assert np.isfinite(array).all()
        assert data.any() or model.inverse_transform(estimate).max() < 0.01


@pytest.mark.cuda
@every_solver
def test_cuda_agrees_with_the_processor(solver):
    options = {"max_iter": 20, "tol": None}
    expected = nmf(solver, **options).fit_transform(X)
    model = nmf(solver, device="cuda", **options)
    np.testing.assert_allclose(model.fit_transform(X), expected, rtol=1e-4, atol=1e-6)
    assert isinstance(model.transform(X), np.ndarray)


@pytest.mark.parametrize("solver", ["multiplicative", "bayesian"])
def test_components_are_zero_where_templates_are(solver):
    model = nmf(solver).fit(X)
    assert ((model.components_ == 0) == (TEMPLATES.sum(axis=2).T == 0)).all()


def test_solvers_get_the_data_and_the_parameters():
    V, P, E = (torch.from_numpy(array) for array in (X.T.copy(), TEMPLATES, WEIGHTS))
    floor = 10**-2.5 * X.max()
    reached = V * (P.sum(dim=(1, 2)) > 0)[:, None]
    options = {"max_iter": 10, "tol": 0.0}

    expected = factorize_harmonic(
        reached, P, E, options=MultiplicativeOptions(beta=1, floor=floor, **options)
    )
    model = nmf(beta=1, **options)
    np.testing.assert_allclose(model.fit_transform(X), expected.H.T)
    np.testing.assert_allclose(model.weights_, expected.E)
    np.testing.assert_allclose(model.objective_, expected.objective)

    prior = {"algorithm": "em", "smoothness": 5.0}
    expected = factorize_bayesian(
        reached**2,
        P**2,
        E**2,
        torch.ones(4, 40, dtype=torch.float64),
        BayesianOptions(floor=floor**2, **prior, **options),
    )
    model = nmf("bayesian", **prior, **options)
    estimate = model.fit_transform(X, activations=np.ones((40, 4)))
    V_hat = (expected.W @ expected.H).sqrt()
    np.testing.assert_allclose(model.inverse_transform(estimate).T, V_hat)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)
    np.testing.assert_allclose(model.objective_, expected.objective)

    level = X.max()
    V, floor = V / level, floor / level
    start = factorize_harmonic(
        V, P, E, options=MultiplicativeOptions(beta=1, floor=floor, max_iter=2)
    )
    expected = factorize_decibel(
        V,
        P,
        start.E[..., None],
        start.H[:, None],
        DecibelOptions(sigma=1.0, optimizer="adam", beta=1, floor=floor, **options),
    )
    model = nmf("decibel", beta=1, sigma=1.0, **options)
    np.testing.assert_allclose(model.fit_transform(X), level * expected.H[:, 0].T, rtol=1e-6)
    np.testing.assert_allclose(model.components_, expected.W[..., 0].T, rtol=1e-6)


def test_data_that_no_model_explains_do_not_delay_convergence():
    assert (TEMPLATES.sum(axis=(1, 2)) == 0).any()
    options = {"beta": 0.0, "tol": 1e-3}
    clean, noisy = nmf(**options), nmf(**options)
    expected = clean.fit_transform(X, activations=H)
    # In bins that no template reaches, and where no key may sound.
    loud = X.copy()
    loud[:, TEMPLATES.sum(axis=(1, 2)) == 0] = 0.5
    loud[H.sum(axis=1) == 0] = 0.5
    np.testing.assert_allclose(noisy.fit_transform(loud, activations=H), expected)
    assert noisy.n_iter_ == clean.n_iter_ > 10
    assert noisy.reconstruction_err_ == pytest.approx(clean.reconstruction_err_)


def test_fit_stops_at_the_tolerance_or_warns():
    model = nmf(tol=1e-3).fit(X)
    fall = -np.diff(model.objective_) / model.objective_[:-1]
    assert fall[-1] <= 1e-3 < fall[:-1].min()
    assert model.n_iter_ == 10 * len(fall) < 200
    with pytest.warns(ConvergenceWarning, match="after 3 iterations; increase max_iter or tol"):
        assert nmf(max_iter=3).fit(X).n_iter_ == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nmf(max_iter=model.n_iter_).fit(X).n_iter_ == model.n_iter_
        assert nmf(max_iter=3, tol=0.0).fit(X).n_iter_ == 3
        silent = nmf(max_iter=3, tol=None).fit(X)
    assert silent.objective_.shape == (0,)
    assert silent.reconstruction_err_ > 0


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e4])
@every_solver
def test_result_scales_with_the_data(solver, scale, beta):
    one, other = (nmf(solver, beta=beta, max_iter=50, tol=0.0) for _ in range(2))
    expected = one.fit_transform(X)
    # Rounding errors of 50 iterations: descent amplifies them.
    np.testing.assert_allclose(
        other.fit_transform(scale * X) / scale, expected, rtol=0.05, atol=0.05 * expected.max()
    )
    np.testing.assert_allclose(other.components_, one.components_, atol=0.05)


@pytest.mark.parametrize("n_frames", [1, 2, 5, 40])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_decibel_fits_no_worse_than_hard_templates(n_frames, beta):
    options = {"beta": beta, "max_iter": 300}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = nmf("decibel", **options)
        estimate = model.fit_transform(X[:n_frames])
    assert bool(caught) == (model.n_iter_ == 300)
    assert model.objective_[-1] == model.objective_.min() < model.objective_[0]
    hard = nmf(**options, tol=0.0)
    errors = [
        np.linalg.norm(X[:n_frames] - H @ m.components_)
        for H, m in ((estimate, model), (hard.fit_transform(X[:n_frames]), hard))
    ]
    assert errors[0] < 1.1 * errors[1]


def test_warnings_and_errors_are_those_of_scikit_learn_too():
    assert issubclass(ConvergenceWarning, sklearn.exceptions.ConvergenceWarning)
    for function in (nmf().transform, nmf().inverse_transform):
        for error in (HarmnmfError, sklearn.exceptions.NotFittedError):
            with pytest.raises(error, match="call fit first"):
                function(X)


def test_default_templates_are_those_of_the_default_front_end():
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000).astype(np.float32)
    V = LogFrequency().transform(tone).values
    model = HarmonicNMF(max_iter=10, tol=None, device="cpu")
    estimate = model.fit_transform(V.T)
    assert model.components_.shape == (88, 390)
    assert estimate[5:-5].argmax(axis=1).tolist() == [69 - 21] * (V.shape[1] - 10)


def test_free_components_are_normalised_too():
    model = nmf("decibel", sigma=np.inf, weights=None, max_iter=10, tol=None).fit(X)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)


def changed(array, value):
    array = array.copy()
    array.flat[7] = value
    return array


@pytest.mark.parametrize(
    ("value", "message"),
    [(-1e-9, "Negative values in data passed to {}"), (math.nan, "{} contains NaN")],
)
def test_invalid_values_are_errors_that_name_the_array(value, message):
    model = nmf(max_iter=1, tol=None).fit(X)
    for name, function in {
        "X": lambda: model.fit(changed(X, value)),
        "activations": lambda: model.fit(X, activations=changed(H, value)),
        "templates": lambda: HarmonicNMF(changed(TEMPLATES, value)).fit(X),
        "weights": lambda: nmf(weights=changed(WEIGHTS, value)).fit(X),
    }.items():
        with pytest.raises(ParameterError, match=message.format(name)):
            function()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "em"}, "solver must be one of multiplicative, bayesian, decibel, not 'em'"),
        ({"solver": "bayesian", "algorithm": "mu"}, "algorithm"),
        ({"solver": "bayesian", "smoothness": -1.0}, "smoothness"),
        ({"solver": "decibel", "sigma": -1.0}, "sigma"),
        ({"n_timbres": 0}, "n_timbres must be an integer of at least 1, not 0"),
        ({"n_timbres": 2, "templates": TEMPLATES[:, :, :1], "weights": None}, "needs more than"),
        ({"max_iter": -1}, "max_iter"),
        ({"weights": WEIGHTS.T}, r"weights must have shape \(3, 4\)"),
        ({"templates": TEMPLATES[0]}, "templates must have shape"),
        ({"templates": None, "weights": None}, r"X has 80 features, .* 390 bins: X must be V\.T"),
        ({"device": "nowhere"}, "device 'nowhere'"),
    ],
)
def test_invalid_parameters_are_errors(options, message):
    with pytest.raises(ParameterError, match=message):
        nmf().set_params(**options).fit(X)


def test_activations_of_another_shape_are_errors():
    with pytest.raises(ParameterError, match=r"activations must have shape \(40, 8\)"):
        nmf(n_timbres=2).fit(X, activations=H)
    with pytest.raises(ParameterError, match=r"X must have shape \(n_frames, 4\)"):
        nmf().fit(X).inverse_transform(H.T)
