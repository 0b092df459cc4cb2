"""The gradient checker in its fast mode, in float32, and with forward mode."""

import numpy as np
import pytest
from gradchecks import RNG, failure, kinds, leaf, op, places
from hypothesis import given, settings, strategies as st

import minigrad as mg
from minigrad import functional as F, nn


@pytest.mark.parametrize("power", [0.9, 0.99])
def test_the_stated_power_of_the_fast_mode_holds(power):
    """The bound is (3/4)^n for any pattern of errors; one wrong element alone is always seen."""
    w = RNG.standard_normal((6, 8))
    missed = runs = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        off = w.copy()
        i, j = rng.integers(6), rng.integers(8)
        a, b = rng.choice(6, 2, replace=False), rng.choice(8, 2, replace=False)
        off[np.ix_(a, b)] += 0.01 * np.abs(w[i, j]) * np.array([[1, 1], [1, -1]])  # half of the signs cancel
        wrong = op(lambda x: (x @ w.T, ()), lambda dy, off=off: dy @ off)
        report = mg.gradcheck(wrong, leaf(1, 8), fast_mode=True, power=power, seed=seed, raise_exception=False)
        missed += report.verdict != "fail"
        runs += 1
    assert missed <= max(1, 3 * (1 - power) * runs)


def test_the_fast_mode_says_what_it_does_not_see():
    report = mg.gradcheck(lambda x: x * np.array([1.0, 1e-14]) + 1, leaf(2), fast_mode=True)
    assert "25 projections: an element wrong by 0.01 of itself is seen with probability 0.999" in repr(report)
    assert "by x; 1 inputs have smaller gradients, unchecked" in repr(report)
    for bad in ({"power": 1.0}, {"delta": 0.0}):
        with pytest.raises(ValueError, match="need delta and power between 0 and 1"):
            mg.gradcheck(lambda x: x, leaf(2), fast_mode=True, **bad)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.01, 0.0, -1.0, 1.5]))
def test_the_fast_mode_finds_one_wrong_weight_of_a_convolution(seed, factor):
    rng = np.random.default_rng(seed)
    x = mg.tensor(rng.standard_normal((2, 2, 5, 5)), requires_grad=True)
    w = mg.tensor(rng.standard_normal((3, 2, 3, 3)), requires_grad=True)
    place = tuple(int(rng.integers(n)) for n in w.shape)

    def rule(dy, x, w):
        with mg.enable_grad():
            leaves = [mg.tensor(a, requires_grad=True) for a in (x, w)]
            dx, dw = (g.data.copy() for g in mg.grad(F.conv2d(*leaves), leaves, dy))
        dw[place] *= factor
        return dx, dw

    def forward(x, w):
        return F.conv2d(x, w), (x, w)

    report = failure(op(forward, rule), (x, w), fast_mode=True, seed=seed)
    assert places(report) == {("w", place)}


def halves(*shape):
    return mg.tensor(RNG.standard_normal(shape), dtype=np.float32, requires_grad=True)


def test_float32_that_is_right_passes():
    xs = halves(2, 2, 5, 5), halves(3, 2, 3, 3)
    for func in (
        F.conv2d,
        lambda x, w: F.conv2d(x, w).relu(),
        lambda x, w: F.softmax(F.conv2d(x, w), 1),
        lambda x, w: x.exp() + w[0, 0, 0, 0],
    ):
        assert mg.gradcheck(func, xs)
    assert mg.gradcheck(F.conv2d, (halves(1, 16, 5, 5), halves(16, 16, 3, 3)))


def test_modules_in_float32_are_checked():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    assert mg.gradcheck(model, halves(2, 1, 6, 6))
    assert all(p.dtype == np.float32 for p in model.parameters())


@pytest.mark.parametrize("factor", [1.01, 0.0, -1.0])
def test_a_mistake_in_float32_alone_is_found_and_named(factor):
    def spoil(rule):
        def spoilt(dy, *saved):
            dx = rule(dy, *saved)
            if dx.dtype == np.float32:
                dx[1] *= np.float32(factor)
            return dx

        return spoilt

    linear = op(lambda x: (x * x.dtype.type(3), ()), spoil(lambda dy: dy * dy.dtype.type(3)))
    curved = op(lambda x: (x * x, (x,)), spoil(lambda dy, x: dy * x * x.dtype.type(2)))
    for func in (linear, curved):
        assert places(failure(func, halves(4))) == {("x", (1,))}


def test_linear_kernels_for_float32_alone_are_checked_by_their_transpose():
    def forward(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.cumsum(x), ()

    def rule(dy):
        return np.cumsum(dy[::-1])[::-1].copy()

    x = halves(40)
    assert mg.gradcheck(op(forward, rule), x)
    report = failure(op(forward, lambda dy: rule(dy) * (1 + 0.01 * (np.arange(40) == 7)).astype(np.float32)), x)
    assert kinds(report)[0] == "adjoint"
    assert places(report) == {("x", (7,))}
    with pytest.raises(TypeError, match="the function is not linear in x, and cannot be computed in float64"):
        mg.gradcheck(op(lambda x: (forward(x)[0] ** 2, (x,)), lambda dy, x: dy), x)


def test_a_function_that_is_wrong_in_float32_alone_is_found():
    off = op(lambda x: (x * x if x.dtype == np.float64 else x * x * np.float32(1.1), (x,)), lambda dy, x: dy * (x + x))
    assert "values" in kinds(failure(off, halves(3)))


def test_forward_mode_is_compared_with_reverse_mode():
    assert mg.gradcheck(F.conv2d, (leaf(1, 2, 4, 4), leaf(2, 2, 3, 3)), check_forward_ad=True)
    frozen = op(lambda x: (x * 2.0, ()), lambda dy: 2 * np.abs(mg.as_tensor(dy).data) * np.sign(mg.as_tensor(dy).data))
    report = failure(frozen, leaf(3), check_forward_ad=True)
    assert "forward" in kinds(report)
