from __future__ import annotations

import math

import pytest
import torch
from factorizations import uniform
from hypothesis import given
from hypothesis import strategies as st

from harmnmf.nmf.solvers.divergence import beta_divergence, gradient_terms, majorisation_exponent

BETAS = [-1, -0.5, 0, 0.5, 1, 1.5, 2, 3]


def positive(*shape, seed=0):
    return 0.1 + uniform(*shape, seed=seed)


def scalar_divergence(v, w, beta):
    """The definition for one pair of numbers."""
    if beta == 0:
        return v / w - math.log(v / w) - 1
    if beta == 1:
        return v * math.log(v / w) - v + w
    return (v**beta + (beta - 1) * w**beta - beta * v * w ** (beta - 1)) / (beta * (beta - 1))


@pytest.mark.parametrize("beta", BETAS)
def test_values_follow_the_definition_for_each_member_of_a_batch(beta):
    V, V_hat = positive(2, 3, 4, 5), positive(3, 4, 5, seed=1)
    pairs = zip(V.flatten().tolist(), V_hat.expand_as(V).flatten().tolist(), strict=True)
    terms = [scalar_divergence(v, w, beta) for v, w in pairs]
    expected = torch.tensor(terms, dtype=torch.float64).reshape(V.shape).sum(dim=(-2, -1))
    torch.testing.assert_close(beta_divergence(V, V_hat, beta), expected)


@pytest.mark.parametrize("beta", [0.5, 1, 1.5, 2, 3])
def test_silent_bins_have_the_limit_of_the_divergence(beta):
    V_hat = positive(4, 5)
    limit = beta_divergence(torch.full_like(V_hat, 1e-30), V_hat, beta)
    silent = beta_divergence(torch.zeros_like(V_hat), V_hat, beta)
    torch.testing.assert_close(silent, limit)
    torch.testing.assert_close(silent, (V_hat**beta / beta).sum())


@given(st.floats(-2, 4), *3 * [st.floats(1e-3, 1e3)])
def test_divergence_is_positive_and_homogeneous(beta, v, w, scale):
    # Next to 0 and 1 the general formula divides a rounding error by almost nothing.
    beta = round(beta, 1)
    V, V_hat = (torch.tensor([[x]], dtype=torch.float64) for x in (v, w))
    value = beta_divergence(V, V_hat, beta).item()
    # What cancellation may leave of terms of this size.
    size = 1e-12 * (v**beta + w**beta + v * w ** (beta - 1) + 1)
    assert value >= -size
    assert beta_divergence(V, V, beta).item() == pytest.approx(0, abs=size)
    scaled = beta_divergence(scale * V, scale * V_hat, beta).item()
    assert scaled == pytest.approx(scale**beta * value, rel=1e-9, abs=(1 + scale**beta) * size)


@pytest.mark.parametrize("beta", BETAS)
def test_gradient_is_the_difference_of_its_terms(beta):
    V, V_hat = positive(4, 5), positive(4, 5, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(beta_divergence(V, V_hat, beta), V_hat)
    negative, positive_term = gradient_terms(V, V_hat.detach(), beta)
    torch.testing.assert_close(positive_term - negative, gradient)
    # The split is right as well, not only the difference.
    assert positive_term.shape == (() if beta == 1 else V.shape)
    torch.testing.assert_close(positive_term.expand_as(V), V_hat.detach() ** (beta - 1))
    assert torch.autograd.gradcheck(lambda X: beta_divergence(V, X, beta), V_hat)


@pytest.mark.parametrize("beta", BETAS)
def test_single_precision_is_summed_in_double(beta):
    V, V_hat = positive(300, 400).float(), positive(300, 400, seed=1).float()
    value = beta_divergence(V, V_hat, beta)
    assert value.dtype == torch.float64
    # Every term has a relative error of some eps = 1.2e-7; the sum of 120 000 adds none.
    torch.testing.assert_close(
        value, beta_divergence(V.double(), V_hat.double(), beta), rtol=3e-7, atol=0
    )
    for term in gradient_terms(V, V_hat, beta):
        assert term.dtype == torch.float32


def test_descent_is_proven_for_the_exponents():
    # Févotte and Idier (2011): 1/(2 - β) below 1, 1 between 1 and 2, 1/(β - 1) above; and, by
    # their second proof, 1 between 0 and 1 without the ends.
    expected = {-2: 1 / 4, -1: 1 / 3, 0: 1 / 2, 0.01: 1, 0.5: 1, 1: 1, 1.5: 1, 2: 1, 2.5: 1 / 1.5}
    assert {beta: majorisation_exponent(beta) for beta in expected} == pytest.approx(expected)
