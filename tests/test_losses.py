"""Losses against plain NumPy: reductions, weights, what is ignored, smoothing, extremes, targets that do not fit."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given, strategies as st

import minigrad as mg
from minigrad import functional as F

RNG = np.random.default_rng(8)
PAIRED = {
    "mse_loss": (F.mse_loss, lambda x, t: (x - t) ** 2),
    "l1_loss": (F.l1_loss, lambda x, t: np.abs(x - t)),
    "huber_loss": (F.huber_loss, lambda x, t: scipy.special.huber(1.0, x - t)),
    "binary_cross_entropy": (F.binary_cross_entropy, lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x))),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        lambda x, t: np.logaddexp(0, x) - t * x,
    ),
}


def pair(name, shape):
    """An input and a target that the loss takes."""
    x, t = RNG.uniform(0.05, 0.95, (2, *shape))
    return (x if name == "binary_cross_entropy" else 6 * x - 3), t


@pytest.mark.parametrize("name", list(PAIRED))
@given(st.lists(st.integers(0, 4), max_size=3))
def test_reductions_are_the_values_their_sum_and_their_mean(name, shape):
    function, right = PAIRED[name]
    x, t = pair(name, shape)
    each = right(x, t)
    np.testing.assert_allclose(function(x, t, reduction="none"), each, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(function(x, t, reduction="sum"), each.sum(), rtol=1e-10, atol=1e-12)
    mean = each.mean() if each.size else np.nan
    np.testing.assert_allclose(function(x, t), mean, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", list(PAIRED))
def test_losses_by_value_take_integer_targets_and_have_right_derivatives(name):
    function, right = PAIRED[name]
    x, _ = pair(name, (3, 4))
    t = RNG.integers(0, 2, (3, 4))
    np.testing.assert_allclose(function(x, t, reduction="none"), right(x, t), rtol=1e-10, atol=1e-12)
    assert function(x.astype(np.float32), t).dtype == np.float32
    assert function(mg.tensor(x.astype(np.float32)), t).dtype == np.float32
    xs = [mg.tensor(a, requires_grad=True) for a in pair(name, (2, 3))]
    mg.gradcheck(lambda x, t: function(x, t, reduction="none"), xs)
    mg.gradgradcheck(lambda x, t: function(x, t, reduction="none"), xs)


def test_huber_is_quadratic_up_to_delta_and_linear_beyond():
    d = np.array([-9.0, -2.0, -0.5, 0.0, 1.0, 2.0, 9.0])
    x = mg.tensor(d, requires_grad=True)
    y = F.huber_loss(x, np.zeros(7), reduction="none", delta=2.0)
    np.testing.assert_allclose(y.data, scipy.special.huber(2.0, d))
    dy = RNG.standard_normal(7)
    np.testing.assert_allclose(mg.grad(y, x, dy)[0].data, np.clip(d, -2, 2) * dy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_of_extreme_scores_are_finite_and_so_are_their_gradients(dtype):
    x = mg.tensor(np.array([[1e4, -1e4, 0], [-1e4, 1e4, 3]], dtype), requires_grad=True)
    for loss, expected in [
        (F.cross_entropy(x, np.array([1, 1]), reduction="none"), [2e4, 0]),
        (F.binary_cross_entropy_with_logits(x, np.array([[0, 1, 1], [0, 1, 1]]), reduction="none").sum(1), None),
    ]:
        if expected is not None:
            np.testing.assert_allclose(loss.data, expected)
        assert np.isfinite(loss.data).all()
        assert np.isfinite(mg.grad(loss, x, np.array([0.7, -1.3], dtype))[0].data).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_bounds_its_logarithms_at_minus_100(dtype):
    x = mg.tensor(np.array([0, 0, 1, 1, 1e-30, 0.5], dtype), requires_grad=True)
    t = np.array([0, 1, 0, 1, 1, 1], dtype)
    y = F.binary_cross_entropy(x, t, reduction="none")
    np.testing.assert_allclose(y.data, [0, 100, 100, 0, -np.log(1e-30), np.log(2)], rtol=1e-6)
    (dx,) = mg.grad(y, x, np.array([2, 2, 2, 2, 2, 2], dtype))
    # By p: (p - t) / (p (1 - p)), with a divisor of at least 1e-12.
    np.testing.assert_allclose(dx.data, [0, -2e12, 2e12, 0, -2e12, -4], rtol=1e-5)


def test_class_weights_do_not_lose_their_history_silently():
    weight = mg.tensor([1.0, 2.0], requires_grad=True)
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(ValueError, match=f"^{loss.__name__}: weight is a constant"):
            loss(np.zeros((1, 2), np.float32), np.array([0]), weight=weight)


def test_weights_as_tensors_beside_scores_in_foreign_bytes_are_the_same_weights():
    scores = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    weight = mg.tensor(np.array([1, 2, 3], np.float32))
    expected = F.cross_entropy(scores, np.arange(4) % 3, weight)
    np.testing.assert_array_equal(F.cross_entropy(scores.astype(">f4"), np.arange(4) % 3, weight), expected)


def test_weights_of_binary_losses_broadcast():
    x, t = pair("binary_cross_entropy", (4, 3))
    weight, positive = RNG.uniform(0.5, 2, (2, 3))
    each = -(t * np.log(x) + (1 - t) * np.log(1 - x))
    np.testing.assert_allclose(F.binary_cross_entropy(x, t, weight), (weight * each).mean())
    s = scipy.special.expit(x)
    each = -(positive * t * np.log(s) + (1 - t) * np.log(1 - s))
    found = F.binary_cross_entropy_with_logits(x, t, weight, pos_weight=positive)
    np.testing.assert_allclose(found, (weight * each).mean())


# Classes


@st.composite
def scores_and_classes(draw):
    shape = draw(st.sampled_from([(3,), (4, 3), (1, 2), (2, 3, 2), (2, 3, 2, 2)]))
    labels_shape = () if len(shape) == 1 else (shape[0], *shape[2:])
    classes = shape[0] if len(shape) == 1 else shape[1]
    labels = RNG.integers(0, classes, labels_shape)
    labels = np.where(RNG.random(labels_shape) < draw(st.sampled_from([0, 0.4])), -100, labels)
    kind = draw(st.sampled_from([np.int64, np.int32, np.int8]))
    weight = RNG.uniform(0.5, 2, classes) if draw(st.booleans()) else None
    return RNG.standard_normal(shape), labels.astype(kind), weight


@given(scores_and_classes(), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_cross_entropy_agrees_with_its_definition(case, smoothing, as_tensor):
    x, labels, weight = case
    dim = 0 if x.ndim == 1 else 1
    classes = x.shape[dim]
    logs = np.moveaxis(scipy.special.log_softmax(x, dim), dim, -1)
    w = np.ones(classes) if weight is None else weight
    kept, safe = labels != -100, np.where(labels == -100, 0, labels)
    target = (1 - smoothing) * np.eye(classes)[safe] + smoothing / classes
    each = np.where(kept, -(target * w * logs).sum(-1), 0)
    share = np.where(kept, w[safe], 0)
    given_ = mg.tensor(labels) if as_tensor else labels
    settings_ = {"weight": weight, "label_smoothing": smoothing}
    np.testing.assert_allclose(F.cross_entropy(x, given_, reduction="none", **settings_), each, atol=1e-12)
    np.testing.assert_allclose(F.cross_entropy(x, given_, reduction="sum", **settings_), each.sum(), atol=1e-12)
    mean = each.sum() / share.sum() if share.any() else np.nan
    np.testing.assert_allclose(F.cross_entropy(x, given_, **settings_), mean, atol=1e-12)
    if smoothing == 0:
        nll = F.nll_loss(np.moveaxis(logs, -1, dim), given_, weight)
        np.testing.assert_allclose(nll, mean, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_probability_targets_agree_with_class_targets_and_have_gradients_too(smoothing):
    x, labels, weight = RNG.standard_normal((4, 3)), np.array([0, 2, 1, 1]), np.array([0.5, 1.0, 2.0])
    codes = np.eye(3)[labels]
    for reduction in ("none", "sum"):
        by_class = F.cross_entropy(x, labels, weight, reduction=reduction, label_smoothing=smoothing)
        by_code = F.cross_entropy(x, codes, weight, reduction=reduction, label_smoothing=smoothing)
        np.testing.assert_allclose(by_code, by_class)
    np.testing.assert_allclose(
        F.cross_entropy(x, codes, weight), F.cross_entropy(x, codes, weight, reduction="sum") / 4
    )
    xs = [mg.tensor(a, requires_grad=True) for a in (x, codes)]
    mg.gradcheck(lambda x, t: F.cross_entropy(x, t, weight, label_smoothing=smoothing), xs)


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("labels", [np.full(3, -100), np.full(0, 1)], ids=["all ignored", "empty"])
def test_the_mean_of_nothing_is_nan_with_gradients_of_zero(function, labels):
    x = mg.tensor(RNG.standard_normal((len(labels), 4)), requires_grad=True)
    loss = function(x, labels)
    assert np.isnan(loss.item())
    assert function(x, labels, reduction="sum").item() == 0
    np.testing.assert_array_equal(mg.grad(loss, x, 3.0)[0].data, np.zeros(x.shape))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", [(21, 5, 3), (21, 5, 1), (21, 19, 1)])
def test_the_fused_cross_entropy_is_the_composed_one(reduction, smoothing, shape):
    """Losses one by one go by log_softmax."""
    samples, classes, pixels = shape
    x, labels = mg.tensor(RNG.standard_normal(shape), requires_grad=True), RNG.integers(0, classes, (samples, pixels))
    labels[4, 0], weight = 3, RNG.uniform(0.5, 2, classes)
    settings = {"ignore_index": 3, "label_smoothing": smoothing}
    fused = F.cross_entropy(x, labels, weight, reduction=reduction, **settings)
    each = F.cross_entropy(x, labels, weight, reduction="none", **settings)
    composed = each.sum() / (weight[labels] * (labels != 3)).sum() if reduction == "mean" else each.sum()
    np.testing.assert_allclose(fused.item(), composed.item(), rtol=1e-13)
    found, right = (mg.grad(loss, x, 1.7)[0].data for loss in (fused, composed))
    np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-15)


def test_labels_may_be_overwritten_between_forward_and_backward():
    x, labels = mg.tensor(RNG.standard_normal((4, 3)), requires_grad=True), np.array([0, 1, 2, 1])
    right = mg.grad(F.cross_entropy(x, labels), x, 1.0)[0].data
    loss = F.cross_entropy(x, labels)
    labels[:] = 2**40
    np.testing.assert_array_equal(mg.grad(loss, x, 1.0)[0].data, right)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_what_is_ignored_counts_nothing_even_if_it_is_infinite(smoothing):
    x = RNG.standard_normal((3, 4))
    expected = F.cross_entropy(x[:2], np.array([1, 3]), label_smoothing=smoothing)
    x[2, 0] = -np.inf
    leaf = mg.tensor(x, requires_grad=True)
    loss = F.cross_entropy(leaf, np.array([1, 3, 2]), ignore_index=2, label_smoothing=smoothing)
    np.testing.assert_allclose(loss.item(), expected)
    assert not mg.grad(loss, leaf, 1.5)[0].data[2].any()


def test_class_losses_have_right_derivatives_to_second_order():
    x, labels = mg.tensor(RNG.standard_normal((3, 4, 2)), requires_grad=True), np.array([[0, 3], [-100, 1], [2, 2]])
    weight = np.array([0.5, 1.0, 2.0, 3.0])
    for function in (F.nll_loss, lambda *a: F.cross_entropy(*a, label_smoothing=0.1)):
        mg.gradcheck(lambda x, f=function: f(x, labels, weight), [x])
        mg.gradgradcheck(lambda x, f=function: f(x, labels, weight), [x])


X = RNG.standard_normal((4, 3))
LABELS = np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "words"),
    [
        ((X, LABELS + 1), {}, ValueError, r"classes in \[0, 3\), got 3"),
        ((X, LABELS - 1), {}, ValueError, r"classes in \[0, 3\), got -1"),
        ((X, LABELS[:3]), {}, ValueError, r"target \(4,\) for input \(4, 3\), got \(3,\)"),
        ((X, LABELS > 0), {}, TypeError, "need integer class numbers as target, got bool"),
        ((X, LABELS, np.ones(4)), {}, ValueError, r"need weight \(3,\), one for each class, got \(4,\)"),
        ((X, LABELS), {"reduction": "average"}, ValueError, "reduction 'mean', 'sum' or 'none', got 'average'"),
        ((X[:, :0], LABELS - LABELS - 100), {}, ValueError, r"with C > 0, got \(4, 0\)"),
        ((X.astype(int), LABELS), {}, TypeError, "need float32 or float64, got int64"),
    ],
)
def test_class_losses_refuse_by_name(arguments, settings, error, words):
    for function in (F.cross_entropy, F.nll_loss):
        with pytest.raises(error, match=f"^{function.__name__}: .*{words}"):
            function(*arguments, **settings)


def test_other_losses_refuse_by_name():
    for name, (function, _) in PAIRED.items():
        x, t = pair(name, (2, 3))
        with pytest.raises(
            ValueError, match=rf"^{name}: need input and target of one shape, got \(2, 3\) and \(2, 2\)"
        ):
            function(x, t[:, :2])
        with pytest.raises(ValueError, match=rf"^{name}: need reduction .* got 'all'"):
            function(x, t, reduction="all")
        with pytest.raises(TypeError, match=rf"^{name}: need reduction as a string, got None"):
            function(x, t, reduction=None)
    for bad in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"^binary_cross_entropy: need probabilities in \[0, 1\], got"):
            F.binary_cross_entropy(np.array([0.5, bad]), np.ones(2))
    with pytest.raises(ValueError, match=r"^huber_loss: need delta above 0, got 0"):
        F.huber_loss(X, X, delta=0)
    with pytest.raises(ValueError, match=r"^cross_entropy: need 0 <= label_smoothing <= 1, got 2"):
        F.cross_entropy(X, LABELS, label_smoothing=2)
    with pytest.raises(
        ValueError, match=r"^cross_entropy: need input and target of one shape, got \(4, 3\) and \(4,\)"
    ):
        F.cross_entropy(X, LABELS * 1.0)
