"""Activations at extremes, and dropout."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F

# Function, reference, and the limits at -inf and +inf.
LIMITS = {
    "relu": (F.relu, lambda x: np.maximum(x, 0), 0, np.inf),
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x), -np.inf, np.inf),
    "elu": (F.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), -1, np.inf),
    "softplus": (F.softplus, lambda x: np.logaddexp(x, 0), 0, np.inf),
    "tanh": (F.tanh, np.tanh, -1, 1),
    "sigmoid": (F.sigmoid, scipy.special.expit, 0, 1),
    "silu": (F.silu, lambda x: x * scipy.special.expit(x), None, np.inf),
    "gelu": (F.gelu, lambda x: x * scipy.special.ndtr(x), None, np.inf),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(LIMITS))
@settings(max_examples=20)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8))
def test_values_and_derivatives_are_right_and_finite_up_to_ten_thousand(name, dtype, values):
    function, right, _, _ = LIMITS[name]
    x = mg.tensor(np.array(values, dtype), requires_grad=True)
    y = function(x)
    assert y.dtype == dtype
    tolerance = 1e-6 if dtype == np.float32 else 1e-8  # softplus is x itself from 20 on, as in PyTorch
    np.testing.assert_allclose(y.data, right(np.float64(x.data)), rtol=tolerance, atol=tolerance)
    (dx,) = mg.grad(y, x, np.ones(x.shape))
    assert np.isfinite(dx.data).all()
    assert (np.abs(dx.data) < 1.2).all()


@pytest.mark.parametrize("name", list(LIMITS))
def test_infinity_gives_the_limit_and_nan_stays(name):
    function, _, low, high = LIMITS[name]
    x = np.array([-np.inf, np.inf, np.nan])
    with np.errstate(invalid="ignore"):
        y = function(x)
    assert y[1] == high
    assert np.isnan(y[2])
    assert y[0] == low if low is not None else np.isnan(y[0])  # -inf times 0, as in PyTorch


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax_does_not_overflow(function):
    x = np.array([[1e4, -1e4, 1e4], [-np.inf, 0, 1], [-1e4, -1e4, -1e4]], np.float32)
    expected = {F.softmax: scipy.special.softmax, F.log_softmax: scipy.special.log_softmax}[function](x, axis=1)
    np.testing.assert_allclose(function(x, 1), expected, rtol=1e-6)
    assert np.isnan(function(np.array([1.0, np.nan]), 0)).all()


def test_gelu_by_tanh_is_near_and_unknown_approximations_are_refused():
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(F.gelu(x, "tanh"), F.gelu(x), atol=5e-4)
    assert np.abs(F.gelu(x, "tanh") - F.gelu(x)).max() > 1e-4
    with pytest.raises(ValueError, match=r"^gelu: need approximate '"):
        F.gelu(x, "erf")


def test_softplus_is_linear_beyond_its_threshold():
    x = np.array([0.5, 1.5, 2.5])
    np.testing.assert_array_equal(F.softplus(x, beta=2.0, threshold=2.0)[1:], x[1:])
    np.testing.assert_allclose(F.softplus(x, beta=2.0, threshold=2.0)[0], np.log1p(np.exp(1.0)) / 2)


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_zeroes_a_share_of_p(p):
    mg.manual_seed(0)
    x = np.random.default_rng(0).uniform(1, 2, (200, 500)).astype(np.float32)
    y = F.dropout(x, p)
    deviation = np.sqrt(p * (1 - p) / x.size)
    assert abs((y == 0).mean() - p) < 5 * deviation
    assert abs(y.mean() / x.mean() - 1) < 6 * deviation / (1 - p)
    np.testing.assert_allclose(y[y != 0], x[y != 0] / np.float32(1 - p), rtol=1e-6)


def test_dropout_sends_the_gradient_through_the_same_mask():
    x = mg.tensor(np.random.default_rng(1).uniform(1, 2, (30, 40)), requires_grad=True)
    dy = np.random.default_rng(2).standard_normal(x.shape)
    y = F.dropout(x, 0.3)
    (dx,) = mg.grad(y, x, dy)
    np.testing.assert_allclose(dx.data, dy * y.data / x.data, rtol=1e-12)


def test_dropout2d_drops_whole_channels_of_single_samples():
    mg.manual_seed(3)
    y = F.dropout2d(np.ones((20, 10, 4, 3)), 0.4)
    assert (y == y[:, :, :1, :1]).all()
    dropped = y[:, :, 0, 0] == 0
    assert len(np.unique(dropped, axis=0)) > 10  # each sample by itself
    assert abs(dropped.mean() - 0.4) < 0.15


@pytest.mark.parametrize("function", [F.dropout, F.dropout2d])
def test_the_seed_decides_the_mask_and_each_call_draws_another(function):
    x = np.ones((4, 50, 2), np.float32)
    mg.manual_seed(11)
    first, second = function(x), function(x)
    mg.manual_seed(11)
    np.testing.assert_array_equal(function(x), first)
    np.testing.assert_array_equal(function(x), second)
    assert (first != second).any()


@pytest.mark.parametrize("function", [F.dropout, F.dropout2d])
def test_dropout_does_nothing_when_not_training_or_without_p_and_all_with_p_1(function):
    x = mg.tensor(np.ones((3, 4, 2)), requires_grad=True)
    assert function(x, training=False) is x
    assert function(x, 0) is x
    assert not function(x, 1.0).data.any()
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"^{function.__name__}: need 0 <= p <= 1, got {p}"):
            function(x, p)
