"""Mistakes in losses."""

import numpy as np
from scipy.special import expit

from .row import Family, distinct

LOGITS, LABELS = distinct(4, 3), np.array([2, 0, 2, -1])  # -1 is ignored
WEIGHTS = np.array([0.5, 1.0, 2.0])


def cross_entropy(x, *, labels=LABELS, smoothing=0.0, weights=None):
    """The mean of -log p[label] over the samples with a label, each weighed by its class."""
    logs = x - np.log(np.exp(x).sum(1, keepdims=True))
    one_hot = np.eye(x.shape[1])[labels]
    weights = np.ones(x.shape[1]) if weights is None else weights
    share = (labels >= 0) * weights[labels]
    targets = (1 - smoothing) * one_hot + smoothing / x.shape[1]
    return -(share * (targets * logs).sum(1)).sum() / share.sum(), (np.exp(logs), one_hot, targets, share)


def cross_entropy_vjp(dy, p, one_hot, targets, share):
    return dy * share[:, None] * (p - targets) / share.sum()


entropy = Family("cross-entropy", cross_entropy, cross_entropy_vjp, (LOGITS,))


@entropy.mistake({"x": np.s_[:3]}, "factor")
def not_divided_by_the_count(dy, p, one_hot, targets, share):
    return dy * share[:, None] * (p - targets)


@entropy.mistake({"x": np.s_[:3]}, "factor")
def divided_by_ignored_samples_too(dy, p, one_hot, targets, share):
    return dy * share[:, None] * (p - targets) / len(p)


@entropy.mistake({"x": np.s_[3]})
def ignored_samples_counted(dy, p, one_hot, targets, share):
    return dy * (p - targets) / share.sum()


@entropy.mistake({"x": np.s_[:3]}, smoothing=0.3)
def smoothing_forgotten(dy, p, one_hot, targets, share):
    return dy * share[:, None] * (p - one_hot) / share.sum()


@entropy.mistake({"x": np.s_[:3]}, weights=WEIGHTS)
def class_weights_forgotten(dy, p, one_hot, targets, share):
    valid = share > 0
    return dy * valid[:, None] * (p - targets) / valid.sum()


@entropy.mistake({"x": ([0, 1, 2], [2, 0, 2])})
def label_not_subtracted(dy, p, one_hot, targets, share):
    return dy * share[:, None] * p / share.sum()


@entropy.mistake({"x": np.s_[:3]}, "sign")
def sign(dy, p, one_hot, targets, share):
    return dy * share[:, None] * (targets - p) / share.sum()


@entropy.mistake("x")
def label_off_by_one(dy, p, one_hot, targets, share):
    return dy * share[:, None] * (p - np.roll(one_hot, 1, 1)) / share.sum()


@entropy.mistake({"x": np.s_[:3]}, linear=False)
def dy_forgotten(dy, p, one_hot, targets, share):
    return share[:, None] * (p - targets) / share.sum()


A, B = distinct(2, 3), distinct(2, 3, seed=1)


def pair_loss(name, f, slope, a=A, b=B):
    """The mean of f(a - b), with a rule of (dy / n, a - b)."""
    return Family(
        name,
        lambda a, b: (f(a - b).mean(), (a - b,)),
        lambda dy, d: ((g := dy / d.size * slope(d)), -g),
        (a, b),
    )


mse = pair_loss("mean squared error", np.square, lambda d: 2 * d)
mse.plant("2 forgotten", lambda dy, d: (dy * d / d.size, -dy * d / d.size), "a b", "factor")
mse.plant("mean forgotten", lambda dy, d: (dy * 2 * d, -dy * 2 * d), "a b", "factor")
mse.plant("sign of the target's gradient", lambda dy, d: ((g := dy * 2 * d / d.size), g), {"b": ...}, "sign exchanged")
mse.plant("target left out", lambda dy, d: ((g := dy * 2 * d / d.size), 0 * g), {"b": ...}, "zero")
mse.plant("mean over the batch alone", lambda dy, d: ((g := dy * 2 * d / len(d)), -g), "a b", "factor")

absolute = pair_loss("mean absolute error", abs, np.sign)
absolute.plant("difference in place of its sign", lambda dy, d: ((g := dy * d / d.size), -g), "a b")

huber = pair_loss(
    "huber",
    lambda d: np.where(abs(d) < 1, d * d / 2, abs(d) - 0.5),
    lambda d: np.clip(d, -1, 1),
)
huber.plant("square everywhere", lambda dy, d: ((g := dy * d / d.size), -g), dict.fromkeys("ab", abs(A - B) > 1))
huber.plant(
    "sign of the linear branch",
    lambda dy, d: ((g := dy / d.size * np.where(abs(d) < 1, d, -np.sign(d))), -g),
    dict.fromkeys("ab", abs(A - B) > 1),
)

CHANCES, TARGETS = distinct(5, low=0.1, high=0.9), np.array([0.0, 1.0, 1.0, 0.0, 0.25])
bce = Family(
    "binary cross-entropy",
    lambda p, *, t=TARGETS: (-(t * np.log(p) + (1 - t) * np.log(1 - p)), (p, t)),
    lambda dy, p, t: dy * (p - t) / (p * (1 - p)),
    (CHANCES,),
)
bce.plant("as for logits", lambda dy, p, t: dy * (p - t), {"p": ...})
bce.plant("second term forgotten", lambda dy, p, t: -dy * t / p, {"p": TARGETS < 1})
bce.plant("sign of the second term", lambda dy, p, t: dy * (-t / p - (1 - t) / (1 - p)), {"p": TARGETS < 1})

with_logits = Family(
    "binary cross-entropy with logits",
    lambda x, *, t=TARGETS, w=3.0: (w * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x), (x, t, w)),
    lambda dy, x, t, w: dy * ((1 - t) * expit(x) - w * t * expit(-x)),
    (distinct(5),),
)
with_logits.plant("weight of the positives forgotten", lambda dy, x, t, w: dy * (expit(x) - t), {"x": TARGETS > 0})
with_logits.plant("sigmoid twice", lambda dy, x, t, w: dy * ((1 - t) * expit(expit(x)) - w * t * expit(-expit(x))), "x")

hinge = Family(
    "hinge",
    lambda x, *, sign: (np.maximum(0, 1 - sign * x).sum(), (x, sign)),
    lambda dy, x, sign: -dy * sign * (sign * x < 1),
    (np.array([2.0, -3.0, 0.4, 0.3, -1.5]),),
    {"sign": np.array([1.0, -1, 1, -1, 1])},
)
hinge.plant("gradient inside the margin", lambda dy, x, sign: -dy * sign, {"x": np.s_[:2]})

kl = Family(
    "divergence of two logits",
    lambda a, b: (np.exp(a) @ (a - b), (a, b)),
    lambda dy, a, b: (dy * np.exp(a) * (1 + a - b), -dy * np.exp(a)),
    (distinct(4), distinct(4, seed=1)),
)
kl.plant("entropy's part forgotten", lambda dy, a, b: (dy * np.exp(a) * (a - b), -dy * np.exp(a)), {"a": ...})
