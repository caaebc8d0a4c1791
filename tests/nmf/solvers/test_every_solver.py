"""Properties that the solvers share."""

from __future__ import annotations

import math
from functools import partial
from itertools import product

import pytest
import torch
from factorizations import assert_never_rises, sparse, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.nmf.solvers.bayesian import BayesianOptions, factorize_bayesian
from harmnmf.nmf.solvers.convolutive import estimate_note_activations, raised_cosine_bands
from harmnmf.nmf.solvers.decibel import DecibelOptions, factorize_decibel
from harmnmf.nmf.solvers.multiplicative import (
    MultiplicativeOptions,
    estimate_activations,
    factorize,
    factorize_harmonic,
)
from harmnmf.nmf.solvers.reverberation import Reverberation

BETAS = [-1, 0, 0.5, 1, 1.5, 2, 3]


def solver(function, options, takes, **fixed):
    """Return a function of arrays and options, and the arrays that it takes."""

    def solve(arrays, **changes):
        return function(**arrays, options=options(**fixed, **changes))

    return solve, takes


def note_solver(takes, beta, **fixed):
    def solve(arrays, **options):
        return estimate_note_activations(**arrays, n_attack=3, beta=beta, **fixed, **options)

    return solve, takes


ROOM = Reverberation(level=0.3, decay=0.8)
SOLVERS, DECIBEL = {}, {}
for beta in BETAS:
    multiplicative = partial(solver, options=MultiplicativeOptions, beta=beta)
    SOLVERS |= {
        f"activations {beta}": multiplicative(estimate_activations, takes="dictionary"),
        f"free {beta}": multiplicative(factorize, takes="dictionary"),
        f"harmonic {beta}": multiplicative(factorize_harmonic, takes="templates"),
        f"notes {beta}": note_solver("attacks", beta),
        f"notes with a response {beta}": note_solver("attacks and bands", beta),
        f"notes in a room {beta}": note_solver("attacks and bands", beta, reverberation=ROOM),
    }
for algorithm, smoothness in product(("em", "sage", "multiplicative"), (0.0, 20.0)):
    options = {"algorithm": algorithm, "smoothness": smoothness}
    SOLVERS[f"{algorithm} {smoothness}"] = solver(
        factorize_bayesian, BayesianOptions, "templates", **options
    )
for optimizer, domain in product(("lbfgs", "adam"), ("linear", "decibel")):
    options = {"optimizer": optimizer, "domain": domain}
    DECIBEL[f"{optimizer} {domain}"] = solver(
        factorize_decibel, DecibelOptions, "timbres", **options
    )
every_solver = pytest.mark.parametrize("name", [*SOLVERS, *DECIBEL])
solvers_of_batches = pytest.mark.parametrize("name", SOLVERS)


def problem(name, seed=0):
    """Return a solver and its arrays, all with zeros."""
    solve, takes = {**SOLVERS, **DECIBEL}[name]
    V, W, P = sparse(20, 15, seed=seed), sparse(20, 4, seed=seed), sparse(20, 4, 3, seed=seed)
    E, H = 0.1 + uniform(3, 4, seed=seed), sparse(4, 15, seed=seed + 1)
    E[1, 2] = 0
    attacks = {"V": V, "W": sparse(20, 4, 5, seed=seed)}
    bands = raised_cosine_bands(torch.arange(20, dtype=torch.float64), 6.0)
    return solve, {
        "dictionary": {"V": V, "W": W, "H": H},
        "templates": {"V": V, "P": P, "E": E, "H": H},
        "timbres": {"V": V, "P": P, "E": E[..., None], "H": H[:, None]},
        "attacks": attacks,
        "attacks and bands": {**attacks, "bands": bands},
    }[takes]


def factors(result):
    """Return the factors by name, without the record of the iterations."""
    return dict(zip(result._fields, result[: result._fields.index("objective")], strict=False))


@every_solver
@given(seed=st.integers(0, 2**32))
@settings(max_examples=3, deadline=None)
def test_objective_never_rises(name, seed):
    solve, arrays = problem(name, seed)
    # With zeros in the data, divergences with beta <= 0 are finite only above the floor.
    result = solve(arrays, floor=1e-3, max_iter=35, tol=0.0)
    assert (result.n_iter, result.converged) == (35, False)
    if not name.startswith("adam"):
        assert_never_rises(result.objective)


@every_solver
def test_zeros_stay_zero_and_arguments_are_not_changed(name):
    solve, arrays = problem(name)
    copies = {key: X.clone() for key, X in arrays.items()}
    result = solve(arrays, max_iter=7)
    for key, X in arrays.items():
        assert torch.equal(X, copies[key])
        if key in "EH":
            assert ((getattr(result, key) == 0) == (X == 0)).all()
    assert not any(X.requires_grad for X in factors(result).values())


@every_solver
def test_without_a_tolerance_there_are_no_objectives(name):
    solve, arrays = problem(name)
    expected, result = (solve(arrays, floor=0.01, max_iter=7, tol=tol) for tol in (0.0, None))
    assert (result.objective.shape, result.n_iter, result.converged) == ((0,), 7, False)
    if not name.startswith("adam"):  # returns to the lowest objective
        torch.testing.assert_close(factors(result), factors(expected))


@solvers_of_batches
def test_batches_equal_their_members(name):
    solve, arrays = problem(name)
    # Levels differ, and one member is silent: each has its own floor.
    levels = torch.tensor([[1, 1e4, 0], [1e-6, 3, 7]], dtype=torch.float64)[..., None, None]
    batch = {**arrays, "V": levels * sparse(2, 3, 20, 15)}
    if "H" in arrays:
        batch["H"] = (1 + levels) * arrays["H"]
    for key in {"E", "W"} & arrays.keys():
        if arrays[key].ndim == 2:  # a dictionary of attacks has three dimensions, and no batch
            batch[key] = arrays[key] * (1 + uniform(3, 1, 1))
    together = solve(batch, max_iter=12, tol=0.0)
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2)):
        # (i, j) of two leading dimensions, j of one.
        single = solve(
            {key: X[(i, j)[2 + arrays[key].ndim - X.ndim :]] for key, X in batch.items()},
            max_iter=12,
            tol=0.0,
        )
        for key, X in factors(single).items():
            # The order of summation differs, and exponents amplify that.
            torch.testing.assert_close(getattr(together, key)[i, j], X, rtol=1e-7, atol=0)
        objective = together.objective[:, i, j]
        torch.testing.assert_close(
            objective, single.objective, rtol=1e-8, atol=1e-8 * objective[0].abs().item()
        )


@solvers_of_batches
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_activations_scale_with_the_data(name, scale):
    solve, arrays = problem(name)
    scaled = {key: scale * X if key in "VH" else X for key, X in arrays.items()}
    one, other = solve(arrays, max_iter=10), solve(scaled, max_iter=10)
    for key, X in factors(one).items():
        expected = scale * X if key in "HAS" else X
        torch.testing.assert_close(getattr(other, key), expected, rtol=1e-7, atol=0)


@every_solver
def test_single_precision_agrees_with_double(name):
    solve, arrays = problem(name)
    arrays["V"] = 0.1 + uniform(20, 15)
    double = solve(arrays, floor=0.01, max_iter=10)
    single = solve({key: X.float() for key, X in arrays.items()}, floor=0.01, max_iter=10)
    assert single.objective.dtype == torch.float64
    torch.testing.assert_close(single.objective, double.objective, rtol=1e-3, atol=0)
    for key, X in factors(single).items():
        assert X.dtype == torch.float32
        if name not in DECIBEL:  # optimisers amplify rounding errors
            torch.testing.assert_close(X.double(), getattr(double, key), rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@every_solver
def test_cuda_agrees_with_the_processor(name):
    solve, arrays = problem(name)
    expected = solve(arrays, floor=0.01, max_iter=10)
    result = solve({key: X.cuda() for key, X in arrays.items()}, floor=0.01, max_iter=10)
    rtol = 1e-4 if name in DECIBEL else 1e-8
    for key, X in factors(result).items():
        assert X.is_cuda
        torch.testing.assert_close(X.cpu(), getattr(expected, key), rtol=rtol, atol=1e-9)


@every_solver
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_and_missing_spectra_give_finite_values(name, dtype):
    solve, arrays = problem(name)
    arrays = {key: X.to(dtype) for key, X in arrays.items()}
    arrays["V"][:, 3:5] = 0  # silent frames
    arrays["V"][:4] = 0  # silent bins
    spectra = arrays["W" if "W" in arrays else "P"]
    spectra[4:8] = 0  # bins without a spectrum
    spectra[:, 2] = 0  # a pitch without a spectrum
    if spectra.ndim == 3:
        spectra[:, 1, 1:] = 0  # a pitch without some of its spectra
    for case in (arrays, {**arrays, "V": 0 * arrays["V"]}):
        result = solve(case, max_iter=50, tol=0.0)
        assert torch.isfinite(result.objective).all()
        assert all(torch.isfinite(X).all() for X in factors(result).values())


@every_solver
def test_invalid_data_are_errors_that_name_the_array(name):
    solve, arrays = problem(name)
    for key, X in arrays.items():
        invalid = X.clone()
        invalid.view(-1)[7] = math.nan
        with pytest.raises(ParameterError, match=f"^{key} holds NaN"):
            solve({**arrays, key: invalid})
