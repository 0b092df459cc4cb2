"""Reductions and what is built from them: sums, means, variances, products, extrema, softmax's normaliser."""

from typing import Any, NamedTuple

import numpy as np

from minigrad.kinds import check_kind
from minigrad.op import Array, op
from minigrad.ops import shape as shapes
from minigrad.ops.batch import batch_sum
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.dims import Dims, normal_dim, normal_dims
from minigrad.ops.elementwise import cast, divide, equal, exp, isfinite, log, multiply, sqrt, where
from minigrad.ops.geometry import LARGEST, integer


def _total(x: np.ndarray) -> np.dtype[Any]:
    """The dtype of a sum: int64 for all integers and booleans."""
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.int64)


@op
def sum(x: Array, *, dim: Dims = None, keepdim: bool = False) -> Any:
    """The sum over some dimensions, or over all"""
    dims = normal_dims("sum", dim, x.ndim)
    return np.sum(x, axis=dims, keepdims=keepdim, dtype=_total(x)), (x.shape, dims)


@sum.vjp
def sum_vjp(dy: Array, shape: tuple[int, ...], dims: tuple[int, ...]) -> Any:
    kept = tuple(1 if i in dims else size for i, size in enumerate(shape))
    return shapes.expand(shapes.reshape(dy, shape=kept), shape=shape)


@op
def channel_sum(x: Array, *, rows: int = 1) -> Any:
    """The sum of x (N, C, ...) over all but its channels: a bias's gradient; a sample is `rows` of N"""
    one_float_dtype("channel_sum", x)
    if x.ndim < 2:
        raise ValueError(f"channel_sum: need x (N, C, ...), got {x.shape}")
    integer("channel_sum", "rows", rows, 1)
    return batch_sum(x, rows) if x.size else np.zeros(x.shape[1], x.dtype), (x.shape,)


@channel_sum.vjp
def channel_sum_vjp(dy: Array, shape: tuple[int, ...]) -> Any:
    return shapes.expand(shapes.reshape(dy, shape=(shape[1], *(1,) * (len(shape) - 2))), shape=shape)


@op
def cumsum(x: Array, *, dim: int) -> Any:
    """y_i = x_0 + ... + x_i along one dimension"""
    dim = normal_dim("cumsum", dim, x.ndim)
    return np.cumsum(x, axis=dim, dtype=_total(x)), (dim,)


@cumsum.vjp
def cumsum_vjp(dy: Array, dim: int) -> Any:
    return shapes.flip(cumsum(shapes.flip(dy, dims=(dim,)), dim=dim), dims=(dim,))


@op
def argmax(x: Array, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the largest value is: the first of several, and a NaN before any number"""
    return _arg("argmax", np.argmax, x, dim, keepdim), ()


@op
def argmin(x: Array, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the smallest value is: the first of several, and a NaN before any number"""
    return _arg("argmin", np.argmin, x, dim, keepdim), ()


def _arg(name: str, function: Any, x: np.ndarray, dim: int | None, keepdim: bool) -> Any:
    axis = None if dim is None else normal_dim(name, dim, x.ndim)
    if (x.size if axis is None else x.shape[axis]) == 0:
        raise ValueError(
            f"{name}: nothing to choose from in shape {x.shape}" + ("" if dim is None else f" along {dim}")
        )
    return function(x, axis=axis, keepdims=keepdim)


class Extrema(NamedTuple):
    """Values along a dimension, and where they were found."""

    values: Any
    indices: Any


def _extremum(name: str, arg: Any, x: Array, dim: int | None, keepdim: bool) -> Any:
    check_kind(name, "keepdim", bool, keepdim)
    if dim is None:
        flat = shapes.reshape(x, shape=(-1,))
        found = shapes.take_along(flat, arg(flat, dim=0, keepdim=True), dim=0)
        return shapes.reshape(found, shape=(1,) * len(x.shape) if keepdim else ())
    dim = normal_dim(name, dim, len(x.shape))
    indices = arg(x, dim=dim, keepdim=True)
    values = shapes.take_along(x, indices, dim=dim)
    if not keepdim:
        values, indices = shapes.squeeze(values, dim), shapes.squeeze(indices, dim)
    return Extrema(values, indices)


def max(x: Array, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest value, or with `dim` the largest along it as (values, indices).

    The first of equal values wins and gets the whole gradient; NaN wins over numbers.
    """
    return _extremum("max", argmax, x, dim, keepdim)


def min(x: Array, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest value, or with `dim` the smallest along it as (values, indices).

    The first of equal values wins and gets the whole gradient; NaN wins over numbers.
    """
    return _extremum("min", argmin, x, dim, keepdim)


def _count(x: Array, dims: tuple[int, ...]) -> int:
    return int(np.prod([x.shape[i] for i in dims], dtype=np.int64))


def mean(x: Array, dim: Dims = None, keepdim: bool = False) -> Any:
    """The arithmetic mean over some dimensions, or over all; NaN where there is nothing to average."""
    count = _count(x, normal_dims("mean", dim, len(x.shape)))
    total = sum(x, dim=dim, keepdim=keepdim)
    return multiply(total, np.nan) if count == 0 else divide(total, float(count))


def var(x: Array, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Any:
    """The variance sum((x - mean)^2) / (n - correction); NaN where n <= correction (Bessel's is correction 1)."""
    count = _count(x, normal_dims("var", dim, len(x.shape))) - integer("var", "correction", correction, -LARGEST)
    centred = x - mean(x, dim, keepdim=True)
    total = sum(centred * centred, dim=dim, keepdim=keepdim)
    return multiply(total, np.nan) if count <= 0 else divide(total, float(count))


def std(x: Array, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Any:
    """The standard deviation, the square root of `var`; its derivative is 0 where all values are equal."""
    variance = var(x, dim, correction, keepdim)
    flat = equal(variance, 0.0)
    return where(flat, 0.0, sqrt(where(flat, 1.0, variance)))


def prod(x: Array, dim: int | None = None, keepdim: bool = False) -> Any:
    """The product along one dimension, or of all values.

    Halves are multiplied until one is left, so its derivatives are exact beside zeros, where dividing by x is not.
    """
    check_kind("prod", "keepdim", bool, keepdim)
    shape = x.shape
    if x.dtype.kind != "f":
        x = cast(x, dtype=np.int64)
    axis = 0 if dim is None else normal_dim("prod", dim, len(shape))
    if dim is None:
        x = shapes.reshape(x, shape=(-1,))
    before = (slice(None),) * axis
    while (size := x.shape[axis]) > 1:
        half = size // 2
        paired = x[(*before, slice(0, half))] * x[(*before, slice(half, 2 * half))]
        x = paired if size == 2 * half else shapes.concatenate((paired, x[(*before, slice(2 * half, size))]), axis)
    if size == 0:
        x = shapes.pad(x, widths=tuple((0, 1 if i == axis else 0) for i in range(len(x.shape))), value=1.0)
    if dim is None:
        return shapes.reshape(x, shape=(1,) * len(shape) if keepdim else ())
    return x if keepdim else shapes.squeeze(x, axis)


def logsumexp(x: Array, dim: Dims, keepdim: bool = False) -> Any:
    """log(sum(exp(x))) over some dimensions, without overflow; -inf where all are -inf."""
    data = x.detach() if hasattr(x, "detach") else x
    dims = normal_dims("logsumexp", dim, len(x.shape))
    if _count(x, dims) == 0:
        return log(sum(exp(x), dim=dims, keepdim=keepdim))
    top = data
    for i in dims:
        top = max(top, i, keepdim=True).values
    top = where(isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):  # log(0) is the answer here, not a fault
        total = log(sum(exp(x - top), dim=dims, keepdim=keepdim))
    return total + (top if keepdim else shapes.reshape(top, shape=total.shape))
