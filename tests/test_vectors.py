"""e^x of a vector: to the last bits, at its limits, and by itself as among others."""

import numba
import numpy as np
import pytest

from minigrad.kernels.exponential import exp
from minigrad.kernels.simd import first_lane, lanes, load, splat, store

DTYPES = [np.float32, np.float64]


@numba.njit
def exp_of_each(x, y):
    for i in range(0, x.size, lanes(x)):
        store(exp(load(x, i)), y, i)


@numba.njit
def exp_of_one(x, value):
    return first_lane(exp(splat(x, value)))


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
