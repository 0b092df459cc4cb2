"""The 1x1 convolution: a mixing of channels, the same at every pixel."""

from typing import Any

import numpy as np

from minigrad.op import Array, op
from minigrad.ops import correlation
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.geometry import Axis
from minigrad.ops.reduce import channel_sum
from minigrad.ops.shape import permute


def _axes(x: np.ndarray) -> tuple[Axis, ...]:
    """Windows of one cell, at every cell."""
    return tuple(Axis(size, 1, 1, 0, 1, size, 0) for size in x.shape[2:])


def _filters(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    return w.reshape(*w.shape, *(1,) * (x.ndim - 2))


@op
def conv1x1(x: Array, w: Array, b: Array = None) -> Any:
    """y[n, k, p] = b[k] + sum over c of w[k, c] x[n, c, p], for x (N, C, ...), w (K, C), b (K)"""
    one_float_dtype("conv1x1", x, w, b)
    if x.ndim not in (3, 4) or w.ndim != 2 or w.shape[1] != x.shape[1]:
        raise ValueError(
            f"conv1x1: need input (N, C, L) or (N, C, H, W) and weight (K, C), got {x.shape} and {w.shape}"
        )
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"conv1x1: need bias (K) = ({w.shape[0]},), got {b.shape}")
    return correlation.forward(x, _filters(w, x), b, _axes(x), 1), (x, w)


@conv1x1.vjp(masked=True)
def conv1x1_vjp(dy: Array, x: Array, w: Array, *, needs: tuple[bool, ...]) -> Any:
    dx = conv1x1(dy, permute(w, dims=(1, 0))) if needs[0] else None
    dw = conv1x1_weight_gradient(dy, x) if needs[1] else None
    return dx, dw, channel_sum(dy) if needs[2] else None


@op
def conv1x1_weight_gradient(dy: Array, x: Array) -> Any:
    """dw[k, c] = sum over n and p of dy[n, k, p] x[n, c, p]"""
    one_float_dtype("conv1x1_weight_gradient", dy, x)
    if dy.ndim < 3 or dy.shape[0] != x.shape[0] or dy.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"conv1x1_weight_gradient: need dy (N, K, ...) and x (N, C, ...), got {dy.shape} and {x.shape}"
        )
    dw = correlation.weight_gradient(dy, x, _axes(x), 1)
    return dw.reshape(dw.shape[:2]), (dy, x)


@conv1x1_weight_gradient.vjp(masked=True)
def conv1x1_weight_gradient_vjp(g: Array, dy: Array, x: Array, *, needs: tuple[bool, ...]) -> Any:
    return (
        conv1x1(x, g) if needs[0] else None,
        conv1x1(dy, permute(g, dims=(1, 0))) if needs[1] else None,
    )
