"""Mistakes in formulas that work element by element."""

import numpy as np
from scipy.special import erf, expit

from .row import Family, distinct

X = distinct(2, 4)
POSITIVE = distinct(2, 4, low=0.3, high=2.5)
INNER = distinct(2, 4, low=-0.9, high=0.9)


def formula(name, f, slope, x=X):
    """f and its slope, both functions of x; its mistakes are planted by `wrong`."""
    return Family(name, lambda x: (f(x), (x,)), lambda dy, x: dy * slope(x), (x,))


def wrong(family, words, slope, kind=None, at=..., **about):
    family.plant(words, lambda dy, x: dy * slope(x), {"x": at}, kind, **about)


def density(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def gaussian(x):
    return (1 + erf(x / np.sqrt(2))) / 2


relu = formula("relu", lambda x: np.maximum(x, 0), lambda x: x > 0)
wrong(relu, "gradient where the input is negative", np.ones_like, at=X < 0)
wrong(relu, "mask inverted", lambda x: x < 0)
wrong(relu, "input in place of the mask", lambda x: np.maximum(x, 0), at=X > 0)
wrong(relu, "cut at 1 in backward, as of relu6", lambda x: (x > 0) & (x < 1), at=X > 1)

leaky = formula("leaky relu", lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1))
wrong(leaky, "slope forgotten", lambda x: x > 0, at=X < 0)
wrong(leaky, "slope on the wrong side", lambda x: np.where(x > 0, 0.1, 1))
wrong(leaky, "slope squared", lambda x: np.where(x > 0, 1, 0.01), at=X < 0)

elu = formula("elu", lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)), lambda x: np.where(x > 0, 1, 0.7 * np.exp(x)))
wrong(elu, "alpha forgotten", lambda x: np.where(x > 0, 1, np.exp(x)), at=X < 0)
wrong(elu, "output plus 1, right for alpha of 1 alone", lambda x: np.where(x > 0, 1, 1 + 0.7 * np.expm1(x)), at=X < 0)

gelu = formula("gelu", lambda x: x * gaussian(x), lambda x: gaussian(x) + x * density(x))
wrong(gelu, "product rule half forgotten", gaussian)
wrong(gelu, "density not normalised", lambda x: gaussian(x) + x * np.exp(-x * x / 2))
wrong(gelu, "slope of the sigmoid approximation", lambda x: (s := expit(1.702 * x)) * (1 + 1.702 * x * (1 - s)))

silu = formula("silu", lambda x: x * expit(x), lambda x: (s := expit(x)) * (1 + x * (1 - s)))
wrong(silu, "product rule half forgotten", expit)
wrong(silu, "sign in the product rule", lambda x: (s := expit(x)) * (1 - x * (1 - s)))

sigmoid = formula("sigmoid", expit, lambda x: expit(x) * (1 - expit(x)))
wrong(sigmoid, "y (1 + y)", lambda x: expit(x) * (1 + expit(x)))
wrong(sigmoid, "x (1 - x), as if x were y", lambda x: x * (1 - x))
wrong(sigmoid, "second factor forgotten", expit)

tanh = formula("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2)
wrong(tanh, "square forgotten", lambda x: 1 - np.tanh(x))
wrong(tanh, "1 - x squared, as if x were y", lambda x: 1 - x * x)
wrong(tanh, "twice activated", lambda x: 1 - np.tanh(np.tanh(x)) ** 2)

softplus = formula("softplus of 3 x", lambda x: np.logaddexp(0, 3 * x) / 3, lambda x: expit(3 * x))
wrong(softplus, "beta forgotten in the sigmoid", expit)
wrong(softplus, "zero above the threshold", lambda x: expit(3 * x) * (3 * x < 4), at=3 * X >= 4)


exp = formula("exp", np.exp, np.exp)
wrong(exp, "x saved in place of y", lambda x: x)
wrong(exp, "output forgotten", np.ones_like)

log = formula("log", np.log, np.reciprocal, POSITIVE)
wrong(log, "output in place of the input", lambda x: 1 / np.log(x))
wrong(log, "in base 10", lambda x: 1 / (x * np.log(10)), "factor")

sqrt = formula("sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x), POSITIVE)
wrong(sqrt, "half forgotten", lambda x: 1 / np.sqrt(x), "factor")
wrong(sqrt, "2 y in place of 1 / 2 y", lambda x: 2 * np.sqrt(x))

wrong(formula("square", np.square, lambda x: 2 * x), "2 forgotten", lambda x: x, "factor")
wrong(formula("reciprocal", np.reciprocal, lambda x: -1 / x**2, POSITIVE), "sign", lambda x: 1 / x**2, "sign")
wrong(formula("reciprocal", np.reciprocal, lambda x: -1 / x**2, POSITIVE), "square forgotten", lambda x: -1 / x)
wrong(formula("cos", np.cos, lambda x: -np.sin(x)), "sign", np.sin, "sign")
wrong(formula("sin", np.sin, np.cos), "derivative of sinh", np.cosh)
wrong(formula("atan", np.arctan, lambda x: 1 / (1 + x * x)), "sign under the fraction", lambda x: 1 / (1 - x * x))
wrong(formula("asin", np.arcsin, lambda x: (1 - x * x) ** -0.5, INNER), "root forgotten", lambda x: 1 / (1 - x * x))
wrong(formula("log1p", np.log1p, lambda x: 1 / (1 + x), POSITIVE), "1 forgotten", lambda x: 1 / x)
wrong(formula("abs", abs, np.sign), "sign forgotten", np.ones_like, at=X < 0)
wrong(
    formula("erf", erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "constant forgotten",
    lambda x: np.exp(-x * x),
    "factor",
)
wrong(
    formula("sinc", np.sinc, lambda x: (np.cos(np.pi * x) - np.sinc(x)) / x),
    "pi forgotten",
    lambda x: (np.cos(x) - np.sinc(x)) / x,
)
wrong(formula("cube", lambda x: x**3, lambda x: 3 * x * x), "exponent left as it was", lambda x: 3 * x**3)

clip = formula("clip to [-1, 1]", lambda x: np.clip(x, -1, 1), lambda x: abs(x) < 1)
wrong(clip, "lower bound forgotten", lambda x: x < 1, at=X < -1)
wrong(clip, "mask ignored", np.ones_like, at=abs(X) > 1)

wrong(formula("round", np.round, np.zeros_like), "straight through", np.ones_like)
wrong(
    formula("x detached from x squared", lambda x: x * x, lambda x: 2 * x),
    "product with a constant",
    lambda x: x,
    "factor",
)

huge = np.array([0.5, -1.5, 30.0, 700.0, -40.0, 2.0])
stable = formula("softplus of 2 x at large values", lambda x: np.logaddexp(0, 2 * x) / 2, lambda x: expit(2 * x), huge)


@stable.mistake({"x": np.s_[3]}, "nonfinite")
def formula_that_overflows(dy, x):
    with np.errstate(over="ignore", invalid="ignore"):
        return dy * np.exp(2 * x) / (1 + np.exp(2 * x))


wrong(stable, "linear branch halved", lambda x: np.where(x > 20, 0.5, expit(2 * x)), at=np.s_[2:4])

multiply = Family(
    "multiply", lambda a, b: (a * b, (a, b)), lambda dy, a, b: (dy * b, dy * a), (X, distinct(2, 4, seed=1))
)
multiply.plant("gradients exchanged", lambda dy, a, b: (dy * a, dy * b), {"a": ..., "b": ...}, "exchanged")
multiply.plant("second factor forgotten", lambda dy, a, b: (dy * b, dy), {"b": ...})

divide = Family("divide", lambda a, b: (a / b, (a, b)), lambda dy, a, b: (dy / b, -dy * a / b**2), (X, POSITIVE))
divide.plant("sign of the denominator's gradient", lambda dy, a, b: (dy / b, dy * a / b**2), {"b": ...}, "sign")
divide.plant("denominator not squared", lambda dy, a, b: (dy / b, -dy * a / b), {"b": ...})
divide.plant("numerator forgotten", lambda dy, a, b: (dy / b, -dy / b**2), {"b": ...})

subtract = Family("subtract", lambda a, b: (a - b, ()), lambda dy: (dy, -dy), (X, POSITIVE))
subtract.plant("sign", lambda dy: (dy, dy), {"b": ...}, "sign exchanged")

power = Family(
    "power",
    lambda x, p: (x**p, (x, p)),
    lambda dy, x, p: (dy * p * x ** (p - 1), dy * x**p * np.log(x)),
    (POSITIVE, X),
)
power.plant("exponent's gradient without the log", lambda dy, x, p: (dy * p * x ** (p - 1), dy * x**p), {"p": ...})
power.plant("exponent not lowered", lambda dy, x, p: (dy * p * x**p, dy * x**p * np.log(x)), {"x": ...})
power.plant("factor p forgotten", lambda dy, x, p: (dy * x ** (p - 1), dy * x**p * np.log(x)), {"x": ...})

maximum = Family(
    "maximum", lambda a, b: (np.maximum(a, b), (a > b,)), lambda dy, m: (dy * m, dy * ~m), (X, distinct(2, 4, seed=1))
)
maximum.plant("gradient to both", lambda dy, m: (dy, dy), "a b")
maximum.plant("gradient to the smaller", lambda dy, m: (dy * ~m, dy * m), "a b", "exchanged")
maximum.plant("half to each", lambda dy, m: (dy / 2, dy / 2), "a b")

atan2 = Family(
    "atan2",
    lambda y, x: (np.arctan2(y, x), (y, x)),
    lambda dz, y, x: (dz * x / (x * x + y * y), -dz * y / (x * x + y * y)),
    (X, POSITIVE),
)
atan2.plant("not divided by the squared radius", lambda dz, y, x: (dz * x, -dz * y), "y x")
hypot = Family(
    "hypot",
    lambda a, b: ((y := np.hypot(a, b)), (a, b, y)),
    lambda dy, a, b, y: (dy * a / y, dy * b / y),
    (X, POSITIVE),
)
hypot.plant("radius forgotten", lambda dy, a, b, y: (dy * a, dy * b), "a b")

where = Family(
    "where",
    lambda a, b, *, mask: (np.where(mask, a, b), (mask,)),
    lambda dy, mask: (dy * mask, dy * ~mask),
    (X, POSITIVE),
    {"mask": X > 0.3},
)
where.plant("branches exchanged", lambda dy, mask: (dy * ~mask, dy * mask), "a b", "exchanged")
where.plant("mask ignored for the second branch", lambda dy, mask: (dy * mask, dy), {"b": X > 0.3})

ROW, COLUMN = distinct(4), distinct(3, 1)
TABLE = distinct(3, 4)
add = Family("add a row", lambda x, b: (x + b, ()), lambda dy: (dy, dy.sum(0)), (TABLE, ROW))
add.plant("first row of the gradient alone", lambda dy: (dy, dy[0]), {"b": ...}, "reduction")
add.plant("mean in place of the sum", lambda dy: (dy, dy.mean(0)), {"b": ...}, "factor")
add.plant("gradient not reduced", lambda dy: (dy, dy), {"b": ...}, "reduction", linear=False)
scale = Family(
    "scale rows",
    lambda x, s: (x * s, (x, s)),
    lambda dy, x, s: (dy * s, (dy * x).sum(1, keepdims=True)),
    (TABLE, COLUMN),
)
scale.plant(
    "sums multiplied", lambda dy, x, s: (dy * s, dy.sum(1, keepdims=True) * x.sum(1, keepdims=True)), {"s": ...}
)
scale.plant("last column forgotten", lambda dy, x, s: (dy * s, (dy * x)[:, :-1].sum(1, keepdims=True)), {"s": ...})
