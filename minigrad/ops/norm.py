"""Normalisation: the one op behind batch, layer and group norm."""

import math
from typing import Any

import numpy as np

from minigrad.op import Array, op
from minigrad.ops.elementwise import power
from minigrad.ops.reduce import mean


@op
def normalize(x: Array, *, dims: tuple[int, ...], eps: float) -> Any:
    """((x - mean) / sqrt(var + eps), mean, var) over `dims`, which are kept with size 1; var is the biased one"""
    count = max(math.prod(x.shape[i] for i in dims), 1)  # of nothing, mean and var are 0
    average = np.sum(x, axis=dims, keepdims=True) / count
    centred = x - average
    variance = np.sum(centred * centred, axis=dims, keepdims=True) / count
    y = centred / np.sqrt(variance + x.dtype.type(eps))
    return (y, average, variance), (y, variance, dims, eps)


@normalize.vjp
def normalize_vjp(dys: tuple[Array, ...], y: Array, variance: Array, dims: tuple[int, ...], eps: float) -> Any:
    """By y: (dy - mean(dy) - y mean(dy y)) / sqrt(var + eps); by mean: dm / n; by var: 2 (x - mean) dv / n."""
    dy, d_mean, d_variance = dys
    deviation = power(variance + eps, 0.5)
    count = math.prod(y.shape[i] for i in dims)
    if dy is None:
        dx = y * 0.0
    else:
        dx = (dy - mean(dy, dims, keepdim=True) - y * mean(dy * y, dims, keepdim=True)) / deviation
    if d_mean is not None:
        dx = dx + d_mean / count
    if d_variance is not None:
        dx = dx + d_variance * deviation * y * (2.0 / count)
    return dx
