"""Rows of elementwise ops and activations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
from hypothesis import strategies as st

from op_table.row import Case, add_row, broadcast_pair, shape, values


def unary(name: str, ref: Callable[..., Any], low: float = -2.0, high: float = 2.0, **about: Any) -> None:
    def cases(draw: Any) -> Case:
        x = values(draw, shape(draw), 0.0, 1.0)
        return [low + (high - low) * x / max(1.0, np.abs(x).max(initial=0.0)) if x.size else x], {}

    def spaced(draw: Any) -> Case:
        return [values(draw, shape(draw, most=2), low, high)], {}

    add_row(name, cases if about.pop("bounded", False) else spaced, ref, **about)


def binary(name: str, ref: Callable[..., Any], low: float = -2.0, high: float = 2.0, **about: Any) -> None:
    def cases(draw: Any) -> Case:
        a, b = broadcast_pair(draw)
        return [values(draw, a, low, high), values(draw, b, low, high) + 0.02], {}

    add_row(name, cases, ref, **about)


binary("add", np.add, errors=(([np.ones(2), np.ones(3)], {}, ValueError, "broadcast"),))
binary("subtract", np.subtract)
binary("multiply", np.multiply, linear=(0, 1))
binary("divide", np.divide, linear=(0,))
binary("power", np.power, 0.3, 2.5)
binary("maximum", np.maximum)
binary("minimum", np.minimum)
binary("floor_divide", np.floor_divide, 0.31, 2.0)
binary("remainder", np.remainder, 0.31, 2.0)
for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or"):
    binary(name, getattr(np, name), differentiable=False)
for name in ("logical_not", "isnan", "isfinite"):
    unary(name, getattr(np, name), differentiable=False)
unary("negate", np.negative, linear=(0,))
unary("absolute", np.absolute)
for name in ("sign", "floor", "ceil", "round"):
    unary(name, getattr(np, name))
unary("sqrt", np.sqrt, 0.2, 3.0, errors=((["text"], {}, TypeError, "sqrt"),))
for name in ("exp", "expm1", "sin", "cos", "sinh", "cosh", "tanh"):
    unary(name, getattr(np, name))
unary("log", np.log, 0.2, 3.0)
unary("log1p", np.log1p, -0.7, 3.0)
unary("tan", np.tan, -1.2, 1.2, bounded=True)
unary("asin", np.arcsin, -0.9, 0.9, bounded=True)
unary("acos", np.arccos, -0.9, 0.9, bounded=True)
unary("atan", np.arctan)
unary("asinh", np.arcsinh)
unary("acosh", np.arccosh, 1.2, 3.0)
unary("atanh", np.arctanh, -0.9, 0.9, bounded=True)
unary("erf", scipy.special.erf)
unary("clone", np.copy, linear=(0,))


def chances_cases(draw: Any) -> Case:
    a, b = broadcast_pair(draw)
    return [values(draw, a, 0.1, 0.9), values(draw, b, 0.1, 0.9)], {}


add_row("binary_cross_entropy", chances_cases, lambda p, t: -(t * np.log(p) + (1 - t) * np.log(1 - p)), linear=())


def clip_cases(draw: Any) -> Case:
    bounds = draw(st.sampled_from([{"min": -0.51}, {"max": 0.73}, {"min": -0.51, "max": 0.73}]))
    return [values(draw, shape(draw, most=2))], bounds


add_row(
    "clip",
    clip_cases,
    lambda x, min=None, max=None: np.clip(x, min, max),
    errors=(([np.ones(2)], {}, ValueError, "min, max or both"),),
)


def where_cases(draw: Any) -> Case:
    a, b = broadcast_pair(draw)
    condition = values(draw, a) > 0
    return [condition, values(draw, a), values(draw, b)], {}


add_row("where", where_cases, np.where, linear=(), constants=(0,))
add_row(
    "cast",
    lambda draw: ([values(draw, shape(draw))], {"dtype": np.float64}),
    lambda x, dtype: x.astype(dtype),
    linear=(0,),
)


def phi(x: np.ndarray) -> np.ndarray:
    return scipy.special.ndtr(x)


unary("relu", lambda x: np.where(x > 0, x, 0))
unary("sigmoid", scipy.special.expit)
unary("silu", lambda x: x * scipy.special.expit(x))
unary("gelu", lambda x: x * phi(x))


def with_settings(name: str, settings: st.SearchStrategy[dict[str, Any]], ref: Callable[..., Any]) -> None:
    add_row(name, lambda draw: ([values(draw, shape(draw, most=2))], draw(settings)), ref)


with_settings(
    "leaky_relu",
    st.fixed_dictionaries({"negative_slope": st.sampled_from([0.01, 0.3])}),
    lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
)
with_settings(
    "elu",
    st.fixed_dictionaries({"alpha": st.sampled_from([1.0, 0.4])}),
    lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1)),
)
with_settings(
    "softplus",
    st.fixed_dictionaries({"beta": st.sampled_from([1.0, 3.0]), "threshold": st.sampled_from([20.0, 1.03])}),
    lambda x, beta, threshold: np.where(x * beta > threshold, x, np.log1p(np.exp(beta * x)) / beta),
)


def along(draw: Any) -> Case:
    x = values(draw, shape(draw, least=1))
    return [x], {"dim": draw(st.integers(-x.ndim, x.ndim - 1))}


add_row("softmax", along, lambda x, dim: scipy.special.softmax(x, axis=dim))
add_row("log_softmax", along, lambda x, dim: scipy.special.log_softmax(x, axis=dim))


def dropout_cases(draw: Any) -> Case:
    x, inner = values(draw, (draw(st.integers(0, 3)), 4)), draw(st.sampled_from([1, 2, 4]))
    key = draw(st.integers(0, 2**64 - 1))
    return [x], {"key": key, "p": draw(st.sampled_from([0.0, 0.25, 0.7, 1.0])), "inner": inner}


def dropout_reference(x: np.ndarray, *, key: int, p: float, inner: int) -> np.ndarray:
    def kept(i: int) -> bool:
        z = (key + i * 0x9E3779B97F4A7C15) % 2**64
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ z >> shift) * factor % 2**64
        return (z ^ z >> 31) / 2**64 >= p

    factors = [1 / (1 - p) if kept(i // inner) else 0.0 for i in range(x.size)]
    return x * np.array(factors).reshape(x.shape)


add_row(
    "dropout",
    dropout_cases,
    dropout_reference,
    linear=(0,),
    errors=(
        ([np.ones(3)], {"key": 1, "p": 1.5}, ValueError, "need 0 <= p <= 1"),
        ([np.ones(3)], {"key": 1, "p": 0.5, "inner": 2}, ValueError, "inner"),
    ),
)


def class_cases(draw: Any) -> Case:
    samples, classes, sizes = draw(st.integers(0, 20)), draw(st.integers(1, 3)), shape(draw, most=1)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    labels = rng.choice([*range(classes), -7], (samples, *sizes))
    weights = [rng.uniform(0.5, 2, classes)] if draw(st.booleans()) else []
    mean = draw(st.booleans()) and bool((labels != -7).any())
    settings = {"ignored": -7, "mean": mean, "smoothing": draw(st.sampled_from([0.0, 0.3, 1.0]))}
    return [values(draw, (samples, classes, *sizes), gap=0.01), labels, *weights], settings


def class_reference(
    x: np.ndarray, labels: np.ndarray, weights: Any = None, *, ignored: int, mean: bool, smoothing: float
) -> Any:
    weights = np.ones(x.shape[1]) if weights is None else weights.astype(np.float64)
    logs = scipy.special.log_softmax(x.astype(np.float64), axis=1)
    loss, count = 0.0, 0.0
    for place in np.argwhere(labels != ignored):
        label = labels[tuple(place)]
        share, target = weights[label], weights * smoothing / x.shape[1]
        target[label] += (1 - smoothing) * share
        loss, count = loss - target @ logs[(place[0], slice(None), *place[1:])], count + share
    p = np.exp(logs) * np.expand_dims(labels != ignored, 1)
    return np.asarray(loss / count if mean else loss), p


add_row(
    "cross_entropy",
    class_cases,
    class_reference,
    constants=(1, 2),
    errors=(
        ([np.ones((2, 3)), np.array([0, 3])], {}, ValueError, r"classes in \[0, 3\), got 3"),
        ([np.ones((2, 3)), np.array([0, -1])], {}, ValueError, "got -1"),
        ([np.ones((2, 3)), np.array([0])], {}, ValueError, "labels"),
        ([np.ones((2, 3)), np.array([0.0, 1.0])], {}, TypeError, "int64"),
        ([np.ones((2, 3)), np.array([0, 1]), np.ones(2)], {}, ValueError, "weights"),
    ),
)
