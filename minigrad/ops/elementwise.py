"""Elementwise ops: arithmetic, powers, exponentials, rounding, comparison. All broadcast and promote."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.dtypes import default_float
from minigrad.op import Array, Op, constant, op


def _float(x: Array) -> Array:
    """Integers and booleans as the default float, before a function that has no integer values."""
    return x.astype(default_float) if isinstance(x, np.ndarray) and x.dtype.kind != "f" else x


def _computed(function: Callable[..., Any], *arrays: Array) -> Any:
    """A function of NumPy's: the same bits for the same values, wherever they lie.

    A single value with a negative stride counts as contiguous, and yet NumPy computes it by another loop.
    """
    return function(*[x.copy() if isinstance(x, np.ndarray) and x.size == 1 else x for x in arrays])


@op(broadcasts=True)
def add(a: Array, b: Array) -> Any:
    """a + b"""
    return np.add(a, b), ()


@add.vjp
def add_vjp(dy: Array) -> Any:
    return dy, dy


@op(broadcasts=True)
def subtract(a: Array, b: Array) -> Any:
    """a - b"""
    try:
        return np.subtract(a, b), ()
    except TypeError as error:  # of truth values
        raise TypeError(f"subtract: {error}") from None


@subtract.vjp(masked=True)
def subtract_vjp(dy: Array, *, needs: tuple[bool, ...]) -> Any:
    return dy, -dy if needs[1] else None


@op(broadcasts=True)
def multiply(a: Array, b: Array) -> Any:
    """a b"""
    return np.multiply(a, b), (a, b)


@multiply.vjp(masked=True)
def multiply_vjp(dy: Array, a: Array, b: Array, *, needs: tuple[bool, ...]) -> Any:
    return dy * b if needs[0] else None, dy * a if needs[1] else None


@op(broadcasts=True)
def divide(a: Array, b: Array) -> Any:
    """a / b; integers divide to floats"""
    a, b = (a, b) if _is_float(a) or _is_float(b) else (_float(a), _float(b))
    return np.divide(a, b), (a, b)


def _is_float(x: Array) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


@divide.vjp(masked=True)
def divide_vjp(dy: Array, a: Array, b: Array, *, needs: tuple[bool, ...]) -> Any:
    return dy / b if needs[0] else None, -dy * (a / b) / b if needs[1] else None


@op(broadcasts=True)
def floor_divide(a: Array, b: Array) -> Any:
    """floor(a / b); its derivative is 0 wherever it has one"""
    return np.floor_divide(a, b), ()


@floor_divide.vjp
def floor_divide_vjp(dy: Array) -> Any:
    return dy * 0.0, dy * 0.0


@op(broadcasts=True)
def remainder(a: Array, b: Array) -> Any:
    """a - floor(a / b) b, with the sign of b"""
    return np.remainder(a, b), (constant(np.floor_divide(a, b)),)


@remainder.vjp
def remainder_vjp(dy: Array, quotient: Array) -> Any:
    return dy, -dy * quotient


@op(broadcasts=True)
def negate(x: Array) -> Any:
    """-x"""
    return np.negative(x), ()


@negate.vjp
def negate_vjp(dy: Array) -> Any:
    return -dy


@op(broadcasts=True)
def power(a: Array, b: Array) -> Any:
    """a^b"""
    try:
        return _computed(np.power, a, b), (a, b)
    except ValueError:
        if np.result_type(a, b).kind == "f":
            raise
        raise ValueError("power: integers have no negative powers that are integers; use .float()") from None


@power.vjp(masked=True)
def power_vjp(dy: Array, a: Array, b: Array, *, needs: tuple[bool, ...]) -> Any:
    """d a^b = b a^(b-1) da + a^b log(a) db, where a = 0 gives 0 instead of 0 times infinity."""
    da = db = None
    if needs[0]:
        if isinstance(b, (int, float)):
            lower = b - 1.0 if b else 0.0
        else:
            lower = where(logical_and(equal(a, 0.0), equal(b, 0.0)), 0.0, b - 1.0)
        da = dy * b * power(a, lower)
    if needs[1]:
        is_zero = equal(a, 0.0)
        db = where(is_zero, 0.0, dy * power(a, b) * log(where(is_zero, 1.0, a)))
    return da, db


@op(broadcasts=True)
def absolute(x: Array) -> Any:
    """|x|"""
    return np.absolute(x), (x,)


@absolute.vjp
def absolute_vjp(dy: Array, x: Array) -> Any:
    return dy * sign(x)


@op(broadcasts=True)
def maximum(a: Array, b: Array) -> Any:
    """The larger of a and b; NaN wins. A tie sends half of the gradient to each."""
    return np.maximum(a, b), (np.less(a, b), np.equal(a, b))


@maximum.vjp
def maximum_vjp(dy: Array, b_wins: Array, tie: Array) -> Any:
    dy = where(tie, dy * 0.5, dy)
    return where(b_wins, 0.0, dy), where(np.logical_or(b_wins, tie), dy, 0.0)


@op(broadcasts=True)
def minimum(a: Array, b: Array) -> Any:
    """The smaller of a and b; NaN wins. A tie sends half of the gradient to each."""
    return np.minimum(a, b), (np.greater(a, b), np.equal(a, b))


@minimum.vjp
def minimum_vjp(dy: Array, b_wins: Array, tie: Array) -> Any:
    dy = where(tie, dy * 0.5, dy)
    return where(b_wins, 0.0, dy), where(np.logical_or(b_wins, tie), dy, 0.0)


@op(broadcasts=True)
def clip(x: Array, *, min: float | None = None, max: float | None = None) -> Any:
    """x, but at least `min` and at most `max`; the gradient flows where x is within them."""
    if min is None and max is None:
        raise ValueError("clip: need min, max or both")
    if isinstance(min, float) or isinstance(max, float):
        x = _float(x)
    low, high = (-np.inf if min is None else min), (np.inf if max is None else max)
    y = np.clip(x, min, max).astype(x.dtype, copy=False)
    return y, (np.logical_and(x >= low, x <= high),)


@clip.vjp
def clip_vjp(dy: Array, inside: Array) -> Any:
    return where(inside, dy, 0.0)


@op(broadcasts=True)
def where(condition: Array, a: Array, b: Array) -> Any:
    """a where the condition holds (is not zero), else b"""
    condition = np.asarray(condition, dtype=np.bool_)
    return np.where(condition, a, b), (condition,)


@where.vjp(masked=True)
def where_vjp(dy: Array, condition: Array, *, needs: tuple[bool, ...]) -> Any:
    return None, where(condition, dy, 0.0) if needs[1] else None, where(condition, 0.0, dy) if needs[2] else None


@op(broadcasts=True)
def sqrt(x: Array) -> Any:
    """The square root of x"""
    y = np.sqrt(_float(x))
    return y, (y,)


@sqrt.vjp
def sqrt_vjp(dy: Array, y: Array) -> Any:
    return dy * 0.5 / y


@op(broadcasts=True)
def exp(x: Array) -> Any:
    """e^x"""
    y = _computed(np.exp, _float(x))
    return y, (y,)


@exp.vjp
def exp_vjp(dy: Array, y: Array) -> Any:
    return dy * y


@op(broadcasts=True)
def expm1(x: Array) -> Any:
    """e^x - 1, exact for small x"""
    y = _computed(np.expm1, _float(x))
    return y, (y,)


@expm1.vjp
def expm1_vjp(dy: Array, y: Array) -> Any:
    return dy * (y + 1.0)


@op(broadcasts=True)
def log(x: Array) -> Any:
    """The natural logarithm of x"""
    return _computed(np.log, _float(x)), (x,)


@log.vjp
def log_vjp(dy: Array, x: Array) -> Any:
    return dy / x


@op(broadcasts=True)
def log1p(x: Array) -> Any:
    """log(1 + x), exact for small x"""
    return _computed(np.log1p, _float(x)), (x,)


@log1p.vjp
def log1p_vjp(dy: Array, x: Array) -> Any:
    return dy / (x + 1.0)


def _step_function(name: str, function: Callable[..., Any], meaning: str) -> Op[Any]:
    """An op that is constant between its jumps: its derivative is 0 wherever it has one."""

    def forward(x: Array) -> Any:
        return (x.copy() if x.dtype.kind == "b" else function(x)), ()

    forward.__doc__ = f"{meaning}; its derivative is 0 wherever it has one"
    step: Op[Any] = op(forward, name=name, broadcasts=True)

    @step.vjp
    def step_vjp(dy: Array) -> Any:
        return dy * 0.0

    return step


sign = _step_function("sign", np.sign, "-1, 0 or 1, as x is negative, zero or positive")
floor = _step_function("floor", np.floor, "The greatest integer not above x")
ceil = _step_function("ceil", np.ceil, "The least integer not below x")
round = _step_function("round", np.round, "The nearest integer to x, ties to even")


def _test(name: str, function: Callable[..., Any], meaning: str, operands: int = 2) -> Op[Any]:
    """An op whose values are booleans: nothing to differentiate."""

    def forward(a: Array, b: Array) -> Any:
        return function(a, b), ()

    def forward_one(x: Array) -> Any:
        return function(x), ()

    chosen = forward if operands == 2 else forward_one
    chosen.__doc__ = f"{meaning}, elementwise"
    return op(chosen, name=name, broadcasts=True)


equal = _test("equal", np.equal, "Whether a = b")
not_equal = _test("not_equal", np.not_equal, "Whether a differs from b")
less = _test("less", np.less, "Whether a < b")
less_equal = _test("less_equal", np.less_equal, "Whether a <= b")
greater = _test("greater", np.greater, "Whether a > b")
greater_equal = _test("greater_equal", np.greater_equal, "Whether a >= b")
logical_and = _test("logical_and", np.logical_and, "Whether both hold")
logical_or = _test("logical_or", np.logical_or, "Whether one of them holds")
logical_not = _test("logical_not", np.logical_not, "Whether x does not hold", operands=1)
isnan = _test("isnan", np.isnan, "Whether x is NaN", operands=1)
isfinite = _test("isfinite", np.isfinite, "Whether x is neither NaN nor infinite", operands=1)


@op
def clone(x: Array) -> Any:
    """A copy of x in memory of its own"""
    return x.copy(), ()


@clone.vjp
def clone_vjp(dy: Array) -> Any:
    return dy


@op
def cast(x: Array, *, dtype: Any) -> Any:
    """x in another dtype; the tape brings the gradient back to x's"""
    return x.astype(np.dtype(dtype).newbyteorder("=")), ()  # also by the dtype of an array from elsewhere


@cast.vjp
def cast_vjp(dy: Array) -> Any:
    return dy
