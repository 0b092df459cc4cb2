"""What the gradient checker says is probably wrong."""

import numpy as np
import pytest
from gradchecks import failure, kinds, leaf, op

import minigrad as mg
from minigrad import functional as F

CAUSES = {
    "sign": ("sign", lambda x: (x**2, (x,)), lambda dy, x: -2 * dy * x),
    "factor 2": ("factor", lambda x: (x**2, (x,)), lambda dy, x: 4 * dy * x),
    "missing mean": ("factor", lambda x: ((x**2).mean(0), (x,)), lambda dy, x: 2 * dy * x),
    "zeros": ("zero", lambda x: (x**2, (x,)), lambda dy, x: 0 * x),
    "flipped": ("flipped", lambda x: (x * np.arange(1, 4), (x,)), lambda dy, x: (dy * np.arange(1, 4))[..., ::-1]),
    "transposed": ("transposed", lambda x: (x * 2, ()), lambda dy: 2 * dy.T),
    "edge": ("edge", lambda x: (x * 3, ()), lambda dy: np.where(np.arange(3) < 2, 3.0, 0.0) * dy),
    "single": ("dtype", lambda x: (np.sin(x), (x,)), lambda dy, x: (dy * np.cos(x)).astype(np.float32)),
    "single forward": ("dtype", lambda x: (np.float64(np.sin(np.float32(x))), (x,)), lambda dy, x: dy * np.cos(x)),
    "not linear": ("nonlinear", lambda x: (x * 2.0, ()), lambda dy: 2 * dy * np.abs(dy)),
    "infinite": ("nonfinite", lambda x: (x * 2.0, ()), lambda dy: dy / 0),
    "misshapen": ("shape", lambda x: (x * 2.0, ()), lambda dy: dy[:, :1] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_causes_are_named(name):
    kind, forward, rule = CAUSES[name]
    assert kinds(failure(op(forward, rule), leaf(3, 3)))[0] == kind


def test_a_missing_mean_is_named_with_the_batch():
    report = failure(op(lambda x: ((x**2).mean(0), (x,)), lambda dy, x: 2 * dy * x), leaf(4, 3))
    (cause,) = report.causes
    assert cause.words == "the gradient by x is 4 times what it should be: a missing mean over the batch of 4?"


def test_a_missing_sum_over_a_broadcast_axis_is_named():
    wrong = op(lambda x, b: (x + b, (b.shape,)), lambda dy, shape: (dy, dy), "add_bias")
    (cause,) = failure(wrong, (leaf(2, 3), leaf(3))).causes
    assert cause.kind == "reduction"
    first = op(lambda x, b: (x + b, ()), lambda dy: (dy, dy[0]), "add_bias")
    (cause,) = failure(first, (leaf(2, 3), leaf(3))).causes
    assert cause == (
        "reduction",
        "the gradient by b is not summed over axis 0 of output: only its first element counts",
    )


def test_gradients_that_are_exchanged_are_named():
    wrong = op(lambda a, b: (a * b, (a, b)), lambda dy, a, b: (dy * a, dy * b))
    report = failure(wrong, (leaf(3), leaf(3)))
    assert [c.words for c in report.causes] == ["the gradient by a is that by b", "the gradient by b is that by a"]


def slide(x, w):
    return np.stack([np.correlate(row, w, "valid") for row in x])


@pytest.mark.parametrize(("mode", "kind"), [("right", None), ("flipped", "flipped"), ("overwritten", "overlap")])
def test_a_filter_that_is_flipped_or_overwrites_is_named(mode, kind):
    def rule(dy, x, w):
        dx = np.zeros(x.shape)
        for i in range(dy.shape[1]):
            for u in range(w.size):
                if mode == "overwritten":
                    dx[:, i + u] = dy[:, i] * w[u]
                else:
                    dx[:, i + u] += dy[:, i] * w[::-1][u] if mode == "flipped" else dy[:, i] * w[u]
        return dx, np.array([(dy * x[:, u : u + dy.shape[1]]).sum() for u in range(w.size)])

    inputs = leaf(2, 6), leaf(3)
    func = op(lambda x, w: (slide(x, w), (x, w)), rule)
    if kind is None:
        assert mg.gradcheck(func, inputs)
    else:
        assert kinds(failure(func, inputs)) == [kind]


def test_changes_in_place_are_found():
    def forward(x):
        x *= 2
        return x + 0, ()

    def rule(dy, x):
        x += 1
        return 2 * dy

    assert kinds(failure(op(forward, lambda dy: 2 * dy), leaf(3))) == ["inplace"]
    assert "inplace" in kinds(failure(op(lambda x: (x * 2, (x,)), rule), leaf(3)))


def test_results_that_differ_between_runs_are_found():
    rng = np.random.default_rng(1)
    noisy = op(lambda x: (x * 2, ()), lambda dy: dy * rng.choice([2.0, 2.1], dy.shape))
    assert "nondeterministic" in kinds(failure(noisy, leaf(9)))
    assert kinds(failure(lambda x: F.dropout(x, 0.5), leaf(30))) == ["nondeterministic"]
