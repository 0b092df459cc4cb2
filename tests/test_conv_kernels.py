"""Which kernel computes a convolution, at the borders between them; their accuracy; NaN and infinity."""

import contextlib

import numpy as np
import pytest
import reference
from direct import KERNELS, Layer

import minigrad as mg
from minigrad.kernels.threads import Launcher
from minigrad.ops import correlation, pointwise, winograd
from minigrad.ops.correlation import lanes, over_images
from minigrad.ops.geometry import window_axes

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LAUNCHERS = {
    id(getattr(module, name)): f"{title}.{name}"
    for title, module, names in (
        ("channels", correlation.kernels, ("correlate", "conv_weight_gradient")),
        ("images", correlation.images, ("correlate_images", "image_weight_gradient")),
        ("pointwise", pointwise.kernels, ("pointwise_forward",)),
        ("winograd", winograd.kernels, ("transform_filters", "winograd_forward", "winograd_weight_gradient")),
    )
    for name in names
}


@contextlib.contextmanager
def families(monkeypatch):
    """The kernels that run: of channels, of images, of Winograd."""
    seen, call = set(), Launcher.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Launcher, "__call__", lambda self, *args: seen.add(LAUNCHERS.get(id(self))) or call(self, *args))
        yield seen
        names = {name.partition(".")[0] for name in seen if name}
        seen.clear()
        seen.update(names)


def close(found, right, dtype):
    """To rounding: of a sum of some hundred terms, relative to the largest of the array."""
    for a, b in zip(found, right, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=(100 * np.finfo(dtype).eps) * max(1, np.abs(b).max()))


def around(least):
    """The numbers at a border: the last on one side, the first on the other."""
    return least - 1, least


@BOTH
@pytest.mark.parametrize("groups", [1, 3])
def test_few_filters_of_many_images_go_side_by_side_and_agree_on_both_sides_of_the_border(groups, dtype, monkeypatch):
    step = lanes(np.dtype(dtype))
    most, least = 3 * step // 4, step // 2
    assert [over_images(least, k, np.dtype(dtype)) for k in (1, most, most + 1)] == [True, True, False]
    assert [over_images(n, 1, np.dtype(dtype)) for n in around(least)] == [False, True]
    # dx has the channels for filters: as few of them.
    for samples in around(least):
        for filters in (most, most + 1):
            layer = Layer(dtype, samples, filters * groups, filters * groups, (5, 6), (3, 2), groups=groups)
            with families(monkeypatch) as seen:
                found = layer.run()
            assert seen == {"images" if samples >= least and filters <= most else "channels"}
            close(found, layer.directly(), dtype)


SUITED = {"channels": 16, "filters": 16, "sizes": (5, 6)}
SUIT = {
    "as few channels as may be": ({}, True),
    "a channel less": ({"channels": 15}, False),
    "a filter less": ({"filters": 15}, False),
    "odd numbers of both": ({"channels": 17, "filters": 33}, True),
    "three outputs": ({"sizes": (3, 5), "padding": 1}, True),
    "two outputs": ({"sizes": (4, 5), "padding": 0}, False),
    "three outputs of five": ({"sizes": (5, 5), "padding": 0}, True),
    "an input of three": ({"sizes": (3, 9), "padding": 2}, True),
    "an input of two": ({"sizes": (2, 9), "padding": 2}, False),
    "padding of two": ({"padding": 2}, True),
    "padding of three": ({"padding": ((3, 0), (1, 1))}, False),
    "padding of each side": ({"padding": ((0, 2), (1, 0))}, True),
    "sizes of whole tiles": ({"sizes": (8, 12)}, True),
    "one tile and a row": ({"sizes": (5, 4)}, True),
    "a stride": ({"stride": (1, 2)}, False),
    "a dilation": ({"dilation": (2, 1)}, False),
    "groups": ({"channels": 32, "filters": 32, "groups": 2}, False),
    "windows of two": ({"window": (3, 2)}, False),
    "windows of four": ({"window": (4, 3)}, False),
}


@BOTH
@pytest.mark.parametrize("name", list(SUIT))
def test_winograd_takes_what_suits_it_and_agrees_on_both_sides_of_the_border(name, dtype, monkeypatch):
    settings, suited = SUIT[name]
    layer = Layer(dtype, 3, **SUITED | settings)
    filters, channels, groups = len(layer.w) // layer.groups, layer.w.shape[1], layer.groups
    assert winograd.suits(layer.axes, channels, filters, groups) is suited
    with families(monkeypatch) as seen:
        found = layer.run()
    assert ("winograd" in seen) is suited
    assert len(seen) == 1 or not suited
    close(found, layer.directly(), dtype)


ONE_CELL = {
    "as few pixels as may be": ({}, True),
    "a pixel less": ({"sizes": (5, 19)}, False),
    "an odd number of pixels": ({"sizes": (9, 11)}, True),
    "a signal": ({"sizes": (96,)}, True),
    "a dilation, which says nothing": ({"dilation": 2}, True),
    "a stride": ({"stride": (1, 2), "sizes": (12, 32)}, False),
    "padding": ({"padding": ((0, 1), (0, 0))}, False),
    "windows of two": ({"window": (1, 2)}, False),
    "groups": ({"groups": 5, "filters": 35}, False),
}


@BOTH
@pytest.mark.parametrize("name", list(ONE_CELL))
def test_the_kernel_for_1x1_takes_what_suits_it_and_agrees_on_both_sides_of_the_border(name, dtype, monkeypatch):
    settings, suited = ONE_CELL[name]
    usual = {"channels": 5, "filters": 7, "sizes": (8, 12), "window": 1, "padding": 0}
    layer = Layer(dtype, 1, **usual | settings)
    assert pointwise.suits(layer.axes, layer.groups) is suited
    with families(monkeypatch) as seen:
        found = layer.run()
    assert ("pointwise" in seen) is suited
    close(found, layer.directly(), dtype)


@BOTH
def test_few_1x1_filters_of_many_images_go_side_by_side_as_others_do(dtype, monkeypatch):
    step = lanes(np.dtype(dtype))
    for filters in around(3 * step // 4 + 1):
        layer = Layer(dtype, step, filters, filters, (9, 11), 1, 1, 0)
        with families(monkeypatch) as seen:
            found = layer.run()
        assert ("pointwise" in seen) is not over_images(step, filters, np.dtype(dtype))
        close(found, layer.directly(), dtype)


def test_winograd_takes_no_signals():
    axes = window_axes("test", (9,), 3, 1, 1, 1)
    assert not winograd.suits(axes, 16, 16, 1)


@BOTH
@pytest.mark.parametrize("name", list(KERNELS))
def test_every_shape_of_work_agrees_with_the_direct_sum(name, dtype):
    layer = Layer(dtype, *KERNELS[name](lanes(np.dtype(dtype))))
    close(layer.run(), layer.directly(), dtype)


@BOTH
@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize("samples", [1, 9])
@pytest.mark.parametrize("sizes", [(9, 12), (17, 30)])
def test_rectified_and_pooled_results_are_those_of_the_chain(sizes, samples, channels, dtype):
    """Over images, over channels and by Winograd, with a last row and column that pooling leaves out."""
    layer = Layer(dtype, samples, channels, 5 if channels == 1 else 17, sizes)
    arrays, settings = (layer.x, layer.w, layer.b), {"axes": layer.axes}
    y = mg.OPS["conv2d"](*arrays, **settings)
    y[y <= 0] = 0
    np.testing.assert_array_equal(mg.OPS["conv2d_relu"](*arrays, **settings), y)
    high, wide = (size // 2 for size in sizes)
    windows = y[..., : 2 * high, : 2 * wide].reshape(*y.shape[:2], high, 2, wide, 2)
    np.testing.assert_array_equal(mg.OPS["conv2d_relu_max_pool2d"](*arrays, **settings), windows.max((3, 5)))


# 3x3 layers of tests/benchmarks with 16 and more channels, eight images of each: (C, H = W, K), and the largest error
# of y, dx and dw in parts of the array's largest value, in millionths: by Winograd, and by the direct kernel.
ACCURACY = {
    (32, 28, 32): ((1.47, 0.64), (1.31, 0.60), (2.93, 2.56)),
    (32, 14, 64): ((1.26, 0.67), (1.36, 0.90), (1.50, 0.99)),
    (64, 14, 64): ((1.41, 0.77), (1.42, 0.76), (2.24, 1.40)),
    (128, 7, 128): ((1.80, 1.24), (2.25, 1.13), (1.16, 0.66)),
}


@pytest.mark.parametrize("layer", list(ACCURACY), ids=str)
def test_winograds_error_is_at_most_three_times_the_direct_kernels(layer, monkeypatch):
    channels, size, filters = layer
    case = Layer(np.float32, 8, channels, filters, (size, size))
    right = case.directly()
    fast = case.run()
    monkeypatch.setattr(winograd, "suits", lambda *args: False)
    plain = case.run()
    for name, noted, a, b, exact in zip("y dx dw".split(), ACCURACY[layer], fast, plain, right, strict=False):
        by_winograd, directly = (np.abs(found - exact).max() / np.abs(exact).max() * 1e6 for found in (a, b))
        print(f"{layer} {name}: {by_winograd:.2f} by Winograd, {directly:.2f} directly")
        assert 0 < directly < by_winograd <= 3 * directly
        np.testing.assert_allclose((by_winograd, directly), noted, rtol=0.5)


@pytest.mark.parametrize("filters", [1, 6, 20])
@pytest.mark.parametrize(("size", "window", "dilation"), [(1, 1, 1), (1, 2, 3), (2, 3, 4)])
def test_outputs_between_some_that_see_only_padding_see_what_they_see(size, window, dilation, filters):
    """A tile asks its first and last pixel for the taps of all; here it spans rows, which are one pixel wide."""
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((9, 2, size, 1)), rng.standard_normal((filters, 2, window, 1))
    axes = window_axes("test", (size, 1), (window, 1), 1, ((5, 5), (0, 0)), (dilation, 1))
    y = mg.OPS["conv2d"](x, w, axes=axes)
    np.testing.assert_allclose(y, reference.conv(x, w, axes=axes), rtol=1e-12, atol=1e-12)
    dx = mg.OPS["conv_transpose2d"](y, w, axes=axes)
    np.testing.assert_allclose(dx, reference.conv_transpose(y, w, axes=axes), rtol=1e-12, atol=1e-12)
