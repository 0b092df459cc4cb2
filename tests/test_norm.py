"""Batch, layer and group norm against plain NumPy: values, running statistics, second derivatives, errors."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F

RNG = np.random.default_rng(6)


def normal(*shape, dtype=np.float64):
    return RNG.standard_normal(shape).astype(dtype)


def standard(x, dims, eps=1e-5):
    return (x - x.mean(dims, keepdims=True)) / np.sqrt(x.var(dims, keepdims=True) + eps)


SPATIAL = st.lists(st.integers(1, 4), max_size=2)


@given(st.integers(2, 5), st.integers(1, 4), SPATIAL, st.sampled_from([1e-5, 0.1]))
def test_batch_norm_standardises_each_channel(n, c, spatial, eps):
    x, weight, bias = normal(n, c, *spatial), normal(c), normal(c)
    dims, shape = (0, *range(2, x.ndim)), (1, c, *(1,) * len(spatial))
    y = F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    np.testing.assert_allclose(y, standard(x, dims, eps) * weight.reshape(shape) + bias.reshape(shape), atol=1e-10)


@given(st.integers(0, 3), st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=2), st.booleans())
def test_layer_norm_standardises_the_last_dimensions(n, c, spatial, channels_too):
    x = normal(n, c, *spatial)
    shape = x.shape[1:] if channels_too else x.shape[2:]
    weight, bias = normal(*shape), normal(*shape)
    dims = tuple(range(x.ndim - len(shape), x.ndim))
    expected = standard(x, dims) * weight + bias
    np.testing.assert_allclose(F.layer_norm(x, shape, weight, bias), expected, atol=1e-10)
    np.testing.assert_allclose(F.layer_norm(x, list(shape)), standard(x, dims), atol=1e-10)


@given(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3), SPATIAL)
def test_group_norm_standardises_groups_of_channels(n, groups, per_group, spatial):
    c = groups * per_group
    x, weight, bias = normal(n, c, *spatial), normal(c), normal(c)
    grouped = standard(x.reshape(n, groups, int(np.prod((per_group, *spatial)))), (2,)).reshape(x.shape)
    shape = (1, c, *(1,) * len(spatial))
    expected = grouped * weight.reshape(shape) + bias.reshape(shape)
    np.testing.assert_allclose(F.group_norm(x, groups, weight, bias), expected, atol=1e-10)


@pytest.mark.parametrize("kind", [mg.tensor, np.array])
def test_running_statistics_move_in_place_by_the_momentum_and_the_unbiased_variance(kind):
    x, mean, var = normal(4, 3, 5), normal(3), RNG.uniform(1, 2, 3)
    running = kind(mean), kind(var)
    F.batch_norm(x, *running, training=True, momentum=0.3)
    np.testing.assert_allclose(np.asarray(running[0]), 0.7 * mean + 0.3 * x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(running[1]), 0.7 * var + 0.3 * x.var((0, 2), ddof=1), rtol=1e-12)
    before = [np.array(r) for r in running]
    y = F.batch_norm(x, *running)
    expected = (x - before[0][:, None]) / np.sqrt(before[1][:, None] + 1e-5)
    np.testing.assert_allclose(np.asarray(y), expected, rtol=1e-12)
    F.batch_norm(x[:0], *running, training=True)  # of nothing, nothing is learnt
    for r, b in zip(running, before, strict=True):
        np.testing.assert_array_equal(np.asarray(r), b)


def test_running_statistics_take_no_part_in_the_graph():
    mean, var = mg.tensor(np.zeros(2)), mg.tensor(np.ones(2))
    x = mg.tensor(normal(4, 2), requires_grad=True)
    F.batch_norm(x, mean, var, training=True).sum().backward()
    assert not mean.requires_grad
    assert not var.requires_grad


def test_float32_keeps_its_dtype_and_a_large_mean_does_not_drown_the_variance():
    x = (1e4 + normal(64, 2, 8)).astype(np.float32)
    y = F.batch_norm(x, None, None, training=True)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, standard(x.astype(np.float64), (0, 2)), atol=2e-3)
    np.testing.assert_allclose(y.var((0, 2)), 1, rtol=1e-3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: F.batch_norm(x, np.full(4, 0.3), np.full(4, 1.7), w, b),
        lambda x, w, b: F.group_norm(x, 2, w, b),
        lambda x, w, b: F.layer_norm(x.permute(0, 2, 1), 4, w, b),
    ],
    ids=["batch", "batch, not training", "group", "layer"],
)
def test_derivatives_are_right_to_second_order(function):
    xs = [mg.tensor(a, requires_grad=True) for a in (normal(2, 4, 3), normal(4), normal(4))]
    mg.gradcheck(function, xs)
    mg.gradgradcheck(function, xs)


@settings(max_examples=10)
@given(st.integers(0, 99))
def test_shift_and_scale_of_a_channel_make_no_difference(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, 4, 5))
    moved = x * rng.uniform(1, 9, (1, 4, 1)) + rng.uniform(-9, 9, (1, 4, 1))
    for function in (
        lambda x: F.batch_norm(x, None, None, training=True, eps=0.0),
        lambda x: F.group_norm(x, 4, eps=0),
    ):
        np.testing.assert_allclose(function(moved), function(x), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: F.batch_norm(x[0, 0], None, None), ValueError, r"batch_norm: need input \(N, C, ...\), got \(5,\)"),
        (lambda x: F.batch_norm(x, None, None), ValueError, "batch_norm: need running_mean and running_var"),
        (lambda x: F.batch_norm(x[:1, :, 0], None, None, training=True), ValueError, "batch_norm: need more than one"),
        (lambda x: F.batch_norm(x, np.ones(3), np.ones(4)), ValueError, r"batch_norm: need running_mean \(4,\)"),
        (lambda x: F.batch_norm(x, None, None, np.ones(3), training=True), ValueError, r"batch_norm: need weight \(4,"),
        (lambda x: F.layer_norm(x, (4, 4)), ValueError, r"layer_norm: need input \(..., 4, 4\), got \(2, 4, 5\)"),
        (lambda x: F.layer_norm(x, ()), ValueError, "layer_norm: need input"),
        (lambda x: F.layer_norm(x, 5.0), TypeError, "layer_norm: need normalized_shape as integers, got 5.0"),
        (lambda x: F.layer_norm(x, 5, np.ones(4)), ValueError, r"layer_norm: need weight \(5,\), got \(4,\)"),
        (lambda x: F.layer_norm(x, 5, np.ones(5, np.float32)), TypeError, "layer_norm: need one dtype"),
        (lambda x: F.group_norm(x, 3), ValueError, "group_norm: need input .* with C divisible by 3"),
        (lambda x: F.group_norm(x, 0), ValueError, "group_norm: need num_groups of at least 1"),
        (lambda x: F.group_norm(x, 2, bias=np.ones(2)), ValueError, r"group_norm: need bias \(4,\), got \(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call(normal(2, 4, 5))
