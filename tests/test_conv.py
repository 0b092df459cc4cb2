"""Convolution layers at their corners: sizes, groups, memory, identities with other layers, NaN, second derivatives."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad.ops.geometry import window_axes

RNG = np.random.default_rng(1)
CONV = {1: F.conv1d, 2: F.conv2d}
LOCAL = {1: F.locally_connected1d, 2: F.locally_connected2d}


def normal(*shape, dtype=np.float64):
    return RNG.standard_normal(shape).astype(dtype)


def gradients(function, dy_of, *arrays):
    """The output, and the gradients of <function(*arrays), dy> for dy = dy_of(shape)."""
    xs = [mg.tensor(a, requires_grad=True) for a in arrays]
    y = function(*xs)
    return y.detach().numpy(), [g.numpy() for g in mg.grad(y, xs, dy_of(y.shape))]


def same_gradients(first, second, *arrays, tolerance=1e-12):
    """Two functions of the arrays agree in values and gradients."""
    seed = int(RNG.integers(2**32))
    found = [gradients(f, np.random.default_rng(seed).standard_normal, *arrays) for f in (first, second)]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=tolerance, atol=tolerance)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


SETTINGS = [
    ("groups with stride", (2, 4, 7, 6), (6, 2, 3, 2), {"groups": 2, "stride": (2, 3), "padding": 1}),
    ("depthwise", (2, 3, 5, 5), (3, 1, 3, 3), {"groups": 3, "padding": 1}),
    ("depthwise with a multiplier", (1, 2, 5, 5), (6, 1, 2, 2), {"groups": 2, "stride": 2}),
    ("even filter with same", (2, 2, 5, 6), (3, 2, 2, 4), {"padding": "same"}),
    ("same with stride", (2, 2, 7, 6), (3, 2, 3, 4), {"padding": "same", "stride": (3, 2)}),
    ("stride larger than the filter", (2, 2, 9, 8), (2, 2, 2, 2), {"stride": (4, 3)}),
    ("filter equal to the input", (2, 3, 4, 5), (2, 3, 4, 5), {}),
    ("filter larger than the input", (2, 2, 2, 1), (2, 2, 4, 3), {"padding": ((2, 0), (1, 1))}),
    ("one side padded", (1, 2, 4, 4), (2, 2, 3, 3), {"padding": ((2, 0), (0, 1)), "dilation": (2, 1)}),
    ("one sample of one cell", (1, 1, 1, 1), (1, 1, 1, 1), {}),
    ("batch beyond a chunk", (19, 2, 4, 3), (2, 2, 2, 2), {}),
    ("empty batch", (0, 2, 4, 4), (3, 2, 3, 3), {}),
    ("no channels", (2, 0, 4, 4), (3, 0, 3, 3), {}),
    ("no filters", (2, 2, 4, 4), (0, 2, 3, 3), {}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("x", "w", "kwargs"), [s[1:] for s in SETTINGS], ids=[s[0] for s in SETTINGS])
def test_corners_agree_with_the_reference_in_values_gradients_and_dtype(x, w, kwargs, dtype):
    arrays = normal(*x, dtype=dtype), normal(*w, dtype=dtype), normal(w[0], dtype=dtype)
    dy = []
    y, (dx, dw, db) = gradients(
        lambda *xs: F.conv2d(*xs, **kwargs),
        lambda shape: dy.append(RNG.standard_normal(shape).astype(dtype)) or dy[0],
        *arrays,
    )
    groups = kwargs.get("groups", 1)
    stride, padding, dilation = (kwargs.get(k, v) for k, v in (("stride", 1), ("padding", 0), ("dilation", 1)))
    axes = window_axes("test", x[2:], w[2:], stride, padding, dilation)
    expected = [
        reference.conv(*arrays, axes=axes, groups=groups),
        reference.conv_transpose(dy[0], arrays[1], axes=axes, groups=groups),
        reference.conv_weight_gradient(dy[0], arrays[0], axes=axes, groups=groups),
        dy[0].sum((0, 2, 3)),
    ]
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    for found, right in zip((y, dx, dw, db), expected, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)


def test_inputs_that_a_wide_stride_skips_get_no_gradient():
    _, (dx, _) = gradients(
        lambda x, w: F.conv1d(x, w, stride=4), RNG.standard_normal, normal(1, 1, 10), normal(1, 1, 2)
    )
    assert np.flatnonzero(dx[0, 0]).tolist() == [0, 1, 4, 5, 8, 9]


@pytest.mark.parametrize("rank", [1, 2])
def test_a_filter_larger_than_the_input_is_refused(rank):
    with pytest.raises(ValueError, match=rf"^conv{rank}d: a window of 4 cells.*does not fit size 3"):
        CONV[rank](normal(1, 1, *(3,) * rank), normal(1, 1, *(4,) * rank))


@pytest.mark.parametrize("function", [F.conv2d, F.conv_transpose2d, F.conv1x1])
def test_strided_and_read_only_inputs_give_the_same_and_stay_as_they_are(function):
    x, w = normal(4, 5, 2, 3), normal(*(2, 2) if function is F.conv1x1 else (2, 2, 2, 2))
    views = x.transpose(3, 2, 0, 1), w.swapaxes(0, 1)
    plain = [np.ascontiguousarray(v) for v in views]
    expected = function(*plain)
    for v in views:
        v.flags.writeable = False
    np.testing.assert_array_equal(function(*views), expected)
    np.testing.assert_array_equal(views[0], plain[0])


@pytest.mark.parametrize("rank", [1, 2])
def test_the_1x1_convolution_equals_the_general_one(rank):
    x, w, b = normal(3, 4, *(5,) * rank), normal(2, 4, *(1,) * rank), normal(2)
    same_gradients(CONV[rank], lambda x, w, b: F.conv1x1(x, w.reshape(*w.shape[:2]), b), x, w, b)


def toeplitz(w, size, stride):
    """The matrix that a convolution of (C, *size) images is: few entries, the same along each block's diagonals."""
    axes = window_axes("test", size, w.shape[2:], stride, 0, 1)
    cells, outs = np.arange(np.prod(size)).reshape(size), tuple(a.out for a in axes)
    matrix = np.zeros((w.shape[0], np.prod(outs), w.shape[1], cells.size))
    for p, place in enumerate(np.ndindex(*outs)):
        for f in np.ndindex(*w.shape[2:]):
            cell = cells[tuple(o * a.stride + i for o, a, i in zip(place, axes, f, strict=True))]
            matrix[:, p, :, cell] = w[(slice(None), slice(None), *f)]
    return matrix.reshape(w.shape[0] * np.prod(outs), w.shape[1] * cells.size), outs


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_a_dense_layer_of_local_connectivity_and_shared_weights(stride):
    """Its matrix is the doubly blocked Toeplitz matrix; dw collects the dense layer's gradient over equal entries."""
    x, w = normal(3, 2, 5, 4), normal(4, 2, 3, 2)
    matrix, outs = toeplitz(w, (5, 4), stride)
    dy = normal(3, 4, *outs)
    y, (dx, dw) = gradients(lambda *xs: F.conv2d(*xs, stride=stride), lambda _: dy, x, w)
    dense, (dx_dense, d_matrix) = gradients(F.linear, lambda s: dy.reshape(s), x.reshape(3, -1), matrix)
    np.testing.assert_allclose(y.reshape(3, -1), dense, rtol=1e-12)
    np.testing.assert_allclose(dx.reshape(3, -1), dx_dense, rtol=1e-12, atol=1e-13)
    for index in np.ndindex(*w.shape):
        one = np.zeros(w.shape)
        one[index] = 1
        np.testing.assert_allclose(dw[index], np.sum(d_matrix * toeplitz(one, (5, 4), stride)[0]), rtol=1e-11)


@pytest.mark.parametrize("rank", [1, 2])
@settings(max_examples=10)
@given(st.integers(1, 2), st.integers(0, 1), st.integers(1, 2))
def test_a_locally_connected_layer_with_equal_filters_is_the_convolution(rank, stride, padding, dilation):
    x, w, b = normal(2, 3, *(5,) * rank), normal(2, 3, *(2,) * rank), normal(2)
    outs = CONV[rank](x, w, None, stride, padding, dilation).shape[2:]

    def local(x, w, b):
        shared = w.reshape(*(1,) * rank, *w.shape).expand(*outs, *w.shape)
        return LOCAL[rank](
            x, shared, b.reshape(2, *(1,) * rank).expand(2, *outs), stride, padding, dilation
        )  # fmt: skip

    same_gradients(lambda x, w, b: CONV[rank](x, w, b, stride, padding, dilation), local, x, w, b)


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
def test_shifting_the_input_by_a_stride_shifts_the_output_by_one(stride, shift, dilation):
    x, w = np.zeros((1, 2, 24, 24)), normal(3, 2, 3, 2)
    x[:, :, 5:12, 6:13] = normal(1, 2, 7, 7)  # far enough from every border
    y = F.conv2d(x, w, stride=stride, dilation=dilation)
    moved = F.conv2d(np.roll(x, (shift * stride, shift * stride), (2, 3)), w, stride=stride, dilation=dilation)
    assert np.abs(y).max() > 0
    np.testing.assert_array_equal(moved, np.roll(y, (shift, shift), (2, 3)))


@pytest.mark.parametrize(
    "kwargs",
    [
        {"padding": "same"},
        {"padding": "same", "stride": 2},
        {"groups": 2, "padding": 1},
        {"dilation": (2, 1), "padding": ((1, 0), (0, 1))},
    ],
    ids=str,
)
def test_second_derivatives_agree_with_differences(kwargs):
    x, w = normal(2, 2, 4, 3), normal(2, 2 // kwargs.get("groups", 1), 2, 2)
    xs = [mg.tensor(a, requires_grad=True) for a in (x, w, normal(2))]
    mg.gradcheck(lambda *xs: F.conv2d(*xs, **kwargs), xs)
    mg.gradgradcheck(lambda *xs: F.conv2d(*xs, **kwargs), xs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("groups", "function"), [(1, F.conv2d), (2, F.conv2d), (1, F.locally_connected2d)], ids=["one", "two", "local"]
)
def test_nan_and_infinity_reach_exactly_the_outputs_that_see_them(value, groups, function):
    x = normal(2, 4, 6, 5)
    x[1, 3, 2, 4] = value
    kwargs = {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}
    if function is F.conv2d:
        w = np.abs(normal(4, 4 // groups, 3, 2)) + 0.1
        y = F.conv2d(x, w, groups=groups, **kwargs)
    else:
        w = np.abs(normal(3, 5, 4, 4, 3, 2)) + 0.1
        y = F.locally_connected2d(x, w, **kwargs)
    axes = window_axes("test", x.shape[2:], w.shape[-2:], *kwargs.values())
    sees = np.zeros(y.shape, bool)
    for place in reference.windows(axes):
        hit = any(cell == (2, 4) for _, cell in reference.cells(axes, place))
        sees[(1, slice(4 - 4 // groups, None), *place)] = hit
    assert 0 < sees.sum() < sees.size
    np.testing.assert_array_equal(~np.isfinite(y), sees)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((normal(1, 2, 4), normal(1, 2, 2, 2)), ValueError, r"need input \(N, C, H, W\), got \(1, 2, 4\)"),
        ((normal(1, 2, 4, 4), normal(2, 2, 2)), ValueError, r"need weight \(K, C/groups, FH, FW\) with C = 2"),
        ((normal(1, 2, 4, 4), normal(1, 3, 1, 1)), ValueError, r"with C = 2, got \(1, 3, 1, 1\)"),
        ((normal(1, 2, 4, 4), normal(3, 2, 1, 1), normal(2)), ValueError, r"need bias \(K\) = \(3,\), got \(2,\)"),
        ((normal(1, 4, 4, 4), normal(3, 2, 2, 2), None, 1, 0, 1, 2), ValueError, "K divisible by groups = 2"),
        ((normal(1, 3, 4, 4), normal(2, 1, 2, 2), None, 1, 0, 1, 2), ValueError, "groups that divide C = 3, got 2"),
        ((normal(1, 1, 4, 4), normal(1, 1, 2, 2), None, 1, 0, 1, 0), ValueError, "groups of at least 1"),
        ((normal(1, 1, 4, 4), normal(1, 1, 2, 2, dtype=np.float32)), TypeError, "float64 and float32"),
        ((normal(1, 1, 4, 4), normal(1, 1, 1, 1, dtype=np.float32)), TypeError, "float64 and float32"),
        ((np.ones((1, 1, 4, 4), int), np.ones((1, 1, 2, 2), int)), TypeError, "need float32 or float64, got int64"),
        ((np.ones((1, 1, 4, 4), np.float16),) * 2, TypeError, "float32 or float64, got float16"),
    ],
)
def test_what_does_not_fit_is_refused_by_rule_and_value(arguments, error, words):
    with pytest.raises(error, match=f"^conv2d: .*{words}"):
        F.conv2d(*arguments)
