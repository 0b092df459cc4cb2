"""Denormal numbers: products count them as 0, in their own calls only; what moves or gates values keeps them."""

import platform

import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

import minigrad as mg
from minigrad import functional as F
from minigrad.kernels.jit import kernel
from minigrad.kernels.simd import reset_flush, set_flush
from minigrad.kernels.threads import LEAST_WORK

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only there they are flushed")

FAINT = np.float32(1e-39)  # the smallest normal number of float32 is 1.2e-38


def drawn(*shape, scale=1.0):
    rng = np.random.default_rng(7)
    return (rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)).astype(np.float32) * np.float32(scale)


PRODUCTS = {
    "over channels": (lambda x, w: F.conv2d(x, w), (1, 5, 9, 9), (17, 5, 3, 3)),
    "over images": (lambda x, w: F.conv2d(x, w), (16, 1, 9, 9), (3, 1, 3, 3)),
    "of one channel each": (lambda x, w: F.conv2d(x, w, groups=5), (16, 5, 9, 9), (5, 1, 3, 3)),
    "winograd": (lambda x, w: F.conv2d(x, w, padding=1), (9, 16, 8, 8), (16, 16, 3, 3)),
    "transposed": (lambda x, w: F.conv_transpose2d(x, w, stride=2), (3, 4, 5, 5), (4, 3, 3, 3)),
    "locally connected": (lambda x, w: F.locally_connected2d(x, w), (9, 2, 4, 4), (2, 2, 3, 2, 3, 3)),
    "1x1": (F.conv1x1, (3, 5, 4, 4), (7, 5)),
    "linear": (F.linear, (9, 20), (13, 20)),
    "matmul": (mg.matmul, (9, 20), (20, 13)),
}


@pytest.mark.parametrize("name", list(PRODUCTS))
@pytest.mark.parametrize("faint", [0, 1, 2], ids=["input", "weight", "dy"])
def test_a_product_counts_denormals_as_zero_in_values_and_gradients(name, faint):
    """Exactly 0 comes out, although with factors so large the products would be normal numbers."""
    function, *shapes = PRODUCTS[name]
    x, w = (mg.tensor(drawn(*s, scale=FAINT if i == faint else 1e6), requires_grad=True) for i, s in enumerate(shapes))
    y = function(x, w)
    dx, dw = mg.grad(y, [x, w], drawn(*y.shape, scale=FAINT if faint == 2 else 1e6))
    for array, factors in (y, (0, 1)), (dx, (1, 2)), (dw, (0, 2)):
        assert (array.detach().numpy() == 0).all() == (faint in factors)


def test_dropout_counts_denormals_as_zero():
    x = mg.tensor(drawn(64, 300, scale=FAINT))
    assert (F.dropout(x, 0.5).numpy() == 0).all()


def on_every_thread():
    """Products of denormals in kernels that keep them, on all threads; in NumPy on this one."""
    x = mg.tensor(np.full(64 * LEAST_WORK, -FAINT))
    return np.concatenate([F.leaky_relu(x, 0.5).numpy(), x.numpy() * np.float32(0.5)])


def test_after_a_launch_no_thread_flushes_any_more():
    for batch in (1, 64):  # on this thread alone, and on all of them
        shapes = (batch, 16, 16, 16), (16, 16, 3, 3)
        x, w = (mg.tensor(drawn(*shape), requires_grad=True) for shape in shapes)
        for _ in range(5):
            F.conv2d(x, w, padding=1).sum().backward()
            assert (on_every_thread() == -FAINT * np.float32(0.5)).all()


@intrinsic
def flush(typing):
    return types.uint32(), lambda context, builder, signature, args: set_flush(builder)


@intrinsic
def restore(typing, before):
    def codegen(context, builder, signature, args):
        reset_flush(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.uint32), codegen


def test_a_state_that_leaked_would_show():
    @kernel
    def leak():
        return flush()

    @kernel
    def mend(state):
        restore(state)

    state = leak()
    try:
        found = np.full(100, FAINT) * np.float32(0.5)
    finally:
        mend(state)
    assert (found == 0).all()
    assert (on_every_thread() != 0).all()


@pytest.mark.parametrize(
    "keeps",
    [
        F.relu,
        lambda x: F.leaky_relu(x, 0.5) * 1.0,
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, 1, 1),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        F.global_avg_pool2d,
    ],
    ids=["relu", "leaky_relu", "max_pool", "max_pool_any", "avg_pool", "avg_pool_any", "global_avg_pool"],
)
def test_gates_and_pooling_keep_denormals_forward_and_backward(keeps):
    """As 2^-20 times smaller than what they do to numbers 2^20 times larger."""
    x = np.abs(drawn(3, 2, 20, 20)) * np.float32(2.0**-110)
    faint, large = (mg.tensor(x * np.float32(scale), requires_grad=True) for scale in (2.0**-20, 1.0))
    assert (faint.detach().numpy() < np.finfo(np.float32).smallest_normal).all()
    y, right = keeps(faint), keeps(large)
    dy = np.abs(drawn(*y.shape)) * np.float32(2.0**-110)
    (dx,), (wanted,) = mg.grad(y, faint, dy * np.float32(2.0**-20)), mg.grad(right, large, dy)
    for found, expected in (y, right), (dx, wanted):
        values, scaled = found.detach().numpy(), expected.detach().numpy() * np.float32(2.0**-20)
        assert ((values != 0) == (scaled != 0)).all()
        np.testing.assert_allclose(values, scaled, rtol=0, atol=float(np.finfo(np.float32).smallest_subnormal) * 16)
