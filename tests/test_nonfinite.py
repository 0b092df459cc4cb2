"""NaN and infinity go through kernels as through the direct sum in float64, in whatever lane they come.

Padding may count as zeros, with which an infinite weight or gradient makes a NaN, or be left out: PyTorch does either.
Winograd's transforms mix the values of a tile: there they spread over the outputs of the tiles that see them, and never
to another image.
"""

import numpy as np
import pytest
import reference
from direct import KERNELS, Layer, conv, input_gradient, weight_gradient

import minigrad as mg
from minigrad import functional as F
from minigrad.ops import winograd
from minigrad.ops.correlation import lanes
from minigrad.ops.geometry import window_axes

pytestmark = [
    pytest.mark.parametrize("dtype", [np.float32, np.float64]),
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),  # NumPy's, of inf - inf in the direct sum
]
SPECIAL = (np.nan, np.inf, -np.inf)


def same(found, right):
    """The same NaNs and infinities, and numbers equal to rounding."""
    tolerance = 1e-4 if found.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)


def same_as_either(found, counted, skipped):
    """Value by value what comes of padding that counts, or of padding that is left out."""
    same(found, np.where(np.isnan(found), counted, skipped))


def spoilt(array, count=4, seed=0):
    """The array with a few special values, among them the first and the last of it."""
    rng, out = np.random.default_rng(seed), array.copy()
    places = [0, array.size - 1, *rng.integers(0, array.size, count)]
    out.reshape(-1)[places] = [SPECIAL[i % 3] for i in range(len(places))]
    return out


@pytest.mark.parametrize("name", list(KERNELS))
def test_a_convolution_and_its_gradients_pass_them_on(name, dtype):
    layer = Layer(dtype, *KERNELS[name](lanes(np.dtype(dtype))))
    op, rank = mg.OPS, len(layer.axes)
    settings = {"axes": layer.axes, "groups": layer.groups}
    x, dy, w = spoilt(layer.x), spoilt(layer.dy, seed=1), spoilt(layer.w, 1, seed=2)
    same(op[f"conv{rank}d"](x, layer.w, layer.b, **settings), conv(x, layer.w, layer.b, **settings))
    counted, skipped = (conv(layer.x, w, layer.b, **settings, skips=skips) for skips in (False, True))
    same_as_either(op[f"conv{rank}d"](layer.x, w, layer.b, **settings), counted, skipped)
    same(op[f"conv_transpose{rank}d"](dy, layer.w, **settings), input_gradient(dy, layer.w, **settings))
    gradient = op[f"conv{rank}d_weight_gradient"]
    same(gradient(layer.dy, x, **settings), weight_gradient(layer.dy, x, **settings))
    counted, skipped = (weight_gradient(dy, layer.x, **settings, skips=skips) for skips in (False, True))
    same_as_either(gradient(dy, layer.x, **settings), counted, skipped)


def seeing(size, axes, pixel, plane):
    """The outputs (H, W) = `size` of the 4 x 4 tiles that see a pixel, by the axes of the convolution."""
    near = np.zeros(size, bool)
    for i, j in np.ndindex(*(-(-n // 4) for n in size)):
        tops = [4 * t - a.before for t, a in zip((i, j), axes, strict=True)]
        if all(top <= p < top + 6 for top, p in zip(tops, pixel, strict=True)):
            near[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = True
    return np.broadcast_to(near, (plane, *size))


@pytest.mark.parametrize("value", SPECIAL)
@pytest.mark.parametrize("pixel", [(0, 0), (5, 6), (8, 9)])
@pytest.mark.parametrize("padding", [0, ((1, 2), (0, 1))])
def test_winograd_keeps_them_to_the_tiles_that_see_them(padding, pixel, value, dtype):
    layer = Layer(dtype, 3, 17, 18, (11, 12), padding=padding)
    assert winograd.suits(layer.axes, 17, 18, 1)
    settings = {"axes": layer.axes, "groups": 1}
    for op, axes, dense, x in (
        (lambda x: mg.OPS["conv2d"](x, layer.w, layer.b, **settings), layer.axes, layer.dy, layer.x),
        (
            lambda dy: mg.OPS["conv_transpose2d"](dy, layer.w, **settings),
            winograd.reversed_axes(layer.axes),
            layer.x,
            layer.dy,
        ),
    ):
        clean, bad = op(x), x.copy()
        bad[(1, 3, *pixel)] = value
        found, impulse = op(bad), np.zeros_like(x)
        near = seeing(dense.shape[2:], axes, pixel, dense.shape[1])
        np.testing.assert_array_equal(found[[0, 2]], clean[[0, 2]])
        np.testing.assert_array_equal(found[1][~near], clean[1][~near])
        impulse[(1, 3, *pixel)] = 1
        reached = np.abs(op(impulse) - op(np.zeros_like(x)))[1] > 1e-3  # what the direct sum would spoil
        assert reached.any()
        assert not np.isfinite(found[1][reached]).any()
    gradient = mg.OPS["conv2d_weight_gradient"]
    bad = layer.x.copy()
    bad[(1, 3, *pixel)] = value
    clean, found = gradient(layer.dy, layer.x, **settings), gradient(layer.dy, bad, **settings)
    others = np.arange(17) != 3
    np.testing.assert_array_equal(found[:, others], clean[:, others])
    assert not np.isfinite(found[:, 3][~np.isfinite(weight_gradient(layer.dy, bad, **settings)[:, 3])]).any()
    bad = layer.dy.copy()
    bad[(1, 3, *pixel)] = value
    found, others = gradient(bad, layer.x, **settings), np.arange(18) != 3
    np.testing.assert_array_equal(found[others], clean[others])
    assert not np.isfinite(found[3][~np.isfinite(weight_gradient(bad, layer.x, **settings)[3])]).any()


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_rectified_and_pooled_convolutions_pass_them_on_as_the_chain_does(channels, dtype):
    layer = Layer(dtype, 9, channels, 3 if channels == 1 else 17, (9, 12))
    arrays = (spoilt(layer.x), layer.w, layer.b)
    y = F.relu(mg.OPS["conv2d"](*arrays, axes=layer.axes))
    np.testing.assert_array_equal(mg.OPS["conv2d_relu"](*arrays, axes=layer.axes), y)
    np.testing.assert_array_equal(mg.OPS["conv2d_relu_max_pool2d"](*arrays, axes=layer.axes), F.max_pool2d(y, 2))
    assert np.isnan(y).any()


@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 300, 19), (40, 9, 8), (13, 2, 33)])
def test_products_of_matrices_pass_them_on(sizes, dtype):
    rows, inner, columns = sizes
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, rows, inner)).astype(dtype), rng.standard_normal((2, inner, columns)).astype(dtype)
    for left, right in ((spoilt(a, 2), b), (a, spoilt(b, 2, seed=1))):
        exact = np.matmul(left.astype(float), right.astype(float))
        same(mg.matmul(left, right), exact)
        turned, flipped = (np.ascontiguousarray(m.swapaxes(1, 2)) for m in (left, right))
        product = mg.OPS["matmul"]
        same(product(turned, right, transpose_a=True), exact)
        same(product(left, flipped, transpose_b=True), exact)
        same(product(turned, flipped, transpose_a=True, transpose_b=True), exact)
        same(F.linear(left[0], flipped[0]), exact[0])
        same(mg.OPS["linear_weight_gradient"](turned[0], right[0]), exact[0])
        same(mg.einsum("bij,bjk->bik", left, right), exact)


@pytest.mark.parametrize(("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)])
def test_pooling_passes_them_on_and_a_first_nan_wins(window, stride, padding, dtype):
    x = spoilt(np.random.default_rng(4).standard_normal((2, 3, 9, 41)).astype(dtype), 40)
    axes = window_axes("test", (9, 41), window, stride, padding, 1)
    y, winners = reference.max_pool(x, axes=axes)
    found, places = F.max_pool2d(x, window, stride, padding, return_indices=True)
    np.testing.assert_array_equal(found, y)
    np.testing.assert_array_equal(places, winners)
    t = mg.tensor(x, requires_grad=True)
    dy = spoilt(np.random.default_rng(5).standard_normal(y.shape).astype(dtype))
    (dx,) = mg.grad(F.max_pool2d(t, window, stride, padding), t, dy)
    same(dx.numpy(), reference.max_unpool(dy, winners, sizes=(9, 41)))
    means = F.avg_pool2d(t, window, stride, padding)
    padded = np.pad(x.astype(float), [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    cells = np.lib.stride_tricks.sliding_window_view(padded, (window, window), (2, 3))[:, :, ::stride, ::stride]
    same(means.detach().numpy(), cells.mean((4, 5)))
    (dx,) = mg.grad(means, t, dy)
    spread = np.zeros_like(padded)
    for i, j in np.ndindex(window, window):
        rows, columns = (slice(s, s + (n - 1) * stride + 1, stride) for s, n in zip((i, j), dy.shape[2:], strict=True))
        spread[:, :, rows, columns] += dy.astype(float) / window**2
    same(dx.numpy(), spread[:, :, padding : padding + 9, padding : padding + 41])


def test_relu_and_the_global_mean_pass_them_on(dtype):
    x = spoilt(np.random.default_rng(6).standard_normal((3, 5, 7, 9)).astype(dtype), 20)
    t = mg.tensor(x, requires_grad=True)
    y = F.relu(t)
    np.testing.assert_array_equal(y.detach().numpy(), np.where(x <= 0, 0, x))
    dy = spoilt(np.random.default_rng(7).standard_normal(x.shape).astype(dtype), 20, seed=3)
    np.testing.assert_array_equal(mg.grad(y, t, dy)[0].numpy(), np.where(x <= 0, 0, dy))
    same(F.global_avg_pool2d(x), x.astype(float).mean((2, 3), keepdims=True))
    same(mg.OPS["channel_sum"](x), x.astype(float).sum((0, 2, 3)))
