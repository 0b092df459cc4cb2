"""e^x and log x of a vector: to the last bits, at their limits, and by themselves as among others."""

import numba
import numpy as np
import pytest

from minigrad.kernels.exponential import exp, log
from minigrad.kernels.simd import first_lane, lanes, load, splat, store

DTYPES = [np.float32, np.float64]


@numba.njit
def exp_of_each(x, y):
    for i in range(0, x.size, lanes(x)):
        store(exp(load(x, i)), y, i)


@numba.njit
def exp_of_one(x, value):
    return first_lane(exp(splat(x, value)))


@numba.njit
def log_of_each(x, y):
    for i in range(0, x.size, lanes(x)):
        store(log(load(x, i)), y, i)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_right_to_two_units_in_the_last_place_from_one_on_and_keeps_nan(dtype):
    top = np.finfo(dtype).max
    x = np.concatenate((
        np.linspace(1, 40, 16 * 2001, dtype=dtype),
        1 + np.geomspace(np.finfo(dtype).eps, 0.5, 16 * 100, dtype=dtype),
        np.geomspace(1, top / 2, 16 * 500, dtype=dtype),
        np.resize(np.array([1, top, np.sqrt(dtype(2)), np.nan], dtype), 16),
    ))  # fmt: skip
    y = np.empty_like(x)
    log_of_each(x, y)
    right = np.log(x.astype(np.longdouble))
    assert (y[x == 1] == 0).all()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    known = ~np.isnan(x)
    assert (np.abs(y - right)[known] <= 2 * np.finfo(dtype).eps * right[known]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_right_to_one_unit_in_the_last_place_from_the_smallest_to_the_largest(dtype):
    top = float(np.log(np.finfo(dtype).max))
    low = float(np.log(np.finfo(dtype).tiny))
    x = np.linspace(low, top, 16 * 4001).astype(dtype)
    y = np.empty_like(x)
    exp_of_each(x, y)
    right = np.exp(x.astype(np.longdouble))
    inside = (right > np.finfo(dtype).tiny) & (right < np.finfo(dtype).max)
    assert inside.mean() > 0.999
    assert (np.abs(y - right)[inside] <= np.finfo(dtype).eps * right[inside]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_goes_to_its_limits_and_keeps_nan(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    low = np.log(np.finfo(dtype).tiny)
    x = np.resize(np.array([-np.inf, -1e4, np.inf, 1e4, np.nan, 0, -0.0, low - 3], dtype), 16)
    y = np.empty_like(x)
    exp_of_each(x, y)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(y[:7], np.exp(x[:7]), rtol=0)
    assert abs(y[7] - np.exp(x[7])) <= tiny  # a denormal number is one, not 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_value_by_itself_has_the_bits_it_has_among_others(dtype):
    x = np.linspace(-9, 9, 16).astype(dtype)
    y = np.empty_like(x)
    exp_of_each(x, y)
    np.testing.assert_array_equal([exp_of_one(x, v) for v in x], y)
