"""Converters of reductions, and of the normalisations that are made of them."""

from typing import Any

import numpy as np

from minigrad.onnx.graph import Graph, Value, converts
from minigrad.ops.dims import Dims, normal_dim, normal_dims


@converts("sum")
def sum(g: Graph, x: Value, *, dim: Dims = None, keepdim: bool = False) -> Any:
    dims, name = normal_dims("sum", dim, len(x.shape)), g.cast(x, g.dtype)
    return g.add("ReduceSum", name, g.constant(dims), keepdims=int(keepdim)) if dims else g.add("Identity", name)


@converts("channel_sum")
def channel_sum(g: Graph, x: Value, *, rows: int = 1) -> Any:
    return g.add("ReduceSum", x, g.constant([0, *range(2, len(x.shape))]), keepdims=0)


@converts("cumsum")
def cumsum(g: Graph, x: Value, *, dim: int) -> Any:
    return g.add("CumSum", g.cast(x, g.dtype), g.constant(normal_dim("cumsum", dim, len(x.shape))))


@converts("argmax", "argmin")
def arg(g: Graph, x: Value, *, dim: int | None = None, keepdim: bool = False) -> Any:
    kind, name = "ArgMax" if g.op == "argmax" else "ArgMin", g.cast(x, np.int32) if x.dtype.kind == "b" else x
    if dim is not None:
        return g.add(kind, name, axis=dim, keepdims=int(keepdim))
    found = g.add(kind, g.add("Reshape", name, g.constant([-1])), axis=0, keepdims=0)
    return g.add("Reshape", found, g.constant([1] * len(x.shape))) if keepdim else found


def _moments(g: Graph, x: Value, dims: tuple[int, ...], eps: float) -> tuple[str, str, str]:
    """x less its mean and over its deviation, the mean, and the biased variance, with the dims kept."""
    axes = g.constant(dims)
    mean = g.add("ReduceMean", x, axes)
    centred = g.add("Sub", x, mean)
    variance = g.add("ReduceMean", g.add("Mul", centred, centred), axes)
    deviation = g.add("Sqrt", g.add("Add", variance, g.constant(eps, x.dtype)))
    return g.add("Div", centred, deviation), mean, variance


@converts("normalize")
def normalize(g: Graph, x: Value, *, dims: tuple[int, ...], eps: float) -> Any:
    return _moments(g, x, dims, eps)


@converts("batch_norm")
def batch_norm(g: Graph, x: Value, weight: Value | None = None, bias: Value | None = None, *, eps: float) -> Any:
    y, *statistics = _moments(g, x, (0, *range(2, len(x.shape))), eps)
    by_channel = (-1, *(1,) * (len(x.shape) - 2))
    for kind, array in (("Mul", weight), ("Add", bias)):
        if array is not None:
            y = g.add(kind, y, g.reshape(array, by_channel))
    return y, *(g.reshape(statistic, (-1,)) for statistic in statistics)
