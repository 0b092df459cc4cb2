"""Trigonometric and hyperbolic functions and their inverses."""

from typing import Any

import numpy as np

from minigrad.op import Array, op
from minigrad.ops.elementwise import _computed, _float, sqrt


@op(broadcasts=True)
def sin(x: Array) -> Any:
    """sin x"""
    return _computed(np.sin, _float(x)), (x,)


@sin.vjp
def sin_vjp(dy: Array, x: Array) -> Any:
    return dy * cos(x)


@op(broadcasts=True)
def cos(x: Array) -> Any:
    """cos x"""
    return _computed(np.cos, _float(x)), (x,)


@cos.vjp
def cos_vjp(dy: Array, x: Array) -> Any:
    return -dy * sin(x)


@op(broadcasts=True)
def tan(x: Array) -> Any:
    """tan x"""
    y = _computed(np.tan, _float(x))
    return y, (y,)


@tan.vjp
def tan_vjp(dy: Array, y: Array) -> Any:
    return dy * (y * y + 1.0)


@op(broadcasts=True)
def asin(x: Array) -> Any:
    """The angle in [-pi/2, pi/2] whose sine is x"""
    return _computed(np.arcsin, _float(x)), (x,)


@asin.vjp
def asin_vjp(dy: Array, x: Array) -> Any:
    return dy / sqrt(1.0 - x * x)


@op(broadcasts=True)
def acos(x: Array) -> Any:
    """The angle in [0, pi] whose cosine is x"""
    return _computed(np.arccos, _float(x)), (x,)


@acos.vjp
def acos_vjp(dy: Array, x: Array) -> Any:
    return -dy / sqrt(1.0 - x * x)


@op(broadcasts=True)
def atan(x: Array) -> Any:
    """The angle in (-pi/2, pi/2) whose tangent is x"""
    return _computed(np.arctan, _float(x)), (x,)


@atan.vjp
def atan_vjp(dy: Array, x: Array) -> Any:
    return dy / (x * x + 1.0)


@op(broadcasts=True)
def sinh(x: Array) -> Any:
    """(e^x - e^-x) / 2"""
    return _computed(np.sinh, _float(x)), (x,)


@sinh.vjp
def sinh_vjp(dy: Array, x: Array) -> Any:
    return dy * cosh(x)


@op(broadcasts=True)
def cosh(x: Array) -> Any:
    """(e^x + e^-x) / 2"""
    return _computed(np.cosh, _float(x)), (x,)


@cosh.vjp
def cosh_vjp(dy: Array, x: Array) -> Any:
    return dy * sinh(x)


@op(broadcasts=True)
def tanh(x: Array) -> Any:
    """sinh x / cosh x"""
    y = _computed(np.tanh, _float(x))
    return y, (y,)


@tanh.vjp
def tanh_vjp(dy: Array, y: Array) -> Any:
    return dy * (1.0 - y * y)


@op(broadcasts=True)
def asinh(x: Array) -> Any:
    """The number whose hyperbolic sine is x"""
    return _computed(np.arcsinh, _float(x)), (x,)


@asinh.vjp
def asinh_vjp(dy: Array, x: Array) -> Any:
    return dy / sqrt(x * x + 1.0)


@op(broadcasts=True)
def acosh(x: Array) -> Any:
    """The number, at least 0, whose hyperbolic cosine is x"""
    return _computed(np.arccosh, _float(x)), (x,)


@acosh.vjp
def acosh_vjp(dy: Array, x: Array) -> Any:
    return dy / sqrt(x * x - 1.0)


@op(broadcasts=True)
def atanh(x: Array) -> Any:
    """The number whose hyperbolic tangent is x"""
    return _computed(np.arctanh, _float(x)), (x,)


@atanh.vjp
def atanh_vjp(dy: Array, x: Array) -> Any:
    return dy / (1.0 - x * x)
