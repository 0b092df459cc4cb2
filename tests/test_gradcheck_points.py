"""The gradient checker where it is hard: at kinks and jumps, in noise, at odd scales, at the ends of domains."""

import numpy as np
import pytest
from gradchecks import RNG, failure, leaf, op, places

import minigrad as mg
from minigrad import functional as F, nn


@pytest.mark.parametrize(
    ("func", "x"),
    [
        (F.relu, np.array([0.0, 1.0, -1.0, 0.0, -0.0])),
        (F.leaky_relu, np.array([0.0, 2.0])),
        (lambda x: F.max_pool2d(x, 2), np.zeros((1, 2, 4, 4))),
        (lambda x: F.max_pool2d(x, 3, 1), np.tile([1.0, 2.0], (1, 1, 6, 3))),
        (lambda x: x.max(1)[0], np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])),
        (lambda x: x.abs().sum(), np.array([0.0, 0.5, 0.0])),
        (lambda x: mg.maximum(x, x * 0 + 1), np.array([1.0, 2.0])),
    ],
)  # fmt: skip
def test_kinks_and_ties_are_no_mistakes_and_are_reported(func, x):
    report = mg.gradcheck(func, mg.tensor(x, requires_grad=True))
    assert report
    assert report.kinks
    assert "at a kink" in repr(report)


def test_at_a_kink_values_beyond_the_one_sided_derivatives_are_wrong():
    steep = op(lambda x: (np.maximum(x, 0), (x,)), lambda dy, x: dy * np.where(x > 0, 1, np.where(x == 0, 1.1, 0)))
    x = mg.tensor([0.0, 1.0, -1.0], dtype=np.float64, requires_grad=True)
    assert places(failure(steep, x)) == {("x", (0,))}


def test_kinks_near_the_point_are_stepped_around():
    x = mg.tensor([1e-3, -1e-4, 1.0, -1e-5], dtype=np.float64, requires_grad=True)
    report = mg.gradcheck(F.relu, x)
    assert report
    assert not report.kinks


def test_noise_that_hides_the_derivative_is_undecided_and_does_not_raise():
    def noisy(x):
        return x + 1e-3 * np.sin(1e9 * x), (x,)

    report = mg.gradcheck(op(noisy, lambda dy, x: dy), leaf(3))
    assert report.verdict == "undecided"
    assert not report
    assert len(report.undecided) == 3
    assert "undecided" in repr(report)


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 1e3, 1e8])
def test_steps_follow_the_scale_of_the_input(scale):
    x = mg.tensor(RNG.uniform(0.5, 2, 5) * scale, requires_grad=True)
    for func in (mg.log, lambda x: x**3, lambda x: (x / scale).exp(), lambda x: x * 2):
        assert mg.gradcheck(func, x)
        assert mg.gradcheck(func, x, order=2)
    failure(op(lambda x: (np.log(x), (x,)), lambda dy, x: 1.01 * dy / x), x)


def test_linear_maps_are_checked_to_rounding():
    w = RNG.standard_normal((3, 4))
    off = w.copy()
    off[1, 2] *= 1 + 1e-8
    x = leaf(5, 4)
    report = failure(op(lambda x: (x @ w.T, ()), lambda dy: dy @ off), x, rtol=0.0)
    assert {element.input_index[1] for element in report.wrong} == {2}
    assert mg.gradcheck(op(lambda x: (x @ w.T, ()), lambda dy: dy @ w), x, rtol=0.0)


def test_domains_are_not_left():
    x = mg.tensor([1e-4, 0.9999, 0.5], dtype=np.float64, requires_grad=True)
    assert mg.gradcheck(lambda x: F.binary_cross_entropy(x, np.array([0.0, 1.0, 0.3])), x)
    assert mg.gradcheck(mg.log, x)
    assert mg.gradcheck(mg.asin, x)


def tied_network():
    """A convolution, ReLU, pooling and a linear layer, whose windows are all tied at an input of one value."""
    mg.manual_seed(21)
    layers = nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2)
    return nn.Sequential(*layers).double()


HARD = {
    "several kinks at once": (tied_network(), np.full((1, 1, 5, 5), 0.0566)),
    "steps of a staircase": (mg.floor, np.array([9.7, -1103956.3, 526.7])),
    "a staircase that looks affine": (mg.floor, np.array([345.2])),
    "many digits of integers": (mg.round, np.array([-1.8, 874191.2, 1640.2])),
    "slopes lost in rounding": (
        lambda x: F.nll_loss(F.log_softmax(x, 1), np.array([2, 1])),
        np.array([[-103.0104201, -1471.1388266, 175.6474106], [-404.1103689, 2037.3395720, -1159.6366074]]),
    ),
    "a sharp bend": (lambda x: F.group_norm(x, 1), np.full((1, 2, 2), 520.556)),
    "a minimum but for rounding": (
        lambda x: F.huber_loss(x[0], x[1], reduction="sum"),
        np.array([[0.0, 1.000000000001, -0.999999999999, -0.999999]] * 2),
    ),
    "equal values": (lambda x: x.var(1, correction=0), np.full((2, 3), 0.34215647568796065)),
    "half a parabola's foot": (lambda x: F.relu(x) ** 2, np.zeros(1)),
    "a rule that cancels": (
        lambda q: F.softmax(q @ np.array([[1e3, 1e-3, 1e3], [1e3, 1e-9, 1e3]]), 1) @ np.eye(3, 2) * 1e3,
        np.array([[12510.8, -349.6], [-60855.3, -217.0]]),
    ),
    "a rule that gives rounding alone": (
        lambda x: F.softmax(x[0] @ x[1].T, 1) @ np.full((3, 2), 511.4759813561798),
        np.array([[[-1e3, -1e3], [-1e3, 1e-6], [-1e3, 1e-9]], [[0, 1e-3], [1e-6, -1e3], [1e3 + 1e-9, 1e-9]]]),
    ),
    "outputs and gradients that cancel": (
        lambda x: F.layer_norm(x, (2,), np.array([-1.424069, 0]), np.array([-1.424069, 0])),
        np.array([[0, 876.7043927], [0, 1044.17627857]]),
    ),
    "outputs of next to nothing": (
        lambda x: F.binary_cross_entropy_with_logits(x, np.array([1.0, 0.0])), np.array([352.763921, -748848.899])
    ),
    "a minimum from which steps differ by rounding": (
        lambda x: ((x - np.array([1.0, 0.0, -1.0])) ** 2).sum(), np.array([1.0, 1e-12, -0.999999999])
    ),
    "a kink beside the point": (F.relu, np.array([1e-12, -1e-3, -9.9989e-4, 1e-9])),
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_right_functions_pass_where_differences_mislead(name):
    func, x = HARD[name]
    assert mg.gradcheck(func, mg.tensor(x, requires_grad=True))
    assert mg.gradcheck(func, mg.tensor(x, requires_grad=True), fast_mode=True)


def test_a_peak_beside_next_to_nothing_overflows_no_projection():
    peak = 2.0**-9  # where the first look along a direction goes
    x = mg.tensor([1.0], dtype=np.float64, requires_grad=True)
    assert mg.gradcheck(lambda x: mg.exp(-575 * (((x - 1) / peak) ** 2 - 1) ** 2), x, fast_mode=True).verdict != "fail"
