"""Rules that misbehave: with memory, with precision, with chance, with dy."""

import itertools

import numpy as np

from .row import Family, distinct

X = distinct(3, 4)


def square(x):
    return x * x, (x,)


def square_vjp(dy, x):
    return 2 * dy * x


squares = Family("square", square, square_vjp, (X,))

# Not one linear map of dy.
squares.plant("dy squared", lambda dy, x: 2 * dy * dy * x, "x", "nonlinear", linear=False)
squares.plant("dy's sign alone", lambda dy, x: 2 * np.sign(dy) * x, "x", "nonlinear", linear=False)
squares.plant("gradient clipped", lambda dy, x: np.clip(2 * dy * x, -1, 1), "x", "nonlinear", linear=False)
squares.plant("dy ignored", lambda dy, x: 2 * x, "x", "nonlinear", linear=False)
squares.plant(
    "gradient normalised", lambda dy, x: (g := 2 * dy * x) / np.linalg.norm(g), "x", "nonlinear", linear=False
)
squares.plant("a constant added", lambda dy, x: 2 * dy * x + 1e-3, "x", "nonlinear", linear=False)
squares.plant("negative dy cut off", lambda dy, x: 2 * np.maximum(dy, 0) * x, "x", "nonlinear", linear=False)

# Errors that some ways of checking cannot see.
squares.plant("errors that cancel in a sum", lambda dy, x: 2 * x * dy[:, ::-1], "x")
squares.plant("right for a dy of ones", lambda dy, x: 2 * x * dy.mean(), "x")
squares.plant("right in the first row alone", lambda dy, x: 2 * x * dy * np.array([[1], [0], [0]]), {"x": np.s_[1:]})
squares.spoil("one element off by 0.1 %", {"x": (1, 3)}, lambda g: 1.001 * g)
squares.spoil("one element off by 0.01 %", {"x": (2, 0)}, lambda g: 1.0001 * g)
squares.spoil("one element off by -1", {"x": (0, 2)}, np.negative)
squares.spoil("one element NaN", {"x": (2, 1)}, lambda g: np.nan, "nonfinite")
squares.spoil("one element infinite", {"x": (0, 0)}, lambda g: np.inf, "nonfinite")
squares.plant("no gradient at all", lambda dy, x: None, {"x": ...}, "zero", linear=False)
squares.plant("shape of the transpose", lambda dy, x: (2 * dy * x).T, "x", "shape", linear=False)
squares.plant("gradient flattened", lambda dy, x: (2 * dy * x).ravel(), "x", "shape", linear=False)

# Precision.
squares.plant(
    "computed in float32", lambda dy, x: np.float32(2) * dy.astype("f4") * x.astype("f4"), "x", "dtype", linear=False
)
squares.plant("computed in half precision", lambda dy, x: (2 * dy * x).astype("f2").astype(float), "x", linear=False)


def square_of_single(x):
    return x * x, (x.astype(np.float32),)


squares.plant("input saved in float32", square_vjp, {"x": ...}, forward=square_of_single, rtol=1e-9)


# Memory.
@squares.mistake("x", "inplace", linear=False)
def rule_doubles_its_input(dy, x):
    x *= 2
    return dy * x


def clears_its_input(x):
    y = x * x
    saved = x.copy()
    x[...] = 0
    return y, (saved,)


squares.plant("forward clears its input", square_vjp, "x", "inplace", forward=clears_its_input, linear=False)
squares.plant("rule rectifies its input", lambda dy, x: 2 * dy * np.maximum(x, 0, out=x), "x", "inplace", linear=False)


def accumulating():
    """A buffer that is not cleared between calls."""
    total = np.zeros(X.shape)

    def rule(dy, x):
        nonlocal total
        total = total + 2 * dy * x
        return total

    return rule


squares.plant("buffer never cleared", accumulating(), "x", "nondeterministic", linear=False)

# Chance.
chance = np.random.default_rng(0)
calls = itertools.count()


@squares.mistake("x", "nondeterministic", linear=False)
def a_race(dy, x):
    """Now and then one element's update is lost."""
    dx = 2 * dy * x
    dx.flat[chance.integers(x.size)] *= chance.choice([0, 1])
    return dx


squares.plant(
    "noise in the last digits",
    lambda dy, x: 2 * dy * x * (1 + 1e-4 * chance.standard_normal(x.shape)),
    "x",
    "nondeterministic",
    linear=False,
)
squares.plant(
    "every second call is zero",
    lambda dy, x: 2 * dy * x * (next(calls) % 2),
    "x",
    "nondeterministic",
    linear=False,
)


def dropout(x):
    mask = np.random.default_rng(5).random(x.shape) < 0.6
    return x * mask / 0.6, (mask,)


def other_mask(shape):
    return np.random.default_rng(6).random(shape) < 0.6


drop = Family("dropout", dropout, lambda dy, mask: dy * mask / 0.6, (X,))
drop.plant("another mask in backward", lambda dy, mask: dy * other_mask(dy.shape) / 0.6, "x")
drop.plant("mask forgotten in backward", lambda dy, mask: dy / 0.6, {"x": ~dropout(X)[1][0]})
drop.plant("kept elements not scaled", lambda dy, mask: dy * mask, {"x": dropout(X)[1][0]}, "factor")
drop.plant("mask of the first row for all", lambda dy, mask: dy * mask[:1] / 0.6, "x")
drop.plant(
    "new mask at every backward",
    lambda dy, mask: dy * (chance.random(dy.shape) < 0.6) / 0.6,
    "x",
    "nondeterministic",
    linear=False,
)


# Several outputs.
def both(x):
    return (np.sin(x), np.cos(x)), (x,)


def given(dys):
    """A gradient that is None is one of an output that was not used."""
    return [0.0 if dy is None else dy for dy in dys]


def both_vjp(dys, x, sign=-1.0):
    ds, dc = given(dys)
    return ds * np.cos(x) + sign * dc * np.sin(x)


two = Family("sin and cos", both, both_vjp, (distinct(5),))
two.plant("sign in the second output", lambda dys, x: both_vjp(dys, x, 1.0), {"x": ...})
two.plant("second output off by 1 %", lambda dys, x: both_vjp(dys, x, -1.01), {"x": ...})
two.plant("second output forgotten", lambda dys, x: both_vjp(dys, x, 0.0), {"x": ...})
two.plant("outputs exchanged", lambda dys, x: both_vjp(dys[::-1], x), {"x": ...})


@two.mistake("x", "nonlinear", linear=False)
def product_of_the_two_gradients(dys, x):
    ds, dc = given(dys)
    return ds * np.cos(x) - ds * dc * np.sin(x)
