"""Gradients of a convolution, ReLU and 2 x 2 pooling from the winners alone, against a loop over the winners."""

import numpy as np
import pytest
import reference
from hypothesis import assume, given, strategies as st

import minigrad as mg
from minigrad.kernels.winners import winner_gradients
from minigrad.ops import winners
from minigrad.ops.correlation import lanes
from minigrad.ops.geometry import window_axes

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SIDE_BY_SIDE = "channels side by side", "pixels side by side"


class Case:
    """A layer with values for everything: what its op gives, and what the loop does."""

    def __init__(self, dtype, samples, channels, filters, sizes, window, stride=1, padding=0, dilation=1, groups=1):
        self.axes, self.groups = window_axes("test", sizes, window, stride, padding, dilation), groups
        rng = np.random.default_rng(3)
        self.x = rng.standard_normal((samples, channels * groups, *sizes)).astype(dtype)
        self.w = rng.standard_normal((filters * groups, channels, *(a.window for a in self.axes))).astype(dtype)
        self.b = rng.standard_normal(len(self.w)).astype(dtype)
        pooled = samples, len(self.w), *(a.out // 2 for a in self.axes)
        self.dy = rng.standard_normal(pooled).astype(dtype)

    def walk(self, wants_dx=True):
        channels, filters = self.w.shape[1], len(self.w) // self.groups
        return winners.walk(self.axes, channels, filters, self.groups, lanes(self.x.dtype), wants_dx)

    def run(self, wants_dx=True):
        x, w, b = (
            mg.tensor(self.x, requires_grad=wants_dx),
            *(mg.tensor(a, requires_grad=True) for a in (self.w, self.b)),
        )
        y = mg.OPS["conv2d_relu_max_pool2d"](x, w, b, axes=self.axes, groups=self.groups)
        y.backward(self.dy)
        return [v.grad.numpy() for v in (x, w, b) if v.requires_grad]

    def by_winners(self, wants_dx=True):
        y = mg.OPS["conv2d"](self.x, self.w, self.b, axes=self.axes, groups=self.groups)
        found = reference.winner_gradients(self.dy, y, self.x, self.w, self.axes, self.groups)
        return found if wants_dx else found[1:]


def same(found, right):
    for a, b in zip(found, right, strict=True):
        finite = np.abs(b[np.isfinite(b)]).max(initial=1)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=200 * np.finfo(a.dtype).eps * finite)


@st.composite
def layers(draw, kind):
    """A geometry that goes by winners, for either dtype."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    step = lanes(np.dtype(dtype))
    width = draw(st.integers(step // 2 + 1, step) if kind == SIDE_BY_SIDE[1] else st.integers(1, 4))
    channels = draw(st.integers(1, step // 2) if kind == SIDE_BY_SIDE[1] else st.integers(step // 2 + 1, 2 * step + 1))
    window = draw(st.integers(1, 4)), width
    dilation = draw(st.integers(1, 2)), 1 if kind == SIDE_BY_SIDE[1] else draw(st.integers(1, 2))
    sizes = tuple(draw(st.integers(d * (f - 1) + 1, d * (f - 1) + 9)) for d, f in zip(dilation, window, strict=True))
    stride, padding = draw(st.integers(1, 2)), tuple(draw(st.integers(0, 2)) for _ in window)
    counts = draw(st.integers(1, 19)), channels, draw(st.integers(1, 4))
    case = Case(dtype, *counts, sizes, window, stride, padding, dilation, draw(st.sampled_from([1, 1, 2])))
    assume(min(a.out for a in case.axes) >= 2)
    return case


@pytest.mark.parametrize("kind", SIDE_BY_SIDE)
@given(st.data())
def test_gradients_agree_with_the_loop(kind, data):
    case = data.draw(layers(kind))
    wants_dx = kind == SIDE_BY_SIDE[0]
    assert case.walk(wants_dx) is not None
    same(case.run(wants_dx), case.by_winners(wants_dx))
    if wants_dx:  # the same dw and db where dx is not wanted
        for a, b in zip(case.run(True)[1:], case.run(False), strict=True):
            np.testing.assert_array_equal(a, b)


@BOTH
@pytest.mark.parametrize("window", [(1, 1), (1, 2), (2, 2), (2, 3), (5, 5)])
def test_windows_that_fill_no_tile_or_several_agree_with_the_loop(window, dtype):
    case = Case(dtype, 3, lanes(np.dtype(dtype)), 2, (7, 8), window)
    same(case.run(), case.by_winners())


@BOTH
def test_the_way_is_chosen_by_how_many_lanes_it_fills(dtype):
    step = lanes(np.dtype(dtype))
    for channels, wants_dx, is_taken in [
        (step // 2, True, False),
        (step // 2 + 1, True, True),
        (step, True, True),
        (step + step // 2 + 1, True, True),
        (step // 2, False, False),
        (step // 2 + 1, False, True),
    ]:
        assert (Case(dtype, 1, channels, 2, (6, 6), 1).walk(wants_dx) is not None) == is_taken
    for width, is_taken in [(step // 2, False), (step // 2 + 1, True), (step, True), (step + 1, False)]:
        assert (Case(dtype, 1, 1, 2, (30, 30), (3, width)).walk(wants_dx=False) is not None) == is_taken
        assert Case(dtype, 1, 1, 2, (30, 30), (3, width)).walk() is None
    assert Case(dtype, 1, 1, 2, (60, 60), step, dilation=(2, 1)).walk(wants_dx=False) is not None
    assert Case(dtype, 1, 1, 2, (60, 60), step, dilation=(1, 2)).walk(wants_dx=False) is None


@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_tables_are_as_the_kernel_takes_them(channels, height, width, wants_dx):
    tables = Case(np.float32, 1, channels, 2, (6, 7), (height, width)).walk(wants_dx)
    assert tables is None or all(t.flags.carray and t.dtype == np.int64 for t in tables)


@BOTH
def test_the_rule_goes_by_winners_and_under_create_graph_by_the_chain(dtype, monkeypatch):
    launched = []
    monkeypatch.setattr(
        winners.kernels, "winner_gradients", lambda *args: launched.append(args) or winner_gradients(*args)
    )
    case = Case(dtype, 9, lanes(np.dtype(dtype)), 3, (8, 9), 5, padding=1)
    arrays = case.run()
    assert len(launched) == 1
    xs = [mg.tensor(a, requires_grad=True) for a in (case.x, case.w, case.b)]
    y = mg.OPS["conv2d_relu_max_pool2d"](*xs, axes=case.axes)
    chain = mg.grad(y, xs, case.dy, create_graph=True)
    assert len(launched) == 1
    same(arrays, [g.detach().numpy() for g in chain])


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_infinite_gradient_reaches_what_its_winner_saw_and_no_more(value, dtype):
    case = Case(dtype, 3, lanes(np.dtype(dtype)), 4, (9, 10), 3, padding=1)
    clean = case.run()
    case.dy[1, 2, 1, 2] = value
    found, right = case.run(), case.by_winners()
    assert not np.isfinite(right[0]).all()
    for a, b in zip(found, right, strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    same(found, right)
    np.testing.assert_array_equal(found[0][[0, 2]], clean[0][[0, 2]])


@BOTH
def test_what_no_winner_saw_is_not_multiplied(dtype):
    case = Case(dtype, 2, lanes(np.dtype(dtype)), 2, (6, 6), 2)  # five outputs each way: the last has no partner
    case.x[0, 1, 5, 5] = np.inf
    assert all(np.isfinite(g).all() for g in case.run())
    same(case.run(), case.by_winners())


@BOTH
def test_a_shut_gate_and_an_empty_batch_give_zeros(dtype):
    case = Case(dtype, 5, lanes(np.dtype(dtype)), 3, (6, 7), 3)
    case.b[:] = -1e3
    assert not any(g.any() for g in case.run())
    empty = Case(dtype, 0, lanes(np.dtype(dtype)), 3, (6, 7), 3)
    shapes = [a.shape for a in (empty.x, empty.w, empty.b)]
    assert [g.shape for g in empty.run()] == shapes
    assert not any(g.any() for g in empty.run())
