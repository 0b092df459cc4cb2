"""Elementwise functions, their chains, and broadcasting."""

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from mistakes.correct.source import Correct, Source, maker

UNARY: dict[str, tuple[Callable[..., Any], float, float]] = {
    name: (getattr(mg, name), low, high)
    for low, high, names in (
        (-np.inf, np.inf, "absolute atan asinh cos erf sin tanh"),
        (-20, 20, "exp expm1 sinh cosh"),
        (1e-3, np.inf, "log sqrt"),
        (-0.9, np.inf, "log1p"),
        (-0.99, 0.99, "asin acos atanh"),
        (1.01, np.inf, "acosh"),
        (-1.5, 1.5, "tan"),
    )
    for name in names.split()
} | {
    "relu": (F.relu, -np.inf, np.inf),
    "leaky relu": (lambda x: F.leaky_relu(x, 0.2), -np.inf, np.inf),
    "elu": (F.elu, -np.inf, np.inf),
    "elu, alpha 0.4": (lambda x: F.elu(x, 0.4), -np.inf, np.inf),
    "gelu": (F.gelu, -np.inf, np.inf),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), -np.inf, np.inf),
    "silu": (F.silu, -np.inf, np.inf),
    "sigmoid": (F.sigmoid, -np.inf, np.inf),
    "softplus": (F.softplus, -np.inf, 15.0),  # not across its threshold, where it jumps by 2e-9
    "clip": (lambda x: mg.clip(x, min=-1.0, max=1.0), -np.inf, np.inf),
    "clip below": (lambda x: mg.clip(x, min=0.0), -np.inf, np.inf),
    "square": (lambda x: x * x, -np.inf, np.inf),
    "cube": (lambda x: x**3, -np.inf, np.inf),
    "reciprocal": (lambda x: 1 / x, 1e-3, np.inf),
    "rectified square": (lambda x: F.relu(x) ** 2, -np.inf, np.inf),
    "soft sign": (lambda x: x / (1 + abs(x)), -np.inf, np.inf),
    "identity": (lambda x: x, -np.inf, np.inf),
}
STEPS = {"floor": mg.floor, "ceil": mg.ceil, "round": mg.round, "sign": mg.sign}
BOUNDED = ["relu", "leaky relu", "clip", "tanh", "sigmoid", "sin", "cos", "erf", "atan", "soft sign", "absolute"]


@maker
def elementwise(source: Source) -> Correct:
    name = source.pick(*UNARY)
    function, low, high = UNARY[name]
    return Correct(name, function, [source.numbers(source.shape(), low, high)])


@maker
def chain(source: Source) -> Correct:
    """Three functions of which every result is in the domain of the next."""
    names = [source.pick(*BOUNDED) for _ in range(3)]

    def function(x: Any) -> Any:
        for name in names:
            x = UNARY[name][0](x)
        return x

    return Correct(" of ".join(reversed(names)), function, [source.numbers(source.shape())])


@maker
def steps(source: Source) -> Correct:
    """Between their jumps."""
    name = source.pick(*STEPS)
    return Correct(name, STEPS[name], [np.floor(source.numbers(source.shape())) + source.pick(0.2, 0.7)])


BINARY: dict[str, tuple[Callable[..., Any], tuple[float, float], tuple[float, float]]] = {
    "add": (lambda a, b: a + b, (-np.inf, np.inf), (-np.inf, np.inf)),
    "subtract": (lambda a, b: a - b, (-np.inf, np.inf), (-np.inf, np.inf)),
    "multiply": (lambda a, b: a * b, (-np.inf, np.inf), (-np.inf, np.inf)),
    "divide": (lambda a, b: a / b, (-np.inf, np.inf), (1e-3, np.inf)),
    "power": (mg.power, (1e-2, 1e2), (-3, 3)),
    "maximum": (mg.maximum, (-np.inf, np.inf), (-np.inf, np.inf)),
    "minimum": (mg.minimum, (-np.inf, np.inf), (-np.inf, np.inf)),
    "squared distance": (lambda a, b: ((a - b) ** 2).sum(), (-np.inf, np.inf), (-np.inf, np.inf)),
    "two outputs": (lambda a, b: (a * b, F.relu(a - b)), (-np.inf, np.inf), (-np.inf, np.inf)),
}


@maker
def broadcasting(source: Source) -> Correct:
    name = source.pick(*BINARY)
    function, first, second = BINARY[name]
    full = source.shape(most=2)
    a, b = (tuple(source.pick(1, n) for n in full[source.size(0, len(full)) :]) for _ in range(2))
    return Correct(name, function, [source.numbers(a, *first), source.numbers(b, *second)])


@maker
def selection(source: Source) -> Correct:
    shape = source.shape()
    mask = source.rng().random(shape) < 0.5
    return Correct("where", lambda a, b: mg.where(mask, a, b), [source.numbers(shape), source.numbers(shape)])
