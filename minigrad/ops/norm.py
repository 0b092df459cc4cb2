"""Normalisation: the one op behind batch, layer and group norm."""

from typing import Any

import numpy as np

from minigrad.op import Array, op
from minigrad.ops.elementwise import power
from minigrad.ops.reduce import mean


@op
def normalize(x: Array, *, dims: tuple[int, ...], eps: float) -> Any:
    """((x - mean) / sqrt(var + eps), mean, var) over `dims`, which are kept with size 1; var is the biased one"""
    average = np.mean(x, axis=dims, keepdims=True)
    centred = x - average
    variance = np.mean(centred * centred, axis=dims, keepdims=True)
    y = centred / np.sqrt(variance + x.dtype.type(eps))
    return (y, average, variance), (y, variance, dims, eps)


@normalize.vjp
def normalize_vjp(dys: tuple[Array, ...], y: Array, variance: Array, dims: tuple[int, ...], eps: float) -> Any:
    """By y: (dy - mean(dy) - y mean(dy y)) / sqrt(var + eps); by mean: dm / n; by var: 2 (x - mean) dv / n."""
    dy, d_mean, d_variance = dys
    deviation = power(variance + eps, 0.5)
    count = float(np.prod([y.shape[i] for i in dims]))
    dx = 0.0 * y
    if dy is not None:
        dx = (dy - mean(dy, dims, keepdim=True) - y * mean(dy * y, dims, keepdim=True)) / deviation
    if d_mean is not None:
        dx = dx + d_mean / count
    if d_variance is not None:
        dx = dx + d_variance * deviation * y * (2.0 / count)
    return dx
