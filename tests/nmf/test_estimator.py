from __future__ import annotations

import inspect
import math
import warnings

import librosa
import numpy as np
import pytest
import sklearn.exceptions
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from harmnmf import (
    ConvergenceWarning,
    FrequencyAxis,
    HarmonicNMF,
    NotFittedError,
    ParameterError,
    harmonic_templates,
)
from harmnmf.nmf.solvers.decibel import factorize_decibel
from harmnmf.nmf.solvers.multiplicative import factorize_harmonic
from harmnmf.nmf.templates import initial_weights
from harmnmf.signal.spectrogram import LogFrequency

SOLVERS = ["multiplicative", "bayesian", "decibel"]
PITCHES = [52, 55, 59, 62]
AXIS = FrequencyAxis.logarithmic(fmin=150.0, bins_per_octave=24, n_bins=80)
TEMPLATES = harmonic_templates(AXIS, PITCHES, window_durations=20 / AXIS.frequencies, n_templates=3)
WEIGHTS = initial_weights(PITCHES, n_templates=3)


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
    return HarmonicNMF(
        TEMPLATES, **{"weights": WEIGHTS, "solver": solver, "device": "cpu", **options}
    )


@pytest.mark.parametrize("solver", SOLVERS)
class TestEachSolver:
    def test_finds_the_notes(self, solver):
        estimate = nmf(solver).fit_transform(X)
        assert ((estimate > 0.15) == (H > 0)).all()
        np.testing.assert_allclose(estimate[H > 0], H[H > 0], rtol=0.4)

    def test_is_quiet_and_gives_what_it_says(self, solver):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = nmf(solver)
            estimate = model.fit_transform(X)
        assert estimate.shape == (40, 4)
        assert model.components_.shape == (model.n_components_, model.n_features_in_) == (4, 80)
        assert model.weights_.shape == (3, 4)
        looks = math.ceil(model.n_iter_ / 10) if solver == "multiplicative" else model.n_iter_
        assert model.objective_.shape == (looks + 1,)
        assert model.objective_.dtype == np.float64
        assert model.objective_[-1] < 0.1 * model.objective_[0]
        assert 0 < model.reconstruction_err_ <= model.objective_[-1] * (1 + 1e-9)
        np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)
        assert (model.components_ >= 0).all()
        assert model.get_feature_names_out().tolist() == [f"harmonicnmf{k}" for k in range(4)]

    def test_fit_learns_what_fit_transform_learns(self, solver):
        model, other = nmf(solver), nmf(solver)
        assert model.fit(X) is model
        other.fit_transform(X)
        np.testing.assert_array_equal(model.components_, other.components_)

    def test_transform_comes_to_the_activations_of_fit(self, solver):
        model = nmf(solver, n_iter=1000, tol=None)
        expected = model.fit_transform(X)
        np.testing.assert_allclose(model.transform(X), expected, atol=0.02)

    def test_reconstruction_is_near_the_data(self, solver):
        model = nmf(solver)
        for estimate in (model.fit_transform(X), model.transform(X)):
            back = model.inverse_transform(estimate)
            assert back.dtype == np.float64
            assert np.linalg.norm(back - X) < 0.1 * np.linalg.norm(X)

    def test_blocks_give_the_whole(self, solver):
        model = nmf(solver).fit(X)
        blocks = [model.transform(X[n : n + 7]) for n in range(0, 40, 7)]
        np.testing.assert_allclose(np.concatenate(blocks), model.transform(X), rtol=1e-9)

    def test_what_may_not_sound_stays_zero(self, solver):
        may_sound = (H > 0).astype(float)
        estimate = nmf(solver).fit_transform(X, H=may_sound)
        assert ((estimate > 0) == (H > 0)).all()

    @pytest.mark.parametrize("n_timbres", [1, 3])
    def test_zero_weights_stay_zero(self, solver, n_timbres):
        weights = WEIGHTS.copy()
        weights[1, 2] = 0
        options = {"n_timbres": n_timbres, "n_iter": 30, "tol": None}
        model = nmf(solver, weights=weights, **options).fit(X)
        expected = np.repeat(weights, n_timbres, axis=1) == 0
        assert ((model.weights_ == 0) == expected).all()

    def test_timbres_of_a_key_become_different(self, solver):
        model = nmf(solver, n_timbres=2, tol=0.0)
        estimate = model.fit_transform(X)
        assert estimate.shape == (40, 8)
        first, second = model.components_[::2], model.components_[1::2]
        assert (np.abs(first - second).max(axis=1) > 1e-3).all()
        # Both belong to the same key, next to each other.
        keys = np.einsum("fkm->kf", TEMPLATES)
        assert (model.components_ @ keys.T).argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        found = np.linalg.norm(estimate.reshape(40, 4, 2), axis=2)
        assert ((found > 0.15) == (H > 0)).all()

    def test_single_precision_agrees_with_double(self, solver):
        options = {"n_iter": 30, "tol": None}
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

    def test_librosa_decomposes_with_it(self, solver):
        V = X.T.astype(np.float32)
        model = nmf(solver)
        for fit in (True, False):
            components, activations = librosa.decompose.decompose(V, transformer=model, fit=fit)
            assert (components.shape, activations.shape) == ((80, 4), (4, 40))
            np.testing.assert_array_equal(components, model.components_.T)
            power = 2 if solver == "bayesian" else 1
            V_hat = (components**power @ activations**power) ** (1 / power)
            assert np.linalg.norm(V_hat - V) < 0.1 * np.linalg.norm(V)
        components, _ = librosa.decompose.decompose(V, transformer=model, fit=False, sort=True)
        assert sorted(components.argmax(axis=0)) == components.argmax(axis=0).tolist()

    def test_works_in_a_pipeline(self, solver):
        model = nmf(solver)
        expected = model.fit_transform(X)
        np.testing.assert_array_equal(make_pipeline(clone(model)).fit_transform(X), expected)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_silence_is_finite(self, solver, dtype):
        model = nmf(solver)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimate = model.fit_transform(np.zeros((6, 80), dtype))
        for array in (estimate, model.components_, model.weights_, model.transform(X)):
            assert np.isfinite(array).all()
        assert estimate.max() < 0.01

    def test_read_only_and_reversed_views_are_taken(self, solver):
        view = X[::-1]
        view.flags.writeable = False
        model = nmf(solver, n_iter=5, tol=None)
        np.testing.assert_allclose(
            model.fit_transform(view), model.fit_transform(view.copy()), rtol=1e-9
        )

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_cuda_agrees_with_the_processor(self, solver):
        options = {"n_iter": 20, "tol": None}
        expected = nmf(solver, **options).fit_transform(X)
        model = nmf(solver, device="cuda", **options)
        np.testing.assert_allclose(model.fit_transform(X), expected, rtol=1e-4, atol=1e-6)
        assert isinstance(model.transform(X), np.ndarray)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_key_beyond_the_axis_does_no_harm(solver):
    templates = TEMPLATES.copy()
    templates[:, 1] = 0
    model = HarmonicNMF(templates, solver=solver, device="cpu", n_iter=20, tol=None)
    for array in (model.fit_transform(X), model.components_, model.weights_, model.transform(X)):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("solver", ["multiplicative", "bayesian"])
def test_components_are_zero_where_templates_are(solver):
    model = nmf(solver).fit(X)
    assert ((model.components_ == 0) == (TEMPLATES.sum(axis=2).T == 0)).all()


def test_solvers_get_the_data_as_they_are():
    V, P, E = (torch.from_numpy(array) for array in (X.T.copy(), TEMPLATES, WEIGHTS))
    options = {"n_iter": 10, "tol": 0.0, "floor": 10**-2.5 * X.max()}
    model = nmf(beta=1, n_iter=10, tol=0.0)
    estimate = model.fit_transform(X)
    reached = (P.sum(dim=(1, 2)) > 0)[:, None]
    expected = factorize_harmonic(V * reached, P, E, beta=1, **options)
    np.testing.assert_allclose(estimate, expected.H.T)
    np.testing.assert_allclose(model.weights_, expected.E)
    np.testing.assert_allclose(model.objective_, expected.objective)
    model = nmf("decibel", beta=1, sigma=1.0, n_iter=10, tol=0.0)
    estimate = model.fit_transform(X)
    start = factorize_harmonic(V, P, E, beta=1, **{**options, "n_iter": 2})
    expected = factorize_decibel(
        V, P, start.E[..., None], H=start.H[:, None], beta=1, sigma=1.0, optimizer="adam",
        learning_rate=1.0, **options,
    )  # fmt: skip
    np.testing.assert_allclose(estimate, expected.H[:, 0].T, rtol=1e-6)
    np.testing.assert_allclose(model.components_, expected.W[..., 0].T, rtol=1e-6)


def test_what_nothing_explains_does_not_hide_convergence():
    assert (TEMPLATES.sum(axis=(1, 2)) == 0).any()
    options = {"beta": 0.0, "tol": 1e-3}
    clean, noisy = nmf(**options), nmf(**options)
    expected = clean.fit_transform(X, H=H)
    # In bins that no template reaches, and where no key may sound.
    loud = X.copy()
    loud[:, TEMPLATES.sum(axis=(1, 2)) == 0] = 0.5
    loud[H.sum(axis=1) == 0] = 0.5
    np.testing.assert_allclose(noisy.fit_transform(loud, H=H), expected)
    assert noisy.n_iter_ == clean.n_iter_ > 10
    assert noisy.reconstruction_err_ == pytest.approx(clean.reconstruction_err_)


def test_options_of_the_bayesian_solver():
    def roughness(**options):
        estimate = np.log(nmf("bayesian", n_iter=100, tol=None, **options).fit_transform(X) + 1e-9)
        return np.abs(np.diff(estimate, axis=0)).sum()

    assert roughness(smoothness=20.0) < 0.5 * roughness()
    with pytest.warns(ConvergenceWarning, match="not converged after 20"):
        em = nmf("bayesian", algorithm="em", n_iter=20).fit(X)
    assert em.objective_[-1] > nmf("bayesian", n_iter=20, tol=0.0).fit(X).objective_[-1]


def test_sigma_lets_components_deviate():
    def deviation(sigma):
        model = nmf("decibel", sigma=sigma, tol=0.0).fit(X)
        harmonic = np.einsum("fkm,mk->kf", TEMPLATES, model.weights_)
        return np.abs(model.components_ - harmonic).max()

    assert deviation(0.0) < 1e-4
    assert deviation(10.0) > 1e-3


def test_iterations_stop_at_the_tolerance_or_warn():
    model = nmf(tol=1e-3).fit(X)
    fall = -np.diff(model.objective_) / model.objective_[:-1]
    assert fall[-1] <= 1e-3 < fall[:-1].min()
    assert model.n_iter_ == 10 * len(fall) < 200
    with pytest.warns(ConvergenceWarning, match="after 3 iterations; increase n_iter or tol"):
        assert nmf(n_iter=3).fit(X).n_iter_ == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nmf(n_iter=3, tol=0.0).fit(X).n_iter_ == 3
        silent = nmf(n_iter=3, tol=None).fit(X)
    assert silent.n_iter_ == 3
    assert silent.objective_.shape == (0,)
    assert silent.reconstruction_err_ > 0


def test_default_templates_are_those_of_the_default_front_end():
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000).astype(np.float32)
    V = LogFrequency().transform(tone).values
    model = HarmonicNMF(n_iter=20, tol=None, device="cpu")
    estimate = model.fit_transform(V.T)
    assert model.components_.shape == (88, 390)
    assert estimate[5:-5].argmax(axis=1).tolist() == [69 - 21] * (V.shape[1] - 10)
    assert estimate.dtype == np.float32


def test_weights_start_at_ones_with_templates():
    np.testing.assert_array_equal(
        nmf(weights=None).fit(X).components_, nmf(weights=np.ones((3, 4))).fit(X).components_
    )


def test_parameters_are_kept_as_given_and_cloned():
    options = {
        "weights": WEIGHTS, "solver": "decibel", "n_timbres": 2, "beta": 1.0, "algorithm": "em",
        "smoothness": 2.0, "sigma": 1.0, "n_iter": 7, "tol": None, "device": "cpu",
    }  # fmt: skip
    model = HarmonicNMF(TEMPLATES, **options)
    assert set(inspect.signature(HarmonicNMF).parameters) == set(model.get_params())
    for name, value in {"templates": TEMPLATES, **options}.items():
        assert getattr(model, name) is model.get_params()[name] is value
    copy = clone(model.fit(X))
    assert not hasattr(copy, "components_")
    for name, value in model.get_params().items():
        np.testing.assert_array_equal(copy.get_params()[name], value)
    np.testing.assert_array_equal(copy.fit(X).components_, model.components_)
    assert model.set_params(solver="bayesian").solver == "bayesian"


@pytest.mark.parametrize(
    "check",
    [
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
    ],
)
def test_manners_of_scikit_learn(check):
    # Other checks need an estimator for data of any width.
    if not hasattr(estimator_checks, check):
        pytest.skip("not in this scikit-learn")
    getattr(estimator_checks, check)("HarmonicNMF", HarmonicNMF())


def test_before_fit_there_are_no_components():
    for function in (nmf().transform, nmf().inverse_transform):
        for error in (NotFittedError, sklearn.exceptions.NotFittedError):
            with pytest.raises(error, match="call fit first"):
                function(X)


def changed(array, value):
    array = array.copy()
    array.flat[7] = value
    return array


@pytest.mark.parametrize(
    ("value", "message"),
    [(-1e-9, "holds negative"), (math.nan, "holds NaN"), (math.inf, "holds NaN or infinite")],
)
def test_values_without_meaning_are_refused_by_name(value, message):
    model = nmf(n_iter=1, tol=None).fit(X)
    for function in (model.fit, model.transform):
        with pytest.raises(ParameterError, match=f"^X {message}"):
            function(changed(X, value))
    with pytest.raises(ParameterError, match=f"^H {message}"):
        model.fit(X, H=changed(H, value))
    with pytest.raises(ParameterError, match=f"^templates {message}"):
        HarmonicNMF(changed(TEMPLATES, value)).fit(X)
    with pytest.raises(ParameterError, match=f"^weights {message}"):
        nmf(weights=changed(WEIGHTS, value)).fit(X)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X.T, r"X has 40 features, but HarmonicNMF is expecting 80 .* V\.T"),
        (X[0], "X must have two dimensions"),
        (X[:0], "X is empty"),
        (X.astype(complex), r"X is complex; .* np\.abs"),
    ],
)
def test_data_of_another_kind_are_refused(data, message):
    model = nmf(n_iter=1, tol=None).fit(X)
    for function in (model.fit, model.transform):
        with pytest.raises(ParameterError, match=message) as caught:
            function(data)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "em"}, "solver must be one of multiplicative, bayesian, decibel, not 'em'"),
        ({"solver": "bayesian", "algorithm": "mu"}, "algorithm"),
        ({"solver": "bayesian", "smoothness": -1.0}, "smoothness"),
        ({"solver": "decibel", "sigma": -1.0}, "sigma"),
        ({"n_timbres": 0}, "n_timbres must be a positive integer, not 0"),
        ({"n_timbres": 1.5}, "n_timbres"),
        ({"n_iter": -1}, "n_iter"),
        ({"weights": WEIGHTS.T}, r"weights must have shape \(3, 4\)"),
        ({"templates": TEMPLATES[0]}, "templates must have shape"),
        ({"templates": None, "weights": None}, "expecting 390 features"),
        ({"device": "nowhere"}, "device 'nowhere'"),
    ],
)
def test_parameters_outside_their_domain_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        nmf().set_params(**options).fit(X)


def test_activations_of_another_shape_are_refused():
    with pytest.raises(ParameterError, match=r"H must have shape \(40, 8\)"):
        nmf(n_timbres=2).fit(X, H=H)
    with pytest.raises(ParameterError, match=r"H must have shape \(n_frames, 4\)"):
        nmf().fit(X).inverse_transform(H.T)


def test_free_components_are_normalised_too():
    model = nmf("decibel", sigma=np.inf, n_iter=10, tol=None).fit(X)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)


def test_timbres_that_could_not_separate_are_refused():
    with pytest.raises(ParameterError, match="n_timbres above 1 needs more than one template"):
        HarmonicNMF(TEMPLATES[:, :, :1], n_timbres=2, device="cpu").fit(X)


def test_a_tolerance_met_in_the_last_iteration_is_met():
    n_iter = nmf(tol=1e-3).fit(X).n_iter_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nmf(tol=1e-3, n_iter=n_iter).fit(X).n_iter_ == n_iter
