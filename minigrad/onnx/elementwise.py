"""Converters of elementwise ops: arithmetic, comparison, and the nonlinear functions of networks."""

import math
from typing import Any

import numpy as np

from minigrad.onnx.graph import Graph, Value, converts

_SAME = {
    "absolute": "Abs", "acos": "Acos", "acosh": "Acosh", "add": "Add", "asin": "Asin", "asinh": "Asinh",
    "atan": "Atan", "atanh": "Atanh", "clone": "Identity", "cos": "Cos", "cosh": "Cosh", "divide": "Div", "erf": "Erf",
    "exp": "Exp", "log": "Log", "maximum": "Max", "minimum": "Min", "multiply": "Mul", "negate": "Neg",
    "power": "Pow", "relu": "Relu", "sigmoid": "Sigmoid", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt",
    "subtract": "Sub", "tan": "Tan", "tanh": "Tanh",
}  # fmt: skip


@converts(*_SAME)
def same(g: Graph, *xs: Value) -> Any:
    """What ONNX has an operator for, in the dtype of the result."""
    if g.dtype.kind == "b" and g.op != "clone":
        g.refuse("ONNX has no arithmetic of booleans; use logical_and, logical_or")
    return g.add(_SAME[g.op], *(g.cast(x, g.dtype) for x in xs))


_COMPARED = {
    "equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual", "less": "Less",
    "less_equal": "LessOrEqual", "not_equal": "Equal",
}  # fmt: skip


@converts(*_COMPARED)
def compared(g: Graph, a: Value, b: Value) -> Any:
    dtype = np.result_type(a.dtype, b.dtype)
    if dtype.kind == "b":
        dtype = np.dtype(np.int32)  # ONNX orders numbers only
    y = g.add(_COMPARED[g.op], g.cast(a, dtype), g.cast(b, dtype))
    return g.add("Not", y) if g.op == "not_equal" else y


_LOGICAL = {"logical_and": "And", "logical_or": "Or", "logical_not": "Not"}


@converts(*_LOGICAL)
def logical(g: Graph, *xs: Value) -> Any:
    return g.add(_LOGICAL[g.op], *(g.cast(x, np.bool_) for x in xs))


def _float(g: Graph, x: Value) -> str:
    return x if x.dtype.kind == "f" else g.cast(x, np.float32)


@converts("isnan")
def isnan(g: Graph, x: Value) -> Any:
    return g.add("IsNaN", _float(g, x))


@converts("isfinite")
def isfinite(g: Graph, x: Value) -> Any:
    return g.add("Not", g.add("Or", g.add("IsNaN", _float(g, x)), g.add("IsInf", _float(g, x))))


_STEPS = {"ceil": "Ceil", "floor": "Floor", "round": "Round"}


@converts(*_STEPS)
def step(g: Graph, x: Value) -> Any:
    return g.add(_STEPS[g.op] if x.dtype.kind == "f" else "Identity", x)


@converts("sign")
def sign(g: Graph, x: Value) -> Any:
    return g.add("Identity" if x.dtype.kind == "b" else "Sign", x)


@converts("cast")
def cast(g: Graph, x: Value, *, dtype: Any) -> Any:
    return g.add("Identity", g.cast(x, dtype))


@converts("where")
def where(g: Graph, condition: Value, a: Value, b: Value) -> Any:
    return g.add("Where", g.cast(condition, np.bool_), g.cast(a, g.dtype), g.cast(b, g.dtype))


@converts("clip")
def clip(g: Graph, x: Value, *, min: float | None = None, max: float | None = None) -> Any:
    ends = (None if end is None else g.constant(end, g.dtype) for end in (min, max))
    return g.add("Clip", g.cast(x, g.dtype), *ends)


@converts("remainder")
def remainder(g: Graph, a: Value, b: Value) -> Any:
    """ONNX's Mod of integers has the sign of the divisor, as ours; of floats it has that of the dividend."""
    a_name, b_name = g.cast(a, g.dtype), g.cast(b, g.dtype)
    if g.dtype.kind != "f":
        return g.add("Mod", a_name, b_name)
    rest, zero = g.add("Mod", a_name, b_name, fmod=1), g.constant(0, g.dtype)
    is_other = g.add("Less", g.add("Mul", g.add("Sign", rest), g.add("Sign", b_name)), zero)
    return g.add("Where", is_other, g.add("Add", rest, b_name), rest)


@converts("floor_divide")
def floor_divide(g: Graph, a: Value, b: Value) -> Any:
    """From the remainder: the floor of a rounded quotient may be one too many."""
    whole = g.add("Sub", g.cast(a, g.dtype), remainder(g, a, b))
    quotient = g.add("Div", whole, g.cast(b, g.dtype))
    return g.add("Round", quotient) if g.dtype.kind == "f" else quotient


def log1p(g: Graph, x: str, dtype: Any) -> Any:
    """log(u) x / (u - 1) with u = 1 + x as rounded: the rounding cancels. Source: Kahan (HP-15C handbook, 1982)."""
    u = g.add("Add", x, g.constant(1, dtype))
    step = g.add("Sub", u, g.constant(1, dtype))
    is_zero = g.add("Equal", step, g.constant(0, dtype))
    divisor = g.add("Where", is_zero, g.constant(1, dtype), step)
    return g.add("Where", is_zero, x, g.add("Mul", g.add("Log", u), g.add("Div", x, divisor)))


def expm1(g: Graph, x: str, dtype: Any) -> Any:
    """2 t / (1 - t) with t = tanh(x / 2) for small x, where e^x - 1 would lose digits."""
    one = g.constant(1, dtype)
    t = g.add("Tanh", g.add("Mul", x, g.constant(0.5, dtype)))
    small = g.add("Div", g.add("Add", t, t), g.add("Sub", one, t))
    is_small = g.add("Less", g.add("Abs", x), one)
    return g.add("Where", is_small, small, g.add("Sub", g.add("Exp", x), one))


@converts("log1p")
def log1p_op(g: Graph, x: Value) -> Any:
    return log1p(g, g.cast(x, g.dtype), g.dtype)


@converts("expm1")
def expm1_op(g: Graph, x: Value) -> Any:
    return expm1(g, g.cast(x, g.dtype), g.dtype)


# Attributes of ONNX are float32, and ONNX Runtime has these operators for float32 alone: float64 is put together.


@converts("leaky_relu")
def leaky_relu(g: Graph, x: Value, *, negative_slope: float = 0.01) -> Any:
    name = g.cast(x, g.dtype)
    if g.dtype == np.float32:
        return g.add("LeakyRelu", name, alpha=float(negative_slope))
    is_positive = g.add("Greater", name, g.constant(0, g.dtype))
    return g.add("Where", is_positive, name, g.add("Mul", name, g.constant(negative_slope, g.dtype)))


@converts("elu")
def elu(g: Graph, x: Value, *, alpha: float = 1.0) -> Any:
    name = g.cast(x, g.dtype)
    if g.dtype == np.float32:
        return g.add("Elu", name, alpha=float(alpha))
    zero = g.constant(0, g.dtype)
    negative = g.add("Mul", expm1(g, g.add("Min", name, zero), g.dtype), g.constant(alpha, g.dtype))
    return g.add("Where", g.add("Greater", name, zero), name, negative)


@converts("gelu")
def gelu(g: Graph, x: Value) -> Any:
    name = g.cast(x, g.dtype)
    if g.dtype == np.float32:
        return g.add("Gelu", name)
    error = g.add("Erf", g.add("Mul", name, g.constant(math.sqrt(0.5), g.dtype)))
    share = g.add("Mul", g.add("Add", error, g.constant(1, g.dtype)), g.constant(0.5, g.dtype))
    return g.add("Mul", name, share)


@converts("silu")
def silu(g: Graph, x: Value) -> Any:
    name = g.cast(x, g.dtype)
    return g.add("Mul", name, g.add("Sigmoid", name))


@converts("softplus")
def softplus(g: Graph, x: Value, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
    name = g.cast(x, g.dtype)
    scaled = name if beta == 1 else g.add("Mul", name, g.constant(beta, g.dtype))
    if g.dtype == np.float32:
        y = g.add("Softplus", scaled)
    else:
        tail = log1p(g, g.add("Exp", g.add("Neg", g.add("Abs", scaled))), g.dtype)
        y = g.add("Add", g.add("Max", scaled, g.constant(0, g.dtype)), tail)
    if beta != 1:
        y = g.add("Div", y, g.constant(beta, g.dtype))
    if math.isinf(threshold):
        return y
    return g.add("Where", g.add("Greater", scaled, g.constant(threshold, g.dtype)), name, y)


@converts("softmax", "log_softmax")
def softmax(g: Graph, x: Value, *, dim: int) -> Any:
    return g.add("Softmax" if g.op == "softmax" else "LogSoftmax", g.cast(x, g.dtype), axis=dim)
