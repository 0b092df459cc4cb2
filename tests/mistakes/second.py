"""Mistakes of the second order: the rule is right, and the rule of the rule is wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from .row import distinct

SECOND: dict[str, "Second"] = {}


@dataclass(frozen=True)
class Second:
    """`forward(*xs) -> y`, `gradient(dy, *xs) -> dxs`, and that one's rule `(gs, dy, *xs) -> (ddy, *dxs)`.

    `gs` is a tuple where there are several inputs.
    """

    name: str
    forward: Callable[..., Any]
    gradient: Callable[..., Any]
    right: Callable[..., Any]
    wrong: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]


def plant(name, forward, gradient, right, wrongs, *inputs):
    for words, wrong in wrongs.items():
        SECOND[f"{name}: {words}"] = Second(f"{name}: {words}", forward, gradient, right, wrong, inputs)


def elementwise(name, f, slope, bend, wrongs, x=None):
    """A function of each element, with its first and second derivative."""

    def rule(second):
        return lambda g, dy, x: (g * slope(x), g * dy * second(x))

    def forward(x):
        return f(x)

    rules = {words: rule(wrong) for words, wrong in wrongs.items()}
    plant(name, forward, lambda dy, x: dy * slope(x), rule(bend), rules, distinct(2, 3) if x is None else x)


def but_one(f, factor):
    """f, but one element off by a factor."""

    def wrong(x):
        y = np.array(f(x))
        y[1, 2] *= factor
        return y

    return wrong


X = distinct(2, 3)
POSITIVE = distinct(2, 3, low=0.5, high=2.0)

elementwise(
    "cube",
    lambda x: x**3,
    lambda x: 3 * x * x,
    lambda x: 6 * x,
    {
        "second derivative not doubled": lambda x: 3 * x,
        "no second derivative": np.zeros_like,
        "sign": lambda x: -6 * x,
        "one element off by 1 %": but_one(lambda x: 6 * x, 1.01),
        "one element off by 0.1 %": but_one(lambda x: 6 * x, 1.001),
        "one element NaN": but_one(lambda x: 6 * x, np.nan),
    },
)
elementwise("exp", np.exp, np.exp, np.exp, {"slope taken for a constant": np.zeros_like, "slope of x": np.ones_like})
elementwise(
    "tanh",
    np.tanh,
    lambda x: 1 - np.tanh(x) ** 2,
    lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
    {
        "chain rule cut after the square": lambda x: -2 * np.tanh(x),
        "2 forgotten": lambda x: -np.tanh(x) * (1 - np.tanh(x) ** 2),
    },
)
elementwise(
    "sigmoid",
    expit,
    lambda x: expit(x) * (1 - expit(x)),
    lambda x: expit(x) * (1 - expit(x)) * (1 - 2 * expit(x)),
    {"last factor forgotten": lambda x: expit(x) * (1 - expit(x))},
)
elementwise("sin", np.sin, np.cos, lambda x: -np.sin(x), {"sign": np.sin})
elementwise("log", np.log, np.reciprocal, lambda x: -1 / x**2, {"square forgotten": lambda x: -1 / x}, POSITIVE)
elementwise(
    "sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x), lambda x: -0.25 * x**-1.5, {"sign": lambda x: 0.25 * x**-1.5}, POSITIVE
)

A, B = distinct(2, 3), distinct(3, 2)


def product(a, b):
    return a @ b


plant(
    "matmul",
    product,
    lambda dy, a, b: (dy @ b.T, a.T @ dy),
    lambda gs, dy, a, b: (gs[0] @ b + a @ gs[1], dy @ gs[1].T, gs[0].T @ dy),
    {
        "half of ddy forgotten": lambda gs, dy, a, b: (gs[0] @ b, dy @ gs[1].T, gs[0].T @ dy),
        "gradients by the factors forgotten": lambda gs, dy, a, b: (gs[0] @ b + a @ gs[1], 0 * a, 0 * b),
        "sign of the second factor's": lambda gs, dy, a, b: (gs[0] @ b + a @ gs[1], dy @ gs[1].T, -gs[0].T @ dy),
    },
    A,
    B,
)


def ratio(a, b):
    return a / b


def ratio_rule(gs, dy, a, b, mixed=1.0, square=1.0):
    ga, gb = gs
    da = -mixed * gb * dy / b**2
    return ga / b - gb * a / b**2, da, -ga * dy / b**2 + square * 2 * gb * dy * a / b**3


plant(
    "divide",
    ratio,
    lambda dy, a, b: (dy / b, -dy * a / b**2),
    ratio_rule,
    {
        "mixed derivative forgotten": lambda *args: ratio_rule(*args, mixed=0.0),
        "2 of the square forgotten": lambda *args: ratio_rule(*args, square=0.5),
    },
    X,
    POSITIVE,
)


def softmax(x):
    p = np.exp(x - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def inner(a, b):
    return (a * b).sum(-1, keepdims=True)


def softmax_gradient(dy, x):
    p = softmax(x)
    return p * (dy - inner(dy, p))


def softmax_rule(g, dy, x, through_the_mean=1.0):
    """The gradient is bilinear in p and dy; then p by x."""
    p = softmax(x)
    dp = g * (dy - inner(dy, p)) - through_the_mean * dy * inner(g, p)
    return p * (g - inner(g, p)), p * (dp - inner(dp, p))


plant(
    "softmax",
    lambda x: softmax(x),
    softmax_gradient,
    softmax_rule,
    {
        "mean taken for a constant": lambda *args: softmax_rule(*args, through_the_mean=0.0),
        "probabilities taken for constants": lambda g, dy, x: (softmax_gradient(g, x), 0 * x),
    },
    X,
)


def norm(x):
    return np.sqrt((x * x).sum())


def norm_rule(g, dy, x, across=1.0):
    n = norm(x)
    along = (g * x).sum() / n
    return along, dy * (g / n - across * x * along / n**2)


plant(
    "norm",
    norm,
    lambda dy, x: dy * x / norm(x),
    norm_rule,
    {"length taken for a constant": lambda *args: norm_rule(*args, across=0.0)},
    X,
)


def correlation(x, w):
    return np.correlate(x, w, "valid")


def correlation_gradients(dy, x, w):
    return np.convolve(dy, w), np.correlate(x, dy, "valid")


plant(
    "correlate1d",
    correlation,
    correlation_gradients,
    lambda gs, dy, x, w: (
        np.correlate(gs[0], w, "valid") + np.correlate(x, gs[1], "valid"),
        np.convolve(dy, gs[1]),
        np.correlate(gs[0], dy, "valid"),
    ),
    {
        "filter flipped": lambda gs, dy, x, w: (
            np.convolve(gs[0], w, "valid") + np.correlate(x, gs[1], "valid"),
            np.convolve(dy, gs[1]),
            np.correlate(gs[0], dy, "valid"),
        ),
        "filter's gradient flipped": lambda gs, dy, x, w: (
            np.correlate(gs[0], w, "valid") + np.correlate(x, gs[1], "valid"),
            np.convolve(dy, gs[1][::-1]),
            np.correlate(gs[0], dy, "valid"),
        ),
    },
    distinct(6),
    distinct(3),
)
