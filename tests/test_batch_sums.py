"""Sums over the batch: by chunks of 8 samples and a pairwise tree, so that processes can share a batch bit for bit."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.functional.fused import conv2d_relu, linear_relu
from minigrad.kernels import norm
from minigrad.kernels.reduce import CHUNK
from minigrad.ops import correlation
from minigrad.ops.batch import GROUP
from minigrad.ops.correlation import lanes

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SAMPLES = pytest.mark.parametrize("samples", [1, 3, 8, 11, 19, 43, 2 * GROUP + 43])


def chunks(samples):
    return [slice(start, start + CHUNK) for start in range(0, samples, CHUNK)]


def tree(terms):
    """The sum of a list by a balanced pairwise tree: neighbours first."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


def drawn(dtype, *shapes):
    rng = np.random.default_rng(12)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def conv(**settings):
    return lambda x, w, b=None: F.conv2d(x, w, b, **settings)


def pooled(padding):
    return lambda x, w, b: conv2d_relu(x, w, b, 1, padding, 1, 1, True)


# A layer, a sample of its input, and its parameters, for vectors of s lanes. With 3 s / 4 filters or fewer, images lie
# side by side, unless there are too few of them.
LAYERS = {
    "one filter": lambda s: (conv(padding=1), (3, 7, 5), (1, 3, 3, 3), (1,)),
    "few filters": lambda s: (conv(padding=1), (2, 5, 4), (3 * s // 4, 2, 3, 3), (3 * s // 4,)),
    "one filter more": lambda s: (conv(padding=1), (2, 5, 4), (3 * s // 4 + 1, 2, 3, 3), (3 * s // 4 + 1,)),
    "many filters": lambda s: (conv(stride=2), (2, 6, 7), (2 * s + 1, 2, 2, 3), (2 * s + 1,)),
    "depthwise": lambda s: (conv(padding=1, groups=5), (5, 6, 5), (5, 1, 3, 3), (5,)),
    "depthwise, two filters a channel": lambda s: (conv(stride=2, groups=3), (3, 7, 6), (6, 1, 3, 3), (6,)),
    "groups and dilation": lambda s: (conv(dilation=2, groups=2), (4, 6, 5), (4, 2, 3, 2), (4,)),
    "more pixels than are turned at once": lambda s: (conv(padding=1), (1, 17, 19), (2, 1, 3, 3), (2,)),
    "Winograd": lambda s: (conv(padding=1), (16, 6, 5), (17, 16, 3, 3), (17,)),
    "transposed": lambda s: (lambda *xs: F.conv_transpose2d(*xs, stride=2), (2, 4, 3), (2, 3, 3, 2), (3,)),
    "signal": lambda s: (lambda *xs: F.conv1d(*xs, stride=2, padding=2), (2, 13), (3, 2, 4), (3,)),
    "signal of many filters": lambda s: (F.conv1d, (2, 13), (s + 1, 2, 4), (s + 1,)),
    "1x1": lambda s: (F.conv1x1, (3, 4, 3), (2, 3), (2,)),
    "1x1 of large images": lambda s: (F.conv1x1, (3, 9, 11), (s, 3), (s,)),
    "locally connected": lambda s: (F.locally_connected2d, (2, 4, 3), (3, 2, 3, 2, 2, 2), (3, 3, 2)),
    "locally connected signal": lambda s: (F.locally_connected1d, (3, 7), (5, 2, 3, 3), (2, 5)),
    "linear": lambda s: (F.linear, (21,), (10, 21), (10,)),
    "linear, of words": lambda s: (F.linear, (5, 21), (10, 21), (10,)),
    "linear, of an even number of words": lambda s: (F.linear, (12, 7), (10, 7), (10,)),
    "linear, of many words": lambda s: (F.linear, (77, 3), (2, 3), (2,)),
    "linear, of words in lines, without a bias": lambda s: (F.linear, (3, 2, 7), (10, 7)),
    "linear and rectified, of words": lambda s: (linear_relu, (3, 7), (19, 7), (19,)),
    "linear and rectified": lambda s: (linear_relu, (2 * s + 1,), (19, 2 * s + 1), (19,)),
    "layer norm": lambda s: (lambda x, *xs: F.layer_norm(x, (5, 7), *xs), (3, 5, 7), (5, 7), (5, 7)),
    "group norm": lambda s: (lambda x, *xs: F.group_norm(x, 2, *xs), (4, 5, 3), (4,), (4,)),
    "a number": lambda s: (lambda x, w: x * w, (), (1,)),
    "numbers of each sample": lambda s: (lambda x, w: x * w, (3, 5), (3, 1)),
    "matrices": lambda s: (mg.matmul, (5, 3), (3, 7)),
    "pooled over images": lambda s: (pooled(1), (1, 7, 6), (3, 1, 3, 3), (3,)),
    "pooled, by winners": lambda s: (pooled(1), (s, 6, 5), (3, s, 3, 3), (3,)),
    "pooled by Winograd": lambda s: (pooled(1), (16, 6, 5), (17, 16, 3, 3), (17,)),
}


def results(layer, parameters, x, dy):
    """y, dx, and the parameters' gradients."""
    xs = [mg.tensor(a, requires_grad=True) for a in (x, *parameters)]
    y = layer(*xs)
    return [a.detach().numpy() for a in (y, *mg.grad(y, xs, dy))]


@BOTH
@SAMPLES
@pytest.mark.parametrize("name", list(LAYERS))
def test_the_gradient_of_a_batch_is_the_tree_of_its_chunks_gradients(name, samples, dtype):
    """And y and dx are theirs, one after the other."""
    layer, sample, *shapes = LAYERS[name](lanes(np.dtype(dtype)))
    x, *parameters = drawn(dtype, (samples, *sample), *shapes)
    (dy,) = drawn(dtype, layer(x, *parameters).shape)
    found = results(layer, parameters, x, dy)
    by_chunk = zip(*(results(layer, parameters, x[some], dy[some]) for some in chunks(samples)), strict=True)
    for i, (whole, parts) in enumerate(zip(found, by_chunk, strict=True)):
        np.testing.assert_array_equal(whole, np.concatenate(parts) if i < 2 else tree(parts))


@BOTH
@SAMPLES
def test_so_is_that_of_images_too_large_to_lie_side_by_side(samples, dtype, monkeypatch):
    monkeypatch.setattr(correlation, "_MOST_VALUES", 0)
    test_the_gradient_of_a_batch_is_the_tree_of_its_chunks_gradients("few filters", samples, dtype)


@BOTH
@pytest.mark.parametrize("samples", [1, 7, 8, 9, 40, 83, 1100])
def test_a_sum_over_the_batch_goes_by_chunks_of_eight_and_a_pairwise_tree(samples, dtype):
    """Bit for bit: in order within a chunk, then the chunks in pairs."""
    channels = 200
    (x,) = drawn(dtype, (samples, channels, 1))
    sums = []
    for some in chunks(samples):
        total = np.zeros(channels, dtype)
        for row in x[some]:
            total += row[:, 0]
        sums.append(total)
    assert CHUNK == 8
    np.testing.assert_array_equal(mg.OPS["channel_sum"](x), tree(sums))
    if samples > 16:
        assert (mg.OPS["channel_sum"](x) != np.sum(x, axis=(0, 2))).any()  # another order gives other bits


@BOTH
@SAMPLES
@pytest.mark.parametrize("shape", [(5, 7), (11,)])
def test_the_sums_of_batch_norms_gradients_are_the_tree_of_its_chunks(shape, samples, dtype):
    """With a variance of 1 the weight's gradient is the sum itself."""
    channels = shape[:1]
    x, dy, average = drawn(dtype, (samples, *shape), (samples, *shape), channels)
    one = np.ones(channels, dtype)

    def sums(some):
        rule = mg.OPS["batch_norm"].rule
        return rule((dy[some], None, None), x[some], average, one, one, 0.0, None, needs=(False, True, True))[1:]

    by_chunk = zip(*map(sums, chunks(samples)), strict=True)
    for whole, parts in zip(sums(slice(None)), by_chunk, strict=True):
        np.testing.assert_array_equal(whole, tree(parts))


@BOTH
@pytest.mark.parametrize("area", [1, 7])
def test_batch_norms_moments_of_a_chunk_are_those_it_has_alone(area, dtype):
    samples, channels = 43, 5
    (x,) = drawn(dtype, (samples, channels, area))

    def moments(x):
        count = -(-len(x) // CHUNK)
        means, spreads = np.empty((2, count, channels), dtype)
        norm.chunk_moments(1, count, x.reshape(-1), len(x), area, means, spreads)
        return np.stack((means, spreads), 1)

    np.testing.assert_array_equal(moments(x), np.concatenate([moments(x[some]) for some in chunks(samples)]))


@BOTH
@SAMPLES
@pytest.mark.parametrize("shape", [(3,), (17,), (4, 5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_a_batch_is_the_tree_of_its_chunks_losses(smoothing, shape, samples, dtype):
    (x,) = drawn(dtype, (samples, *shape))
    labels = np.random.default_rng(1).integers(0, shape[0], (samples, *shape[1:]))

    def loss(some):
        return F.cross_entropy(x[some], labels[some], reduction="sum", label_smoothing=smoothing)

    np.testing.assert_array_equal(loss(slice(None)), tree(map(loss, chunks(samples))))
