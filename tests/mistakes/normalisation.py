"""Mistakes in normalisations: batch, layer, group, softmax and their like."""

import numpy as np

from .row import Family, distinct

EPS = 0.1  # large: so that a formula without it is seen
IMAGES = distinct(4, 2, 3)
GAMMA, BETA = distinct(2, low=0.5, high=2.0), distinct(2)


def channels(a):
    return a[:, None]


def standard(x, axes):
    centre, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - centre) / np.sqrt(var + EPS), np.sqrt(var + EPS)


def standard_vjp(dn, n, root, axes, mean=1.0, var=1.0):
    """The gradient of what was normalised; `mean` and `var` weigh what flows through the two statistics."""
    through_mean, through_var = dn.mean(axes, keepdims=True), (dn * n).mean(axes, keepdims=True)
    return (dn - mean * through_mean - var * n * through_var) / root


def batch_norm(x, gamma, beta):
    n, root = standard(x, (0, 2))
    return n * channels(gamma) + channels(beta), (x, n, root, gamma)


def batch_norm_vjp(dy, x, n, root, gamma, **weights):
    return standard_vjp(dy * channels(gamma), n, root, (0, 2), **weights), (dy * n).sum((0, 2)), dy.sum((0, 2))


batch = Family("batch norm", batch_norm, batch_norm_vjp, (IMAGES, GAMMA, BETA))
batch.plant("mean taken for a constant", lambda *a: batch_norm_vjp(*a, mean=0.0), {"x": ...})
batch.plant("variance taken for a constant", lambda *a: batch_norm_vjp(*a, var=0.0), {"x": ...})
batch.plant("statistics taken for constants", lambda *a: batch_norm_vjp(*a, mean=0.0, var=0.0), {"x": ...})
batch.plant("variance divided by n - 1 in backward", lambda *a: batch_norm_vjp(*a, var=12 / 11), {"x": ...})
batch.plant("sign of the variance's part", lambda *a: batch_norm_vjp(*a, var=-1.0), {"x": ...})
batch.plant("mean's part counted twice", lambda *a: batch_norm_vjp(*a, mean=2.0), {"x": ...})


def with_dx(family_rule, gradient):
    return lambda dy, *saved: (gradient(dy, *saved), *family_rule(dy, *saved)[1:])


def with_dgamma(gradient):
    def wrong(dy, *saved):
        dx, _, db = batch_norm_vjp(dy, *saved)
        return dx, gradient(dy, *saved), db

    return wrong


batch.plant(
    "gamma forgotten in dx",
    with_dx(batch_norm_vjp, lambda dy, x, n, root, gamma: standard_vjp(dy, n, root, (0, 2))),
    {"x": ...},
)
batch.plant(
    "statistics of single samples in backward",
    with_dx(batch_norm_vjp, lambda dy, x, n, root, gamma: standard_vjp(dy * channels(gamma), n, root, 2)),
    "x",
)
batch.plant(
    "epsilon left out in backward",
    with_dx(
        batch_norm_vjp,
        lambda dy, x, n, root, gamma: standard_vjp(dy * channels(gamma), n, x.std((0, 2), keepdims=True), (0, 2)),
    ),
    {"x": ...},
)
batch.plant("input in place of its normal form", with_dgamma(lambda dy, x, *_: (dy * x).sum((0, 2))), {"gamma": ...})
batch.plant("dgamma of the first sample", with_dgamma(lambda dy, x, n, *_: (dy * n)[0].sum(1)), {"gamma": ...})
batch.plant("dgamma and dbeta exchanged", lambda *a: tuple(batch_norm_vjp(*a)[i] for i in (0, 2, 1)), "gamma beta")


def layer_norm(x, gamma):
    n, root = standard(x, 1)
    return n * gamma, (n, root, gamma)


def layer_norm_vjp(dy, n, root, gamma):
    return standard_vjp(dy * gamma, n, root, 1), (dy * n).sum(0)


layer = Family("layer norm", layer_norm, layer_norm_vjp, (distinct(3, 4), distinct(4, low=0.5, high=2.0)))
layer.plant(
    "gamma multiplied after the statistics",
    with_dx(layer_norm_vjp, lambda dy, n, root, gamma: gamma * standard_vjp(dy, n, root, 1)),
    {"x": ...},
)
layer.plant(
    "statistics along the batch",
    with_dx(layer_norm_vjp, lambda dy, n, root, gamma: standard_vjp(dy * gamma, n, root, 0)),
    {"x": ...},
)
layer.plant(
    "dgamma is a mean", lambda dy, n, r, g: (standard_vjp(dy * g, n, r, 1), (dy * n).mean(0)), "gamma", "factor"
)


def group_norm(x):
    parts = x.reshape(len(x), 2, -1)
    n, root = standard(parts, 2)
    return n.reshape(x.shape), (n, root)


group = Family(
    "group norm",
    group_norm,
    lambda dy, n, root: standard_vjp(dy.reshape(n.shape), n, root, 2).reshape(dy.shape),
    (distinct(2, 4, 3),),
)
group.plant(
    "statistics of all groups together",
    lambda dy, n, root: standard_vjp(dy.reshape(n.shape), n, root, (1, 2)).reshape(dy.shape),
    {"x": ...},
)


def rms_norm(x):
    root = np.sqrt((x * x).mean(1, keepdims=True) + EPS)
    return x / root, (x, root)


def rms_norm_vjp(dy, x, root):
    return dy / root - x * (dy * x).mean(1, keepdims=True) / root**3


rms = Family("rms norm", rms_norm, rms_norm_vjp, (distinct(3, 4),))
rms.plant("root taken for a constant", lambda dy, x, root: dy / root, {"x": ...})
rms.plant("root squared in place of cubed", lambda dy, x, r: dy / r - x * (dy * x).mean(1, keepdims=True) / r**2, "x")
rms.plant("sum in place of the mean", lambda dy, x, r: dy / r - x * (dy * x).sum(1, keepdims=True) / r**3, "x")


def unit(x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / length, (x / length, length)


units = Family(
    "unit vectors",
    unit,
    lambda dy, u, length: (dy - u * (dy * u).sum(1, keepdims=True)) / length,
    (distinct(3, 4),),
)
units.plant("projection forgotten", lambda dy, u, length: dy / length, {"x": ...})
units.plant("length forgotten", lambda dy, u, length: dy - u * (dy * u).sum(1, keepdims=True), {"x": ...})


def softmax(x):
    p = np.exp(x - x.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return p, (p,)


def softmax_vjp(dy, p):
    return p * (dy - (dy * p).sum(1, keepdims=True))


soft = Family("softmax", softmax, softmax_vjp, (distinct(3, 3),))
soft.plant("diagonal of the Jacobian alone", lambda dy, p: dy * p * (1 - p), {"x": ...})
soft.plant("without the sum", lambda dy, p: dy * p, {"x": ...})
soft.plant("outer factor forgotten", lambda dy, p: dy - (dy * p).sum(1, keepdims=True), {"x": ...})
soft.plant("inner factor forgotten", lambda dy, p: p * (dy - dy.sum(1, keepdims=True)), {"x": ...})
soft.plant("sum along the other axis", lambda dy, p: p * (dy - (dy * p).sum(0)), {"x": ...})
soft.plant("no gradient, as the sum of its outputs has none", lambda dy, p: 0 * dy, {"x": ...}, "zero")
soft.plant("as in cross-entropy", lambda dy, p: p - dy, {"x": ...}, linear=False)


def log_softmax(x):
    y = x - np.log(np.exp(x).sum(1, keepdims=True))
    return y, (y,)


log_soft = Family(
    "log-softmax", log_softmax, lambda dy, y: dy - np.exp(y) * dy.sum(1, keepdims=True), (distinct(3, 3),)
)
log_soft.plant("log in place of the softmax", lambda dy, y: dy - y * dy.sum(1, keepdims=True), {"x": ...})
log_soft.plant("sum forgotten", lambda dy, y: dy - np.exp(y) * dy, {"x": ...})
log_soft.plant("sum over all rows", lambda dy, y: dy - np.exp(y) * dy.sum(), {"x": ...})
