"""The nonlinear functions of a network, with their rules written in ops."""

import math
from typing import Any

import numpy as np

from minigrad.kernels import activation as kernels, special
from minigrad.kernels.threads import Launcher, parts
from minigrad.op import Array, normalised, op
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.dims import normal_dim
from minigrad.ops.elementwise import _float, _is_float, clip, exp, greater, less_equal, logical_not, where
from minigrad.ops.memory import allocate
from minigrad.ops.reduce import sum
from minigrad.ops.trigonometry import tanh

CHEAP, COSTLY = 0.25, 1.0  # nanoseconds for a value: to move it, and to exponentiate it


def _launch(kernel: Launcher, *arrays: np.ndarray, settings: tuple[Any, ...] = (), cost: float = CHEAP) -> np.ndarray:
    """What a kernel makes of arrays of one shape and dtype, value by value at `cost` nanoseconds each."""
    first = arrays[0]
    y = allocate(first.shape, first.dtype)
    size = first.size
    kernel(parts(size, int(size * cost)), size, *[a.reshape(-1) for a in arrays], *settings, y.reshape(-1))
    return y


@op(broadcasts=True)
def relu(x: Array) -> Any:
    """max(x, 0); its derivative at 0 is 0"""
    y = _launch(kernels.relu_forward, x) if _is_float(x) else np.maximum(x, 0)
    return y, (y,)


@relu.vjp
def relu_vjp(dy: Array, y: Array) -> Any:
    """dy where not y <= 0: a NaN passes its gradient on, as in PyTorch."""
    if isinstance(dy, np.ndarray):
        return _launch(kernels.relu_backward, normalised("relu", dy), y)
    return where(logical_not(less_equal(y, 0.0)), dy, 0.0)


@op(broadcasts=True)
def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> Any:
    """x where positive, else negative_slope x"""
    x = np.asarray(_float(x))
    return _launch(kernels.leaky_forward, x, settings=(x.dtype.type(negative_slope),)), (x, negative_slope)


@leaky_relu.vjp
def leaky_relu_vjp(dy: Array, x: Array, negative_slope: float) -> Any:
    if isinstance(dy, np.ndarray):
        slope = dy.dtype.type(negative_slope)
        return _launch(kernels.leaky_backward, normalised("leaky_relu", dy), x, settings=(slope,))
    return where(greater(x, 0.0), dy, dy * negative_slope)


@op(broadcasts=True)
def elu(x: Array, *, alpha: float = 1.0) -> Any:
    """x where positive, else alpha (e^x - 1)"""
    x = _float(x)
    positive = x > 0
    return np.where(positive, x, alpha * np.expm1(np.minimum(x, 0))), (x, positive, alpha)


@elu.vjp
def elu_vjp(dy: Array, x: Array, positive: Array, alpha: float) -> Any:
    return where(positive, dy, dy * alpha * exp(clip(x, max=0.0)))


@op(broadcasts=True)
def sigmoid(x: Array) -> Any:
    """1 / (1 + e^-x)"""
    y = _launch(kernels.sigmoid_forward, np.asarray(_float(x)), cost=COSTLY)
    return y, (y,)


@sigmoid.vjp
def sigmoid_vjp(dy: Array, y: Array) -> Any:
    if isinstance(dy, np.ndarray):
        return _launch(kernels.sigmoid_backward, normalised("sigmoid", dy), y)
    return dy * y * (1.0 - y)


@op(broadcasts=True)
def silu(x: Array) -> Any:
    """x sigmoid(x)"""
    x = np.asarray(_float(x))
    return _launch(kernels.silu_forward, x, cost=COSTLY), (x,)


@silu.vjp
def silu_vjp(dy: Array, x: Array) -> Any:
    if isinstance(dy, np.ndarray):
        return _launch(kernels.silu_backward, normalised("silu", dy), x, cost=COSTLY)
    s = sigmoid(x)
    return dy * s * (x * (1.0 - s) + 1.0)


@op(broadcasts=True)
def softplus(x: Array, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta x)) / beta, and x itself where beta x > threshold"""
    x = _float(x)
    scaled = x * beta
    linear = scaled > threshold
    curve = (np.maximum(scaled, 0) + np.log1p(np.exp(-np.abs(scaled)))) / beta
    return np.where(linear, x, curve), (x, linear, beta)


@softplus.vjp
def softplus_vjp(dy: Array, x: Array, linear: Array, beta: float) -> Any:
    return where(linear, dy, dy * sigmoid(x * beta))


@op(broadcasts=True)
def erf(x: Array) -> Any:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x"""
    x = np.asarray(_float(x))
    return _launch(special.erf_forward, x, cost=10.0), (x,)


@erf.vjp
def erf_vjp(dy: Array, x: Array) -> Any:
    return dy * exp(-(x * x)) * (2.0 / math.sqrt(math.pi))


@op(broadcasts=True)
def gelu(x: Array) -> Any:
    """x Phi(x), with Phi the normal distribution's cumulative function (Hendrycks and Gimpel, 2016)"""
    x = np.asarray(_float(x))
    return _launch(kernels.gelu_forward, x, cost=10.0), (x,)


@gelu.vjp
def gelu_vjp(dy: Array, x: Array) -> Any:
    if isinstance(dy, np.ndarray):
        return _launch(kernels.gelu_backward, normalised("gelu", dy), x, cost=15.0)
    cumulative = (erf(x * math.sqrt(0.5)) + 1.0) * 0.5
    density = exp(x * x * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return dy * (cumulative + x * density)


def gelu_by_tanh(x: Array) -> Any:
    """PyTorch's approximation of gelu: x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2."""
    one_float_dtype("gelu", x)
    return x * (tanh((x + x * x * x * 0.044715) * math.sqrt(2.0 / math.pi)) + 1.0) * 0.5


def _shifted(x: np.ndarray, dim: int) -> np.ndarray:
    """x minus its greatest value along dim, so that exp cannot overflow; an empty dim stays empty."""
    return x - np.max(x, axis=dim, keepdims=True) if x.shape[dim] else x


@op
def softmax(x: Array, *, dim: int) -> Any:
    """e^x / sum(e^x) along one dimension"""
    dim = normal_dim("softmax", dim, x.ndim)
    y = np.exp(_shifted(_float(x), dim))
    y /= np.sum(y, axis=dim, keepdims=True)
    return y, (y, dim)


@softmax.vjp
def softmax_vjp(dy: Array, y: Array, dim: int) -> Any:
    weighted = dy * y
    return weighted - y * sum(weighted, dim=dim, keepdim=True)


@op
def log_softmax(x: Array, *, dim: int) -> Any:
    """x - log(sum(e^x)) along one dimension"""
    dim = normal_dim("log_softmax", dim, x.ndim)
    y = _shifted(_float(x), dim)
    if y.size:  # or log would warn of an empty sum
        y = y - np.log(np.sum(np.exp(y), axis=dim, keepdims=True))
    return y, (y, dim)


@log_softmax.vjp
def log_softmax_vjp(dy: Array, y: Array, dim: int) -> Any:
    return dy - exp(y) * sum(dy, dim=dim, keepdim=True)
