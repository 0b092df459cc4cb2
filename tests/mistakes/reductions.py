"""Mistakes in reductions, scans and sorting."""

import numpy as np

from .row import Family, distinct

X, SQUARE = distinct(3, 4), distinct(3, 3)
POSITIVE = distinct(3, 3, low=0.5, high=2.0)


def along(dy, x):
    """The gradient of each row's result, beside every element of the row."""
    return np.broadcast_to(dy[:, None], x.shape)


def rows(name, f, rule, x=X):
    """A function of each row, and its rule of (dy beside every element, x)."""
    return Family(name, lambda x: (f(x), (x,)), lambda dy, x: along(dy, x) * rule(x), (x,))


def wrong(family, words, slope, kind=None, at=...):
    family.plant(words, lambda dy, x: along(dy, x) * slope(x), {"x": at}, kind)


def centred(x):
    return x - x.mean(1, keepdims=True)


def softmax(x):
    p = np.exp(x - x.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def first_of(x, value):
    return np.arange(x.shape[1]) == value[:, None]


row_sum = rows("sum of rows", lambda x: x.sum(1), np.ones_like, SQUARE)
row_sum.plant("broadcast along the other axis", lambda dy, x: np.broadcast_to(dy, x.shape), "x", "transposed")

mean = rows("mean of rows", lambda x: x.mean(1), lambda x: np.full(x.shape, 1 / x.shape[1]))
wrong(mean, "not divided", np.ones_like, "factor")
wrong(mean, "divided by the number of all elements", lambda x: np.full(x.shape, 1 / x.size), "factor")
wrong(mean, "divided by the number of rows", lambda x: np.full(x.shape, 1 / len(x)), "factor")

var = rows("variance of rows", lambda x: x.var(1, ddof=1), lambda x: 2 * centred(x) / (x.shape[1] - 1))
wrong(var, "divided by n", lambda x: 2 * centred(x) / x.shape[1], "factor")
wrong(var, "not centred", lambda x: 2 * x / (x.shape[1] - 1))
wrong(var, "2 forgotten", lambda x: centred(x) / (x.shape[1] - 1), "factor")

std = rows("standard deviation of rows", lambda x: x.std(1), lambda x: centred(x) / (4 * x.std(1, keepdims=True)))
wrong(std, "not divided by the deviation", lambda x: centred(x) / 4)

norm = rows(
    "norm of rows",
    lambda x: np.sqrt((x * x).sum(1)),
    lambda x: x / np.sqrt((x * x).sum(1, keepdims=True)),
)
wrong(norm, "not divided by the norm", lambda x: x)
wrong(norm, "divided by the squared norm", lambda x: x / (x * x).sum(1, keepdims=True))
wrong(norm, "sign of the elements alone", np.sign)

logsumexp = rows("logsumexp of rows", lambda x: np.log(np.exp(x).sum(1)), softmax)
wrong(logsumexp, "not normalised", np.exp)
wrong(logsumexp, "spread evenly", lambda x: np.full(x.shape, 1 / x.shape[1]))
wrong(logsumexp, "all to the largest", lambda x: x == x.max(1, keepdims=True))

largest = rows("max of rows", lambda x: x.max(1), lambda x: x == x.max(1, keepdims=True), SQUARE)
wrong(largest, "gradient to all", np.ones_like, at=SQUARE - SQUARE.max(1, keepdims=True) < 0)
wrong(largest, "gradient to the smallest", lambda x: x == x.min(1, keepdims=True), at=None)
wrong(largest, "winners of the columns", lambda x: x == x.max(0), at=None)
wrong(largest, "winner's neighbour", lambda x: np.roll(x == x.max(1, keepdims=True), 1, 1), at=None)
wrong(largest, "winner's place, not its mask", lambda x: np.broadcast_to(x.argmax(1)[:, None], x.shape), at=None)

WITH_ZERO = np.array([[1.5, 0.0, -2.0], [0.5, 2.0, 3.0]])


def products_of_others(x):
    return np.stack([np.delete(x, i, 1).prod(1) for i in range(x.shape[1])], 1)


def quotients(x):
    with np.errstate(invalid="ignore", divide="ignore"):
        return x.prod(1, keepdims=True) / x


prod = rows("prod of rows", lambda x: x.prod(1), products_of_others, WITH_ZERO)
wrong(prod, "product divided by a zero", quotients, "nonfinite", at=np.s_[0, 1])
wrong(prod, "zeros given no gradient", lambda x: np.nan_to_num(quotients(x), posinf=0, neginf=0), at=np.s_[0, 1])
wrong(prod, "product of all", lambda x: np.broadcast_to(x.prod(1, keepdims=True), x.shape), at=None)

median = rows("median of rows", lambda x: np.median(x, 1), lambda x: x == np.median(x, 1, keepdims=True), SQUARE)
wrong(median, "gradient of the mean", lambda x: np.full(x.shape, 1 / 3))

cumsum = Family("cumsum", lambda x: (x.cumsum(1), ()), lambda dy: dy[:, ::-1].cumsum(1)[:, ::-1], (X,))
cumsum.plant("summed from the front", lambda dy: dy.cumsum(1), "x")
cumsum.plant("own element left out", lambda dy: dy[:, ::-1].cumsum(1)[:, ::-1] - dy, {"x": ...})
cumsum.plant("along the other axis", lambda dy: dy[::-1].cumsum(0)[::-1], "x")

cumprod = Family(
    "cumprod",
    lambda x: ((y := x.cumprod()), (x, y)),
    lambda dy, x, y: (dy * y)[::-1].cumsum()[::-1] / x,
    (distinct(5, low=0.5, high=2.0),),
)
cumprod.plant("own factor left in", lambda dy, x, y: (dy * y)[::-1].cumsum()[::-1], {"x": ...})
cumprod.plant("later products alone", lambda dy, x, y: dy * y / x, {"x": np.s_[:-1]})


def sort(x):
    order = x.argsort(1)
    return np.take_along_axis(x, order, 1), (order,)


def sort_vjp(dy, order):
    dx = np.empty(dy.shape)
    np.put_along_axis(dx, order, dy, 1)
    return dx


ordered = Family("sort", sort, sort_vjp, (distinct(2, 4, seed=3),))
ordered.plant("order not inverted", lambda dy, order: np.take_along_axis(dy, order, 1), "x")
ordered.plant("order forgotten", lambda dy, order: dy, "x")
ordered.plant("order of the first row for all", lambda dy, order: sort_vjp(dy, order[[0, 0]]), {"x": np.s_[1, :]})


def two_largest(x):
    order = x.argsort(1)[:, :-3:-1]
    return np.take_along_axis(x, order, 1), (order, x.shape)


def two_largest_vjp(dy, order, shape):
    dx = np.zeros(shape)
    np.put_along_axis(dx, order, dy, 1)
    return dx


top = Family("two largest", two_largest, two_largest_vjp, (X,))
top.plant("second largest forgotten", lambda dy, o, shape: two_largest_vjp(dy[:, :1], o[:, :1], shape), "x")
top.plant("the two exchanged", lambda dy, o, shape: two_largest_vjp(dy[:, ::-1], o, shape), "x")

diagonal = Family("diagonal", lambda x: (np.diag(x), ()), np.diag, (SQUARE,))
diagonal.plant("spread over the rows", lambda dy: np.tile(dy[:, None], (1, 3)), {"x": ~np.eye(3, dtype=bool)})
trace = Family("trace", lambda x: (np.trace(x), (len(x),)), lambda dy, n: dy * np.eye(n), (SQUARE,))
trace.plant("gradient to all elements", lambda dy, n: np.full((n, n), dy), {"x": ~np.eye(3, dtype=bool)})

weighted = Family(
    "weighted mean",
    lambda x, w: ((y := w @ x / w.sum()), (x, w, y)),
    lambda dy, x, w, y: (dy * w / w.sum(), dy * (x - y) / w.sum()),
    (distinct(4), distinct(4, low=0.5, high=2.0)),
)
weighted.plant("sum of the weights constant", lambda dy, x, w, y: (dy * w / w.sum(), dy * x / w.sum()), {"w": ...})
weighted.plant("weights not normalised", lambda dy, x, w, y: (dy * w, dy * (x - y) / w.sum()), {"x": ...}, "factor")
